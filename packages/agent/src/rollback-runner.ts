import type { RollbackOutcome, StepOrder, StepResult, TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { errorText } from "./agent-logger.ts"
import type { Deeds } from "./attempt.ts"
import { type AttemptContext, savedDirectory } from "./attempt-context.ts"
import { type Restored, restoreFiles } from "./saved-files.ts"
import { SecretMask } from "@signalbox/masking/secret-mask"
import { findUndo, isApproval, isCovered, restoreStep } from "./step-kinds.ts"
import { runStep } from "./step-runner.ts"
import type { StepInputs } from "./step-try.ts"

export interface RollbackRun {
  readonly context: AttemptContext
  readonly key: string
  readonly order: TaskOrder
  /** False where the task was refused or stopped before its first step. */
  readonly started: boolean
  readonly deeds: Deeds
  readonly secrets: Readonly<Record<string, string>>
  readonly stop: AbortSignal
}

/**
 * Puts a task's changes back, in this order:
 *
 *  1. what the steps that began had saved (file steps, the boot links of services), from the last step to the first;
 *  2. the declared files, which were saved before all steps and so have the last word on what both hold;
 *  3. undo commands, playbooks and calls, and the states of services, from the last step to the first.
 *
 * Files come first since an undo such as "restart the service" has to see the old ones. In mode `whole` the saved root
 * takes the place of 1 and 2, and is put back once more after 3, then compared. Each part is done even where another
 * failed, so that as much as possible is as before; the outcome says `rollback-failed` then. The step that failed is
 * undone too, since it may have done half its work. Doing all of it again changes nothing more, as far as the author's
 * own undo commands can be repeated.
 */
export async function runRollback(run: RollbackRun): Promise<RollbackOutcome> {
  if (!run.started) return { ...nothing, message: "the task had not begun, so nothing was changed" }
  const files = run.order.whole ? await restoreRoot(run) : await restoreAllFiles(run)
  const undone = await runUndos(run)
  const last = run.order.whole && files.isRestored ? await restoreRoot(run) : files
  const problems = [...last.problems, ...undone.filter(({ state }) => state !== "succeeded").map(describe)]
  const restored = last.restored
  if (problems.length > 0) return outcome("rollback-failed", { message: problems.join("; "), restored, undone })
  const left = uncovered(run)
  if (!last.isRestored && undone.length === 0 && left.length > 0 && left.length === changing(run).length) {
    const message = "the task saved no files and the steps that ran have no undo"
    return outcome("not-reversible", { message, restored, undone, notCovered: left.map(({ text }) => text) })
  }
  const notCovered = [...left.map(({ text }) => text), ...(last.notCovered ?? [])]
  if (notCovered.length === 0) return outcome("rolled-back", { restored, undone })
  return outcome("rolled-back", { message: `not covered: ${notCovered.join("; ")}`, restored, undone, notCovered })
}

const nothing: RollbackOutcome = { state: "rolled-back", restored: 0, undone: [] }

interface RestoredParts extends Restored {
  /** True where something had been saved. */
  readonly isRestored: boolean
  readonly notCovered?: readonly string[]
}

async function restoreAllFiles(run: RollbackRun): Promise<RestoredParts> {
  const { context, key, order, deeds } = run
  const parts: Restored[] = []
  for (const { index } of deeds.begun.toReversed()) {
    const part = await restorePart(() => restoreStep(context, key, index))
    if (part) parts.push(part)
    else if (order.steps[index]?.file) {
      parts.push({ restored: 0, problems: [`what was saved before "${order.steps[index].name}" is no longer kept`] })
    }
  }
  const declared = await restorePart(() => restoreFiles(savedDirectory(context, key)))
  if (declared) parts.push(declared)
  else if (order.save.length > 0) parts.push({ restored: 0, problems: ["the saved files are no longer kept"] })
  return {
    isRestored: parts.length > 0,
    restored: parts.reduce((sum, part) => sum + part.restored, 0),
    problems: parts.flatMap(({ problems }) => problems),
  }
}

async function restorePart(restore: () => Promise<Restored | undefined>): Promise<Restored | undefined> {
  try {
    return await restore()
  } catch (error) {
    return { restored: 0, problems: [`the saved files can't be read: ${errorText(error)}`] }
  }
}

async function restoreRoot({ context, key, stop }: RollbackRun): Promise<RestoredParts> {
  // Loaded by the first rollback of a whole root.
  const { restoreWhole } = await import("./whole-tree.ts")
  try {
    const whole = await restoreWhole({ context, key, stop })
    if (!whole) return { isRestored: false, restored: 0, problems: ["the saved root is no longer kept"] }
    return { isRestored: true, restored: whole.problems.length === 0 ? 1 : 0, ...whole }
  } catch (error) {
    return { isRestored: false, restored: 0, problems: [`the saved root can't be put back: ${errorText(error)}`] }
  }
}

async function runUndos(run: RollbackRun): Promise<StepResult[]> {
  const { context, key, order, deeds, secrets, stop } = run
  const mask = new SecretMask(Object.values(secrets), context.limits.maskPatternsMax)
  const inputs: StepInputs = { secrets, mask, outputs: deeds.outputs }
  const results: StepResult[] = []
  for (const { index, before } of deeds.begun.toReversed()) {
    const step = order.steps[index]
    const undo = step && findUndo(step, before)
    if (!undo || stop.aborted) continue
    const deadline = context.uptime() + step.timeoutMilliseconds
    const { perform, isRepeatable } = undo
    results.push(
      await runStep({
        ...{ context, key, index, step, inputs, stop, deadline, perform },
        ...{ phase: "rollback", attemptsMax: 1, isJournaled: !isRepeatable },
      }),
    )
  }
  return results
}

function describe({ name, state, message, exitCode }: StepResult): string {
  const why = message ?? (exitCode === undefined ? undefined : `it exited with ${exitCode}`)
  return `undo of "${name}": ${state}${why === undefined ? "" : ` (${why.slice(0, 300)})`}`
}

/** Steps that began and may have changed something. */
function changing({ order, deeds }: RollbackRun): StepOrder[] {
  return deeds.begun
    .flatMap(({ index }) => order.steps[index] ?? [])
    .filter((step) => step.wait === undefined && !isApproval(step))
}

/** W6: only what was declared is known to be as before, or in mode `whole` only what lies in the root. */
function uncovered(run: RollbackRun): Array<{ text: string }> {
  const { whole } = run.order
  return changing(run)
    .filter((step) => !isCovered(step) && (!whole || step.server !== undefined))
    .map(({ name, server }) => ({
      text: server ? `what the call of "${name}" changed elsewhere` : `what "${name}" changed besides the saved paths`,
    }))
}

function outcome(state: RollbackOutcome["state"], rest: Omit<RollbackOutcome, "state">): RollbackOutcome {
  const { message, notCovered } = rest
  return {
    ...{ state, ...rest },
    ...(message !== undefined && { message: message.slice(0, 2000) }),
    ...(notCovered && { notCovered: notCovered.slice(0, 100).map((text) => text.slice(0, 500)) }),
  }
}
