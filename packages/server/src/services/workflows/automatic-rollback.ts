/** The rollback of all targets that follows a run's end (W6); made in the transaction of the end. Pure. */
import { createHash } from "node:crypto"
import { isExecutionEnded } from "@signalbox/engine/execution-machine"
import type { EngineState } from "@signalbox/engine/types"
import type { ClaimedExecution, Wished } from "./claimed-execution.ts"
import { newRollback } from "./follow-model.ts"
import type { NewExecution } from "./new-execution-store.ts"
import type { RunPlan } from "./run-plan.ts"

/** Undefined where this commit ends no run, where nobody asked for it, or where nothing is left to put back. */
export function automaticRollback(
  run: RunPlan,
  end: { readonly claimed: ClaimedExecution; readonly state: EngineState; readonly wished: Wished },
): NewExecution | undefined {
  const { claimed, state, wished } = end
  const { stop, counts, rollbacks, classes } = state
  if (claimed.rollbackOf !== null || !stop || !isExecutionEnded(state.execution)) return undefined
  const byStrategy = stop.by !== "person" && run.strategy.rollback === "all"
  if (!byStrategy && !wished.wishRollback) return undefined
  const touched = counts.succeeded + counts.failed + counts.interrupted + counts.aborted - classes.refused
  const targetsCount = touched - rollbacks["rolled-back"]
  if (targetsCount <= 0) return undefined
  return newRollback({
    id: rollbackIdOf(claimed.id),
    account: claimed.account,
    of: claimed,
    definition: JSON.stringify(run.frozen.definition),
    parameters: run.frozen.parameters,
    parts: run.frozen.parts,
    strategy: run.strategy,
    targetsMax: run.frozen.targetsMax,
    targetsCount,
    include: "all",
    concurrency: run.strategy.rollbackConcurrency ?? claimed.concurrency,
    errorLimit: "100%",
    note: byStrategy ? "the strategy rolls back all targets of a run that stopped by itself" : undefined,
    cause: claimed.cause,
    causedBy: claimed.id,
    depth: claimed.depth + 1,
    createdBy: byStrategy ? "system:workflows" : (wished.wishBy ?? claimed.createdBy),
  })
}

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
const timeLength = 10
const idLength = 26

/** The same for each attempt to end the same run, beside which it sorts. */
export function rollbackIdOf(executionId: string): string {
  const [prefix = "", text = ""] = executionId.split("_")
  const digest = createHash("sha256").update(`rollback of ${executionId}`).digest()
  let id = text.slice(0, timeLength)
  for (let index = 0; id.length < idLength; index++) id += alphabet.charAt((digest[index] ?? 0) & 31)
  return `${prefix}_${id}`
}
