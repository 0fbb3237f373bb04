/** The sums over a run that its limits are about, each from counters alone. */
import type { EnginePlan, FailureGroup, StopCounts } from "./plan.ts"
import type { ClassCounts, EngineState, FailureClass, RollbackCounts, TaskCounts } from "./types.ts"

/** What the sums are taken of; the scheduler's draft has it as a state does. */
export type Counted = Pick<
  EngineState,
  "plan" | "counts" | "rollbacks" | "classes" | "slots" | "nextOrdinal" | "wave" | "execution"
>

const groups: Readonly<Record<FailureGroup, readonly FailureClass[]>> = {
  failed: ["command", "system", "refused", "denied", "unapproved"],
  timeout: ["timeout"],
  unreachable: ["unreachable"],
  interrupted: ["interrupted"],
}

export const failureGroups = Object.keys(groups) as readonly FailureGroup[]

/** No failure of any class yet. */
export const noClasses: ClassCounts = {
  command: 0,
  timeout: 0,
  unreachable: 0,
  interrupted: 0,
  system: 0,
  refused: 0,
  denied: 0,
  unapproved: 0,
}

/** How many targets count against `errorsMax`: failed, interrupted, aborted, and unreachable if the plan says so. */
export function countFailures(plan: EnginePlan, counts: TaskCounts): number {
  const unreachable = plan.countUnreachable ? counts.unreachable : 0
  return counts.failed + counts.interrupted + counts.aborted + unreachable
}

export function countGroup(classes: ClassCounts, group: FailureGroup): number {
  return groups[group].reduce((sum, name) => sum + classes[name], 0)
}

/** What an error rate is taken of: whoever succeeded or failed, not the skipped, nor the unreachable that don't count. */
export function countCompleted(plan: EnginePlan, counts: TaskCounts): number {
  return counts.succeeded + countFailures(plan, counts)
}

export function countEnded(counts: TaskCounts): number {
  const { succeeded, skipped, failed, interrupted, aborted, unreachable } = counts
  return succeeded + skipped + failed + interrupted + aborted + unreachable
}

/** In flight, or ended badly and not rolled back; a target on its way back is in flight. */
export function countUnavailable(
  inFlight: number,
  { counts, rollbacks }: { readonly counts: TaskCounts; readonly rollbacks: RollbackCounts },
): number {
  const endedBadly = counts.failed + counts.interrupted + counts.aborted + counts.unreachable
  return inFlight + endedBadly - rollbacks["rolled-back"] - rollbacks.pending - rollbacks.running
}

/** The numbers that a stop condition judges. */
export function stopCountsOf(state: Counted): StopCounts {
  const { plan, counts, rollbacks, classes, slots, nextOrdinal, wave } = state
  return {
    total: plan.targetsCount,
    started: nextOrdinal,
    inFlight: slots.size,
    ended: countEnded(counts),
    completed: countCompleted(plan, counts),
    succeeded: counts.succeeded,
    skipped: counts.skipped,
    failed: countGroup(classes, "failed"),
    timedOut: countGroup(classes, "timeout"),
    interrupted: countGroup(classes, "interrupted"),
    unreachable: countGroup(classes, "unreachable"),
    aborted: counts.aborted,
    failures: countFailures(plan, counts),
    unavailable: countUnavailable(slots.size, { counts, rollbacks }),
    rolledBack: rollbacks["rolled-back"],
    rollbackFailed: rollbacks["rollback-failed"],
    notReversible: rollbacks["not-reversible"],
    rollbackUnknown: rollbacks.unknown,
    wave,
  }
}
