import { assert } from "@signalbox/kernel/assert"

/**
 * What the scheduler needs to know of one execution; frozen when the plan is made (D13). Percentages are resolved
 * before (`limits.ts`). Later modes (ramp, waves, strict bound) are further optional members: absent means as now.
 */
export interface EnginePlan {
  /** Number of targets; their ordinals are 0 … targetsCount-1 and they start in that order. */
  readonly targetsCount: number
  /** How many targets may be unavailable at once: starting, running, waiting for a retry or being rolled back. */
  readonly width: number
  /** How many failed targets are *tolerated*; the run stops by itself at errorsMax + 1. */
  readonly errorsMax: number
  /** How often one target is tried; 1 is no retry. */
  readonly attemptsMax: number
  readonly retryDelayMilliseconds: number
  /** Put a target back that was touched and then failed, was interrupted or was aborted. */
  readonly rollbackOnFailure: boolean
  /** A task that its node has not accepted for this long is unreachable. */
  readonly startTimeoutMilliseconds: number
  /** How long a task may run, by the agent's own clock; the engine adds `graceMilliseconds` before it gives up. */
  readonly taskTimeoutMilliseconds: number
  /** How long a rollback may take before it is given up (`graceMilliseconds` added) as `unknown`. */
  readonly rollbackTimeoutMilliseconds: number
  /** What the engine waits beyond an agent's own timeout, and after a kill, for the agent's word. */
  readonly graceMilliseconds: number
  /** Whether an unreachable target counts as a failure against `errorsMax`. */
  readonly countUnreachable: boolean
}

/** The largest execution: ordinals have to stay below the 9 digits of a task's id. */
export const targetsCountMax = 100_000_000
export const attemptsCountMax = 100
/** The longest timeout or delay of a plan: 400 days, as everywhere. */
export const planDurationMillisecondsMax = 400 * 86_400_000

const isCount = (value: number, min: number, max: number): boolean =>
  Number.isInteger(value) && value >= min && value <= max

/** Asserts that a plan keeps its limits; contracts have checked what people wrote, so a bad plan is a bug. */
export function checkPlan(plan: EnginePlan): void {
  assert(isCount(plan.targetsCount, 0, targetsCountMax), `targetsCount is 0 to ${targetsCountMax}`)
  assert(isCount(plan.width, 1, targetsCountMax), `width is 1 to ${targetsCountMax}`)
  assert(isCount(plan.errorsMax, 0, targetsCountMax), `errorsMax is 0 to ${targetsCountMax}`)
  assert(isCount(plan.attemptsMax, 1, attemptsCountMax), `attemptsMax is 1 to ${attemptsCountMax}`)
  assert(isCount(plan.retryDelayMilliseconds, 0, planDurationMillisecondsMax), "retryDelayMilliseconds is out of range")
  for (const name of [
    "startTimeoutMilliseconds",
    "taskTimeoutMilliseconds",
    "rollbackTimeoutMilliseconds",
    "graceMilliseconds",
  ] as const) {
    assert(isCount(plan[name], 1, planDurationMillisecondsMax), `${name} is out of range`)
  }
}
