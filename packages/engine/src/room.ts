/** How many targets may start now: the least of what each rule leaves, in the order of SPEC.md. Pure and of constant cost. */
import { countEnded, countFailures, countUnavailable } from "./run-counts.ts"
import type { EngineState, StartLimit } from "./types.ts"

/** What the rules look at; the scheduler's draft has it as a state does. */
export type RoomView = Pick<
  EngineState,
  | "plan"
  | "execution"
  | "width"
  | "wave"
  | "bakeUntil"
  | "hold"
  | "nextOrdinal"
  | "slots"
  | "counts"
  | "rollbacks"
  | "domains"
  | "clock"
>

export interface Room {
  readonly room: number
  /** The rule that leaves no room; null where there is room, and where nothing is left to start. */
  readonly waitsFor: StartLimit | null
}

/** Whether every target of the wave in hand has been started and another wave follows. */
export function isAtWaveEnd({ plan, wave, nextOrdinal }: Pick<RoomView, "plan" | "wave" | "nextOrdinal">): boolean {
  return plan.waves?.[wave - 1] === nextOrdinal && nextOrdinal < plan.targetsCount
}

/** Whether the domain of the target at the head of the line may have one more in flight. */
export function hasDomainRoom({ plan, domains }: Pick<RoomView, "plan" | "domains">, ordinal: number): boolean {
  const domain = plan.domains?.[ordinal] ?? -1
  return domain < 0 || domains === null || domains.get(domain) < (plan.domainWidth ?? 1)
}

/** How many targets the waves leave. */
function roomOfWaves(view: RoomView): Room {
  const { plan, wave, nextOrdinal, bakeUntil, clock } = view
  const left = plan.targetsCount - nextOrdinal
  if (!plan.waves) return { room: left, waitsFor: null }
  if (!isAtWaveEnd(view)) return { room: (plan.waves[wave - 1] ?? nextOrdinal) - nextOrdinal, waitsFor: null }
  if (bakeUntil === null) return { room: 0, waitsFor: "wave" }
  if (clock.time < bakeUntil) return { room: 0, waitsFor: "bake" }
  return { room: (plan.waves[wave] ?? nextOrdinal) - nextOrdinal, waitsFor: null }
}

export function roomOf(view: RoomView): Room {
  const { plan, execution, width, hold, nextOrdinal, slots, counts } = view
  if (execution !== "running" || nextOrdinal >= plan.targetsCount) return { room: 0, waitsFor: null }
  if (hold) return { room: 0, waitsFor: "hold" }
  const inWave = roomOfWaves(view)
  let { room, waitsFor } = inWave
  const narrow = (left: number, limit: StartLimit): void => {
    if (left >= room) return
    room = Math.max(0, left)
    waitsFor = limit
  }
  narrow(width - slots.size, "width")
  if (plan.ramp) narrow(1 + counts.succeeded - slots.size, "ramp")
  if (plan.unavailableMax !== undefined) narrow(plan.unavailableMax - countUnavailable(slots.size, view), "unavailable")
  if (plan.strict) {
    const mayStillFail = nextOrdinal - countEnded(counts)
    narrow(plan.errorsMax + 1 - countFailures(plan, counts) - mayStillFail, "strict")
  }
  if (room > 0 && !hasDomainRoom(view, nextOrdinal)) return { room: 0, waitsFor: "domain" }
  return { room, waitsFor: room > 0 ? null : waitsFor }
}
