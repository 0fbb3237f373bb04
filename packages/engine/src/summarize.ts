import { wallTimeOf } from "./engine-clock.ts"
import { roomOf } from "./room.ts"
import { countFailures, countUnavailable } from "./run-counts.ts"
import type { EngineState, ExecutionSummary, FailureGroup, StopCause, TaskCounts } from "./types.ts"

/** Whether every target that ended did so well: neither failed nor unreachable nor left out. */
export function endedWell(counts: TaskCounts): boolean {
  return counts.failed + counts.interrupted + counts.aborted + counts.unreachable + counts["never-started"] === 0
}

const groupNames: Readonly<Record<FailureGroup, string>> = {
  failed: "failed",
  timeout: "timed out",
  unreachable: "were unreachable",
  interrupted: "were interrupted",
}

/** The cause of a stop in a few words. `targetsCount` is that of the plan. */
export function describeStop(stop: StopCause, targetsCount: number): string {
  switch (stop.by) {
    case "person":
      return "aborted by a person"
    case "error-limit":
      return `stopped by itself: ${stop.failures} of ${targetsCount} targets failed, ${stop.errorsMax} tolerated`
    case "class-limit":
      return `stopped by itself: ${stop.failures} targets ${groupNames[stop.group]}, ${stop.errorsMax} tolerated`
    case "error-rate": {
      const { failures, completed, thousandths } = stop
      return `stopped by itself: ${failures} of ${completed} completed targets failed, ${thousandths / 1000}% tolerated`
    }
    case "expression":
      return stop.error === null
        ? `stopped by its condition: ${stop.text}`
        : `stopped because its condition could not be evaluated (${stop.error}): ${stop.text}`
    case "health":
      return `stopped by its health check: ${stop.message}`
    case "unavailable-limit":
      return `stopped by itself: ${stop.unavailable} targets are unavailable, ${stop.unavailableMax} tolerated`
  }
}

function whyStopped({ stop, plan }: EngineState): string | null {
  if (!stop) return null
  const killed = stop.mode === "kill" ? ", running tasks were killed" : ""
  return describeStop(stop, plan.targetsCount) + killed
}

function whatItWaitsFor({ hold, bakeUntil, clock, wave, plan }: EngineState): string | null {
  if (hold) return `no target starts: ${hold.reason}`
  if (bakeUntil === null) return null
  const until = new Date(wallTimeOf(clock, bakeUntil)).toISOString()
  return `wave ${wave} of ${plan.waves?.length ?? 1} bakes until ${until}`
}

/** One sentence on why the execution is as it is: the stop, what went wrong, what could not be put back. Null where all is well. */
export function describeExecution(state: EngineState): string | null {
  const { counts, rollbacks } = state
  const parts = [
    whyStopped(state),
    whatItWaitsFor(state),
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
  const { plan, execution, counts, rollbacks, slots, bakeUntil } = state
  const drains = execution === "pausing" || execution === "aborting"
  return {
    execution,
    counts,
    rollbacks,
    inFlight: slots.size,
    draining: drains ? slots.size : 0,
    failures: countFailures(plan, counts),
    unavailable: countUnavailable(slots.size, state),
    width: state.width,
    wave: state.wave,
    wavesCount: plan.waves?.length ?? 1,
    bakeUntil: bakeUntil === null ? null : wallTimeOf(state.clock, bakeUntil),
    hold: state.hold,
    waitsFor: roomOf(state).waitsFor,
    whyStopped: whyStopped(state),
  }
}
