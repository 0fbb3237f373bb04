import { assert } from "@signalbox/kernel/assert"

/** What becomes of running tasks at a stop: they may end, or are told to stop. */
export type AbortMode = "finish" | "kill"

/**
 * The failures of one kind, as people set limits on them: `failed` is the classes command, system, refused, denied and
 * unapproved, the others are the class of their name. Aborted tasks have no class.
 */
export type FailureGroup = "failed" | "timeout" | "unreachable" | "interrupted"

/**
 * What the scheduler needs to know of one execution; frozen when the plan is made (D13). Percentages are resolved
 * before (`limits.ts`, `waves.ts`). Each optional member that is absent limits nothing.
 */
export interface EnginePlan {
  /** Number of targets; their ordinals are 0 … targetsCount-1 and they start in that order. */
  readonly targetsCount: number
  /** How many targets may be in flight at once: starting, running, waiting for a retry or being rolled back. */
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
  /** How long nodes may take to find a new owner: a recovery gives up nothing of what it found before. Absent is 0. */
  readonly reconnectMilliseconds?: number
  /** Whether an unreachable target counts as a failure against `errorsMax`; absent is no. */
  readonly countUnreachable?: boolean

  /** In flight at most 1 + the succeeded: one, two, four and so on, up to the width. */
  readonly ramp?: boolean
  /** Ordinals at which each wave ends (not included), ascending; the last is `targetsCount`. See `resolveWaves`. */
  readonly waves?: readonly number[]
  /** What is waited after every task of a wave has ended, before the next wave begins. */
  readonly bakeMilliseconds?: number
  /** In flight + ended badly and not rolled back stay at or below this. */
  readonly unavailableMax?: number
  /** In flight + failures never exceed errorsMax + 1. */
  readonly strict?: boolean
  /** The domain of each ordinal, numbered from 0; -1 is none. Order the targets with `interleaveByDomain`. */
  readonly domains?: Int32Array
  /** How many of one domain may be in flight at once; absent is 1. */
  readonly domainWidth?: number

  /** Stops the run where more than this share of the completed failed, once so many have completed. */
  readonly errorRate?: ErrorRate
  /** Failures tolerated of one kind, beside `errorsMax`; one more stops the run. */
  readonly errorsMaxByClass?: Readonly<Partial<Record<FailureGroup, number>>>
  /** Stops the run in the step after which it is true, or throws: a condition that can't be judged is taken for true. */
  readonly stopWhen?: StopCondition
  /** What becomes of running tasks where the run stops by itself; absent is `finish`. */
  readonly stopMode?: AbortMode

  /** Each delay before a retry is so many times the one before; absent is 1. */
  readonly retryBackoffFactor?: number
  /** No delay before a retry is longer. */
  readonly retryDelayMillisecondsMax?: number
  /** By how much at most a delay is shortened, in thousandths of it; absent is 0. */
  readonly retryJitterThousandths?: number
  /** From which the jitter follows, with ordinal and attempt: nothing is drawn. Any 32-bit integer; absent is 0. */
  readonly seed?: number
}

export interface ErrorRate {
  /** Thousandths of a percent, as `findPercent` gives: 12_500 is 12.5%. More than this stops the run. */
  readonly thousandths: number
  /** Before so many have completed the rate counts for nothing. */
  readonly sampleMin: number
}

/** A compiled condition over a run's numbers. It must be pure. */
export interface StopCondition {
  readonly text: string
  test(counts: StopCounts): boolean
}

/**
 * A run's numbers as a stop condition sees them. succeeded, skipped, failed, timedOut, interrupted, unreachable and
 * aborted are disjoint, and their sum is `ended`.
 */
export interface StopCounts {
  readonly total: number
  /** Started at least once. */
  readonly started: number
  /** Slots held: on their way, waiting for a retry, or being rolled back. */
  readonly inFlight: number
  readonly ended: number
  /** succeeded + failures: what an error rate is taken of. */
  readonly completed: number
  readonly succeeded: number
  readonly skipped: number
  /** Of the classes command, system, refused, denied and unapproved. */
  readonly failed: number
  readonly timedOut: number
  readonly interrupted: number
  readonly unreachable: number
  readonly aborted: number
  /** What counts against `errorsMax`: failed + timedOut + interrupted + aborted, and unreachable if the plan says so. */
  readonly failures: number
  /** In flight, or ended badly and not rolled back. */
  readonly unavailable: number
  readonly rolledBack: number
  readonly rollbackFailed: number
  readonly notReversible: number
  readonly rollbackUnknown: number
  /** Number of the wave in hand, from 1. */
  readonly wave: number
}

/** The largest execution: ordinals have to stay below the 9 digits of a task's id. */
export const targetsCountMax = 100_000_000
export const attemptsCountMax = 100
export const wavesCountMax = 1000
export const retryBackoffFactorMax = 100
/** 100% in thousandths of a percent. */
export const wholeShare = 100_000
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
  for (const name of [
    "startTimeoutMilliseconds",
    "taskTimeoutMilliseconds",
    "rollbackTimeoutMilliseconds",
    "graceMilliseconds",
  ] as const) {
    assert(isCount(plan[name], 1, planDurationMillisecondsMax), `${name} is out of range`)
  }
  const { reconnectMilliseconds = 0 } = plan
  assert(isCount(reconnectMilliseconds, 0, planDurationMillisecondsMax), "reconnectMilliseconds is out of range")
  checkPace(plan)
  checkCriteria(plan)
  checkRetries(plan)
}

function checkPace(plan: EnginePlan): void {
  const { targetsCount, waves, domains } = plan
  assert(isCount(plan.bakeMilliseconds ?? 0, 0, planDurationMillisecondsMax), "bakeMilliseconds is out of range")
  assert(isCount(plan.unavailableMax ?? 1, 1, targetsCountMax), `unavailableMax is 1 to ${targetsCountMax}`)
  assert(isCount(plan.domainWidth ?? 1, 1, targetsCountMax), `domainWidth is 1 to ${targetsCountMax}`)
  assert(!domains || domains.length === targetsCount, `domains are of ${domains?.length} targets, not ${targetsCount}`)
  if (!waves) return
  assert(waves.length <= wavesCountMax, `there are at most ${wavesCountMax} waves`)
  const ascending = waves.every((end, index) => Number.isInteger(end) && end > (waves[index - 1] ?? 0))
  assert(ascending && (waves.at(-1) ?? 0) === targetsCount, "waves end in ascending order, the last with the targets")
}

function checkCriteria({ errorRate, errorsMaxByClass }: EnginePlan): void {
  for (const errorsMax of Object.values(errorsMaxByClass ?? {})) {
    assert(isCount(errorsMax, 0, targetsCountMax), `errorsMaxByClass is 0 to ${targetsCountMax}`)
  }
  if (!errorRate) return
  assert(isCount(errorRate.thousandths, 0, wholeShare), "errorRate.thousandths is 0 to 100,000")
  assert(isCount(errorRate.sampleMin, 1, targetsCountMax), `errorRate.sampleMin is 1 to ${targetsCountMax}`)
}

function checkRetries(plan: EnginePlan): void {
  const { retryBackoffFactor: factor = 1, retryJitterThousandths: jitter = 0, seed = 0 } = plan
  assert(isCount(plan.retryDelayMilliseconds, 0, planDurationMillisecondsMax), "retryDelayMilliseconds is out of range")
  const max = plan.retryDelayMillisecondsMax ?? 0
  assert(isCount(max, 0, planDurationMillisecondsMax), "retryDelayMillisecondsMax is out of range")
  assert(factor >= 1 && factor <= retryBackoffFactorMax, `retryBackoffFactor is 1 to ${retryBackoffFactorMax}`)
  assert(isCount(jitter, 0, 1000), "retryJitterThousandths is 0 to 1000")
  assert(Number.isInteger(seed), "seed is a whole number")
}
