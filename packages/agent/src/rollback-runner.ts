import type {
  CommandOrder,
  RollbackOutcome,
  StepOrder,
  StepResult,
  TaskOrder,
} from "@signalbox/contracts/fleet/agent-protocol"
import { errorText } from "./agent-logger.ts"
import { type AttemptContext, savedDirectory } from "./attempt-context.ts"
import { restoreFiles } from "./saved-files.ts"
import { runStep } from "./step-runner.ts"

export interface RollbackRun {
  readonly context: AttemptContext
  readonly key: string
  readonly order: TaskOrder
  /** False where the task was refused or stopped before its first step. */
  readonly started: boolean
  /** Steps whose command may have run, from the first. */
  readonly stepsBegun: number
  readonly stop: AbortSignal
}

/**
 * Files first, then the undo commands from the last step back: an undo such as "restart the service" has to see the old
 * files. Each part is done even where another failed, so that as much as possible is as before; the outcome says
 * `rollback-failed` then. An undo also runs for the step that failed, whose command may have done half its work.
 */
export async function runRollback(run: RollbackRun): Promise<RollbackOutcome> {
  if (!run.started) return outcome("rolled-back", "the task had not begun, so nothing was changed")
  const begun = run.order.steps.slice(0, run.stepsBegun)
  const problems: string[] = []
  let restored: number | undefined
  try {
    const result = await restoreFiles(savedDirectory(run.context, run.key))
    restored = result?.restored
    problems.push(...(result?.problems ?? []))
    if (!result && run.order.save.length > 0) problems.push("the saved files are no longer kept")
  } catch (error) {
    problems.push(`the saved files can't be read: ${errorText(error)}`)
  }
  const undone = await runUndos(run)
  for (const result of undone)
    if (result.state !== "succeeded") problems.push(`undo of "${result.name}": ${result.state}`)
  if (problems.length > 0) return outcome("rollback-failed", problems.join("; "), { restored: restored ?? 0, undone })
  if (restored === undefined && undone.length === 0 && begun.length > 0) {
    return outcome("not-reversible", "the task saved no files and the steps that ran have no undo")
  }
  return outcome("rolled-back", notCovered(run, begun.length), { restored: restored ?? 0, undone })
}

async function runUndos(run: RollbackRun): Promise<StepResult[]> {
  const results: StepResult[] = []
  for (let index = run.stepsBegun - 1; index >= 0; index--) {
    const step = run.order.steps[index]
    if (!step?.undo || !isCommand(step.undo) || run.stop.aborted) continue
    const { context, key, stop } = run
    const deadline = context.clock.now() + step.timeoutMilliseconds
    results.push(
      await runStep({
        context,
        key,
        index,
        step,
        stop,
        deadline,
        phase: "rollback",
        command: step.undo,
        attemptsMax: 1,
      }),
    )
  }
  return results
}

function isCommand(undo: NonNullable<StepOrder["undo"]>): undo is CommandOrder {
  return "argv" in undo || "shell" in undo
}

/** W6, mode `declared`: only what was declared is known to be as before. */
function notCovered(run: RollbackRun, begun: number): string | undefined {
  const names = run.order.steps
    .slice(0, begun)
    .filter((step) => !step.undo)
    .map((step) => `"${step.name}"`)
  if (names.length === 0) return undefined
  return `not covered: what ${names.join(", ")} changed besides the saved paths`
}

function outcome(
  state: RollbackOutcome["state"],
  message: string | undefined,
  done: Pick<RollbackOutcome, "restored" | "undone"> = { restored: 0, undone: [] },
): RollbackOutcome {
  return { state, ...(message !== undefined && { message: message.slice(0, 2000) }), ...done }
}
