import type { StepResult, TaskOrder, TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import { isAppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { errorText } from "./agent-logger.ts"
import { type AttemptContext, savedDirectory } from "./attempt-context.ts"
import { findProcessOwner } from "./process-owner.ts"
import { saveFiles } from "./saved-files.ts"
import { notRun, runStep, withoutOutput } from "./step-runner.ts"

export interface TaskRun {
  readonly context: AttemptContext
  readonly key: string
  readonly order: TaskOrder
  /** Milliseconds of the server's clock. */
  readonly startBefore: number
  /** Aborted with a `StopReason`. */
  readonly stop: AbortSignal
}

/** Why a running task is stopped: on the server's order, or since the agent itself ends. */
export interface StopReason {
  readonly kind: "killed" | "agent-stopping"
  readonly message: string
}

/** Saves, starts, runs the steps in order until one fails. Throws only where the journal can't be written. */
export async function runTask(run: TaskRun): Promise<TaskOutcome> {
  const { context, key, order } = run
  let savedBytes: number
  try {
    for (const step of order.steps) await findProcessOwner(step.user)
    savedBytes = await saveFiles({
      root: context.root,
      dataDirectory: context.dataDirectory,
      into: savedDirectory(context, key),
      paths: order.save,
      limits: context.limits,
      stop: run.stop,
    })
  } catch (error) {
    if (run.stop.aborted) return stopped(run, [])
    const outcomeClass = isAppError(error) ? "refused" : "system"
    return failed(order, { class: outcomeClass, message: `before the first step: ${errorText(error)}`, steps: [] })
  }
  if (run.stop.aborted) return stopped(run, [])
  if (context.serverNow() > run.startBefore) return refusedLate(order, run.startBefore)
  const startedAt = context.clock.now()
  await context.journal.append(key, { type: "started", phase: "task", savedBytes })
  context.send({ type: "started", key, phase: "task", at: toInstant(startedAt) })
  return await runSteps(run, startedAt + order.timeoutMilliseconds)
}

async function runSteps(run: TaskRun, deadline: number): Promise<TaskOutcome> {
  const { context, key, order } = run
  const steps: StepResult[] = []
  for (const [index, step] of order.steps.entries()) {
    if (run.stop.aborted) return stopped(run, steps)
    if (context.clock.now() >= deadline) return timedOut(order, steps)
    if (step.command === undefined) {
      return failed(order, { class: "refused", message: `this agent can't run step "${step.name}"`, steps })
    }
    const percent = Math.floor((index / order.steps.length) * 100)
    context.send({ type: "progress", key, step: index, stepsCount: order.steps.length, name: step.name, percent })
    const { attemptsMax } = step
    const result = await runStep({
      ...{ context, key, index, step, attemptsMax, deadline },
      phase: "task",
      command: step.command,
      stop: run.stop,
    })
    steps.push(result)
    if (run.stop.aborted && result.state !== "succeeded") return stopped(run, steps)
    await context.journal.append(key, { type: "step-ended", result: withoutOutput(result) }, { volatile: true })
    if (result.state === "succeeded") continue
    if (context.clock.now() >= deadline) return timedOut(order, steps)
    return failed(order, {
      class: result.state === "timed-out" ? "timeout" : "command",
      message: `step "${step.name}" ${describe(result)}`,
      steps,
    })
  }
  return { state: "succeeded", steps }
}

function describe(result: StepResult): string {
  if (result.state === "timed-out") return "took longer than its timeout and was stopped"
  if (result.signal !== undefined) return `was ended by ${result.signal}`
  if (result.exitCode !== undefined) return `exited with ${result.exitCode}`
  return `failed: ${result.message ?? "no reason given"}`.slice(0, 1800)
}

function timedOut(order: TaskOrder, steps: readonly StepResult[]): TaskOutcome {
  const message = `the task took longer than its ${order.timeoutMilliseconds} ms`
  return failed(order, { class: "timeout", message, steps })
}

export function refusedLate(order: TaskOrder, startBefore: number): TaskOutcome {
  const message = `the order came too late: it was to start before ${toInstant(startBefore)}`
  return failed(order, { class: "refused", message, steps: [] })
}

export function failed(
  order: TaskOrder,
  failure: { class: NonNullable<TaskOutcome["class"]>; message: string; steps: readonly StepResult[] },
): TaskOutcome {
  return {
    state: "failed",
    class: failure.class,
    message: failure.message.slice(0, 2000),
    steps: allSteps(order, failure.steps),
  }
}

function stopped(run: TaskRun, steps: readonly StepResult[]): TaskOutcome {
  const reason = run.stop.reason as StopReason
  const all = allSteps(run.order, steps)
  const message = reason.message.slice(0, 2000)
  if (reason.kind === "killed") return { state: "aborted", message, steps: all }
  return { state: "interrupted", class: "interrupted", message, steps: all }
}

/** What ran, and the rest as `not-run`. */
export function allSteps(order: TaskOrder, steps: readonly StepResult[]): StepResult[] {
  return [...steps, ...order.steps.slice(steps.length).map(notRun)]
}
