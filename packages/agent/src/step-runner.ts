import type { AttemptPhase, CommandOrder, StepOrder, StepResult } from "@signalbox/contracts/fleet/agent-protocol"
import { toInstant } from "@signalbox/kernel/clock"
import { errorText } from "./agent-logger.ts"
import type { AttemptContext } from "./attempt-context.ts"
import { type CommandResult, plain, runCommand } from "./command-runner.ts"
import { LiveOutput } from "./output-stream.ts"
import { attemptMarker, identifyProcess } from "./process-identity.ts"
import { baseEnvironment, findProcessOwner } from "./process-owner.ts"
import { resolveDirectoryInRoot } from "./root-path.ts"

export interface StepRun {
  readonly context: AttemptContext
  readonly key: string
  readonly phase: AttemptPhase
  readonly index: number
  readonly step: StepOrder
  /** The step's own command, or its undo. */
  readonly command: CommandOrder
  readonly attemptsMax: number
  readonly stop: AbortSignal
  /** Milliseconds of the clock at which the whole task's time is up. */
  readonly deadline: number
}

/** Runs one step with its retries. What it may have done is in the journal before it can do it. */
export async function runStep(run: StepRun): Promise<StepResult> {
  const { context, step } = run
  const startedAt = context.clock.now()
  const live = run.phase === "task" ? new LiveOutput({ ...context, key: run.key, step: run.index }) : undefined
  let attempts = 0
  let result: CommandResult | { state: "failed"; message: string }
  try {
    for (;;) {
      attempts++
      await context.journal.append(run.key, { type: "step", phase: run.phase, step: run.index })
      result = await runOnce(run, live)
      if (result.state === "succeeded" || result.state === "killed" || attempts >= run.attemptsMax) break
      if (context.clock.now() + step.retryDelayMilliseconds >= run.deadline) break
      if (!(await waitFor(step.retryDelayMilliseconds, run.stop))) break
    }
  } finally {
    live?.end()
  }
  return {
    ...result,
    name: step.name,
    attempts,
    startedAt: toInstant(startedAt),
    durationMilliseconds: Math.max(0, Math.round(context.clock.now() - startedAt)),
  }
}

async function runOnce(run: StepRun, live: LiveOutput | undefined) {
  const { context, step } = run
  try {
    const owner = await findProcessOwner(step.user)
    const directory = await resolveDirectoryInRoot(context.root, step.directory ?? "")
    return await runCommand({
      command: run.command,
      environment: {
        ...baseEnvironment(context.root, owner),
        ...Object.fromEntries(Object.entries(step.environment).map(([name, text]) => [name, plain(text)])),
        SIGNALBOX_ROOT: context.root,
        [attemptMarker]: `${run.key}/${run.phase}/${run.index}`,
      },
      directory,
      ...(owner.change && { owner: owner.change }),
      timeoutMilliseconds: Math.max(1, Math.min(step.timeoutMilliseconds, run.deadline - context.clock.now())),
      outputKeptBytes: step.outputKeptBytes,
      stop: run.stop,
      limits: context.limits,
      onProcess: (pid) => noteProcess(run, pid),
      ...(live && { onOutput: (stream, chunk) => live.write(stream, chunk) }),
    })
  } catch (error) {
    return { state: "failed" as const, message: errorText(error) }
  }
}

/** Not synced: after a crash of the machine there is no process to look for. */
function noteProcess(run: StepRun, pid: number): void {
  const { journal, logger } = run.context
  journal
    .append(run.key, { type: "process", process: identifyProcess(pid) }, { volatile: true })
    .catch((error: unknown) => {
      logger.warn("could not note a step's process", { key: run.key, error: errorText(error) })
    })
}

/** True after the delay, false where it was cut short. */
async function waitFor(milliseconds: number, stop: AbortSignal): Promise<boolean> {
  if (stop.aborted) return false
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const onAbort = () => resolve(false)
  stop.addEventListener("abort", onAbort)
  const timer = setTimeout(() => resolve(true), milliseconds)
  const waited = await promise
  clearTimeout(timer)
  stop.removeEventListener("abort", onAbort)
  return waited
}

export function notRun(step: StepOrder): StepResult {
  return { name: step.name, state: "not-run", attempts: 0, durationMilliseconds: 0 }
}

/** For the journal: a result without its outputs. */
export function withoutOutput(result: StepResult): StepResult {
  const { stdout: _stdout, stderr: _stderr, ...rest } = result
  return rest
}
