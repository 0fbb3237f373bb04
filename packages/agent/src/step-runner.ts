import type { StepOrder, StepResult } from "@signalbox/contracts/fleet/agent-protocol"
import { toInstant } from "@signalbox/kernel/clock"
import { errorText } from "./agent-logger.ts"
import type { StepBefore } from "./attempt.ts"
import { drawFraction } from "./backoff.ts"
import { LiveOutput } from "./output-stream.ts"
import { evaluateOutputs } from "./step-expressions.ts"
import type { PerformTry, StepTry } from "./step-try.ts"
import type { TryResult } from "./try-result.ts"
import { pause } from "./wait-step.ts"

export interface StepRun extends Omit<StepTry, "number" | "timeoutMilliseconds" | "live"> {
  readonly attemptsMax: number
  /** When the whole task's time is up, by `uptime` of the context. */
  readonly deadline: number
  readonly perform: PerformTry
  /** Does what must be done before the first try and changes nothing: saves what was. Its result goes to the journal. */
  readonly prepare?: (attempt: StepTry) => Promise<Prepared>
  /** False: done again where a crash cut it short, as an undo of this kind may be repeated. */
  readonly isJournaled?: boolean
}

export interface Prepared {
  readonly before?: StepBefore
  readonly savedBytes?: number
}

/**
 * Runs one step, or what undoes one, with its retries. What it may have done is in the journal before it can do it.
 * Nothing that it returns holds a secret. Throws only where the journal can't be written.
 */
export async function runStep(run: StepRun): Promise<StepResult> {
  const { context, step, inputs } = run
  const startedAt = context.clock.now()
  const begunAt = performance.now()
  const live = run.phase === "task" ? new LiveOutput({ ...context, key: run.key, step: run.index }) : undefined
  let done: { attempts: number; result: TryResult }
  try {
    done = await runTries(run, live)
  } finally {
    live?.end()
  }
  const { values: _values, reply: _reply, secrets: _secrets, ...result } = done.result
  let end: Omit<StepResult, "name" | "attempts" | "durationMilliseconds"> = result
  if (run.phase === "task" && result.state === "succeeded") end = await withOutputs(step, done.result, result)
  return inputs.mask.result({
    ...end,
    ...(end.message !== undefined && { message: end.message.slice(0, 2000) }),
    name: step.name,
    attempts: done.attempts,
    startedAt: toInstant(startedAt),
    durationMilliseconds: Math.round(performance.now() - begunAt),
  })
}

async function withOutputs(step: StepOrder, tried: TryResult, result: Omit<TryResult, "values" | "reply" | "secrets">) {
  try {
    const outputs = await evaluateOutputs(step.outputs, tried)
    return Object.keys(outputs).length === 0 ? result : { ...result, outputs }
  } catch (error) {
    return { ...result, state: "failed" as const, message: `its outputs can't be told: ${errorText(error)}` }
  }
}

async function runTries(run: StepRun, live: LiveOutput | undefined): Promise<{ attempts: number; result: TryResult }> {
  const { context, step } = run
  let prepared: Prepared | undefined
  try {
    prepared = await run.prepare?.(nextTry(run, 1, undefined))
  } catch (error) {
    return { attempts: 0, result: failure(run, error) }
  }
  for (let attempts = 1; ; attempts++) {
    if (run.isJournaled !== false) {
      const { before, savedBytes } = prepared ?? {}
      await context.journal.append(run.key, {
        ...{ type: "step", phase: run.phase, step: run.index },
        ...(before && { before }),
        ...(savedBytes !== undefined && savedBytes > 0 && attempts === 1 && { savedBytes }),
      })
    }
    let result: TryResult
    try {
      result = await run.perform(nextTry(run, attempts, live))
    } catch (error) {
      result = failure(run, error)
    }
    if (result.state === "succeeded" || result.state === "killed" || attempts >= run.attemptsMax) {
      return { attempts, result }
    }
    const delay = retryDelay(step, attempts, drawFraction(context.random))
    if (context.uptime() + delay >= run.deadline) return { attempts, result }
    if (!(await pause(delay, run.stop))) return { attempts, result }
  }
}

function nextTry(run: StepRun, number: number, live: LiveOutput | undefined): StepTry {
  const { context, key, phase, index, step, inputs, stop } = run
  const left = run.deadline - context.uptime()
  const timeoutMilliseconds = Math.max(1, Math.min(step.timeoutMilliseconds, left))
  return { context, key, phase, index, step, inputs, number, timeoutMilliseconds, stop, live }
}

function failure(run: StepRun, error: unknown): TryResult {
  if (run.stop.aborted) return { state: "killed", message: "stopped before its end" }
  return { state: "failed", message: errorText(error) }
}

/**
 * Before the try after `attempts`: the delay grows by the backoff up to its bound; the share that is left to chance is
 * taken off it, so that nodes that failed together don't come again together.
 *
 * @param fraction from 0 up to 1
 */
export function retryDelay(step: StepOrder, attempts: number, fraction: number): number {
  const grown = step.retryDelayMilliseconds * (step.retryBackoff ?? 1) ** (attempts - 1)
  const bound = step.retryDelayMillisecondsMax ?? Math.max(step.retryDelayMilliseconds, retryDelayUsualMax)
  return Math.round(Math.min(grown, bound) * (1 - (step.retryJitter ?? 0) * fraction))
}

const retryDelayUsualMax = 10 * 60_000

export function notRun(step: StepOrder): StepResult {
  return { name: step.name, state: "not-run", attempts: 0, durationMilliseconds: 0 }
}

/** For the journal: a result without what its streams held. */
export function withoutOutput(result: StepResult): StepResult {
  const { stdout: _stdout, stderr: _stderr, ...rest } = result
  return rest
}
