import type { EnginePlan } from "./plan.ts"
import type { EngineState, ExecutionSummary, TaskCounts } from "./types.ts"

/** How many targets count against `errorsMax`: failed, interrupted, aborted, and unreachable if the plan says so. */
export function countFailures(plan: EnginePlan, counts: TaskCounts): number {
  const unreachable = plan.countUnreachable ? counts.unreachable : 0
  return counts.failed + counts.interrupted + counts.aborted + unreachable
}

/** Whether every target that ended did so well: neither failed nor unreachable nor left out. */
export function endedWell(counts: TaskCounts): boolean {
  return counts.failed + counts.interrupted + counts.aborted + counts.unreachable + counts["never-started"] === 0
}

type Described = Pick<EngineState, "plan" | "execution" | "stop" | "counts" | "rollbacks">

function whyStopped({ stop, plan }: Described): string | null {
  if (!stop) return null
  if (stop.by === "error-limit") {
    return `stopped by itself: ${stop.failures} of ${plan.targetsCount} targets failed, ${stop.errorsMax} tolerated`
  }
  return stop.mode === "kill" ? "aborted by a person, running tasks were killed" : "aborted by a person"
}

/** One sentence on why the execution is as it is: the stop, what went wrong, what could not be put back. Null where all is well. */
export function describeExecution(state: Described): string | null {
  const { counts, rollbacks } = state
  const parts = [
    whyStopped(state),
    ...(["failed", "interrupted", "aborted", "unreachable", "never-started"] as const).map((name) =>
      counts[name] > 0 ? `${counts[name]} ${name}` : null,
    ),
    rollbacks["rollback-failed"] > 0 ? `${rollbacks["rollback-failed"]} could not be rolled back` : null,
    rollbacks["not-reversible"] > 0 ? `${rollbacks["not-reversible"]} not reversible` : null,
    rollbacks.unknown > 0 ? `${rollbacks.unknown} with the result of the rollback unknown` : null,
  ].filter((part) => part !== null)
  return parts.length > 0 ? parts.join("; ") : null
}

/** Counts and progress of an execution, at a cost that does not depend on its size. */
export function summarize(state: EngineState): ExecutionSummary {
  const drains = state.execution === "pausing" || state.execution === "aborting"
  return {
    execution: state.execution,
    counts: state.counts,
    rollbacks: state.rollbacks,
    inFlight: state.slots.size,
    draining: drains ? state.slots.size : 0,
    failures: countFailures(state.plan, state.counts),
    whyStopped: whyStopped(state),
  }
}
