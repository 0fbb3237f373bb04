/**
 * Takes up an execution for its owner: plans a new one and freezes its targets, or goes on from the rows of one that
 * somebody left. What it gives is not durable yet: the runner commits the result like that of any step.
 */
import type { EnginePlan } from "@signalbox/engine/plan"
import { recoverState } from "@signalbox/engine/recover"
import { newState, step } from "@signalbox/engine/scheduler"
import type { EngineState, StepResult } from "@signalbox/engine/types"
import { isAppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type { HealthCheck } from "@signalbox/contracts/workflows/strategy"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { OperationCaller, SecretReader } from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"
import { commitBatch, getPlan, readDomains, readOpenRows } from "./batch-store.ts"
import type { ClaimedExecution } from "./claimed-execution.ts"
import { readFrozenSecrets } from "./frozen-parts.ts"
import { fillHealth, healthSecrets } from "./health-texts.ts"
import { enginePlanOf } from "./model.ts"
import { NodeWindow } from "./node-window.ts"
import { planTargets } from "./planning.ts"
import { openRunPlan, type RunPlan } from "./run-plan.ts"
import type { RunSettings } from "./run-settings.ts"

export interface OpeningParts {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly operations: OperationCaller
  readonly secrets: SecretReader
}

interface RunSecrets {
  /** Values of the secrets that nodes need; absent where there are none. */
  readonly secrets?: Readonly<Record<string, string>>
  /** The health check with its texts filled in. */
  readonly health?: HealthCheck
  /** Why they can't be had: tasks are refused with it, and the run ends by its own rules. */
  readonly secretsFault?: string
}

interface Opening {
  /** Undefined after a takeover. */
  readonly before: EngineState | undefined
  readonly result: StepResult
  readonly window: NodeWindow
}

export interface OpenedRun extends RunPlan, RunSecrets, Opening {
  readonly kind: "open"
}

/** "ended": its targets could not be planned, and that is on record. "lost": another server owns it. */
export type Opened = OpenedRun | { readonly kind: "ended" | "lost" }

export async function openRun(parts: OpeningParts, claimed: ClaimedExecution, settings: RunSettings): Promise<Opened> {
  const run = openRunPlan(claimed, await getPlan(parts.database, claimed))
  const secrets = await readSecrets(parts, claimed, run)
  settings.useWindows(run.strategy.windows ?? [])
  const opening =
    claimed.state === "planning" ? await plan(parts, run, { claimed, settings }) : await recover(parts, run, claimed)
  return typeof opening === "string" ? { kind: opening } : { kind: "open", ...run, ...secrets, ...opening }
}

async function readSecrets(
  { secrets }: OpeningParts,
  { account }: ClaimedExecution,
  { builder, frozen, strategy }: RunPlan,
): Promise<RunSecrets> {
  try {
    const { parts, parameters } = frozen
    const names = [...new Set([...builder.secretNames, ...healthSecrets(strategy.health)])]
    const all = await readFrozenSecrets(secrets, account, { parts, names })
    const forNodes = Object.fromEntries(Object.entries(all).filter(([name]) => builder.secretNames.includes(name)))
    return {
      ...(builder.secretNames.length > 0 && { secrets: forNodes }),
      ...(strategy.health && { health: fillHealth(strategy.health, { parameters, secrets: all }) }),
    }
  } catch (error) {
    if (!isAppError(error) || error.entry.retryable) throw error
    return { secretsFault: error.message }
  }
}

async function recover({ database, clock }: OpeningParts, run: RunPlan, claimed: ClaimedExecution): Promise<Opening> {
  const domains = run.strategy.failureDomain === undefined ? undefined : await readDomains(database, claimed)
  const enginePlan = enginePlanOf(run.shape, { ...claimed, ...(domains && { domains }) })
  const rows = await readOpenRows(database, claimed)
  const window = openWindow(database, { claimed, plan: enginePlan, from: claimed.nextOrdinal })
  await window.loadOpen(rows.openTasks.map((task) => task.ordinal))
  await window.prepare(claimed.nextOrdinal, Math.max(claimed.width, claimed.wishWidth ?? 0))
  return { before: undefined, result: recoverState(enginePlan, rows, clock.now()), window }
}

interface Planning {
  readonly claimed: ClaimedExecution
  readonly settings: RunSettings
}

async function plan(
  parts: OpeningParts,
  run: RunPlan,
  { claimed, settings }: Planning,
): Promise<Opening | "ended" | "lost"> {
  const { database: sql, operations, clock } = parts
  const { frozen, strategy, builder } = run
  const planned = await planTargets({ sql, operations, claimed, plan: frozen, strategy, tags: builder })
  if (planned.kind === "lost") return "lost"
  if (planned.kind === "refused") return refusePlan(parts, run, { claimed, reason: planned.reason })
  const enginePlan = enginePlanOf(run.shape, planned)
  const now = clock.now()
  const before = newState(enginePlan, now)
  const window = openWindow(sql, { claimed, plan: enginePlan, from: 0 })
  window.seed(planned.nodes)
  await window.prepare(0, Math.max(enginePlan.width, settings.wished.wishWidth ?? 0))
  return { before, result: step(before, firstInputs(settings, before, now), now), window }
}

function firstInputs(settings: RunSettings, state: EngineState, now: number): Parameters<typeof step>[1] {
  const { wish } = settings.wished
  const wished = settings.inputs(state, now)
  if (wish.startsWith("abort")) return wished
  return [...wished, { type: "planned" }, ...(wish === "pause" ? [{ type: "pause" } as const] : [])]
}

function openWindow(
  sql: Database,
  of: { readonly claimed: ClaimedExecution; readonly plan: EnginePlan; readonly from: number },
): NodeWindow {
  const { claimed, plan: enginePlan, from } = of
  const { targetsCount, width } = enginePlan
  return new NodeWindow({ sql, claimed, targetsCount, width }, from)
}

/** Ends an execution whose targets could not be planned. */
async function refusePlan(
  { database, clock, random }: OpeningParts,
  run: RunPlan,
  refused: { readonly claimed: ClaimedExecution; readonly reason: string },
): Promise<"ended" | "lost"> {
  const { claimed, reason } = refused
  const empty = newState(enginePlanOf(run.shape, { targetsCount: 0, width: 1, errorsMax: 0 }), clock.now())
  const { workflowName: workflow, createdBy } = claimed
  const data = { execution: "failed", reason, workflow, createdBy }
  const written = await commitBatch(database, claimed, {
    state: "failed",
    stop: null,
    reason,
    ended: true,
    nextOrdinal: 0,
    inFlight: 0,
    counts: empty.counts,
    rollbacks: empty.rollbacks,
    classes: empty.classes,
    pace: undefined,
    tasks: [],
    blobs: [],
    events: [{ id: newId("event", clock, random), type: "execution.failed", data }],
  })
  return written === undefined ? "lost" : "ended"
}
