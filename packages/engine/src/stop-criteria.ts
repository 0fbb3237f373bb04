/** When a run stops by itself (W5). Pure: each criterion is judged from counters, and says what it saw. */
import { wholeShare } from "./plan.ts"
import {
  countCompleted,
  countFailures,
  countGroup,
  countUnavailable,
  failureGroups,
  stopCountsOf,
  type Counted,
} from "./run-counts.ts"
import type { StopCause } from "./types.ts"

/** What a health check or a condition said is kept up to this length. */
export const stopMessageLengthMax = 500

/** Looked at after each task that ended: too many failures in all, of one kind, or as a share of the completed. */
export function findFailureStop({ plan, counts, classes }: Counted): StopCause | undefined {
  const failures = countFailures(plan, counts)
  const { errorsMax, errorsMaxByClass, errorRate } = plan
  if (failures > errorsMax) return { by: "error-limit", failures, errorsMax }
  if (errorsMaxByClass) {
    for (const group of failureGroups) {
      const max = errorsMaxByClass[group]
      const count = countGroup(classes, group)
      if (max !== undefined && count > max) return { by: "class-limit", group, failures: count, errorsMax: max }
    }
  }
  if (!errorRate) return undefined
  const completed = countCompleted(plan, counts)
  const { thousandths, sampleMin } = errorRate
  const tooMany = completed >= sampleMin && failures * wholeShare > thousandths * completed
  return tooMany ? { by: "error-rate", failures, completed, thousandths } : undefined
}

/** Looked at once a step. A condition that throws stops the run: what can't be judged is not let through. */
export function findConditionStop(state: Counted): StopCause | undefined {
  const { stopWhen } = state.plan
  if (!stopWhen) return undefined
  const { text } = stopWhen
  try {
    return stopWhen.test(stopCountsOf(state)) ? { by: "expression", text, error: null } : undefined
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { by: "expression", text, error: message.slice(0, stopMessageLengthMax) }
  }
}

/** Looked at once a step, after the starts: nothing is in flight that could make room for what is left. */
export function findUnavailableStop(state: Counted): StopCause | undefined {
  const { plan, execution, slots, nextOrdinal } = state
  const { unavailableMax } = plan
  if (unavailableMax === undefined || execution !== "running") return undefined
  if (slots.size > 0 || nextOrdinal >= plan.targetsCount) return undefined
  const unavailable = countUnavailable(0, state)
  return unavailable >= unavailableMax ? { by: "unavailable-limit", unavailable, unavailableMax } : undefined
}
