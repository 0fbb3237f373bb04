/**
 * Engine time, in which all deadlines are kept. It follows the wall clock, with two exceptions: a step back of the wall
 * clock adds nothing, and a wake-up far too late (a stopped process, a suspended machine, a clock that was set) leaves the
 * nodes `stallGraceMilliseconds` before the deadline, because their reports may wait behind the timer. The exception
 * is made once in a row, so that a server which is always late still reaches its deadlines.
 */
import type { EngineClock } from "./types.ts"

/** A step this much after the next deadline means that the server stood still. */
export const lateToleranceMilliseconds = 1000
export const stallGraceMilliseconds = 1000

export function newClock(wall: number): EngineClock {
  return { wall, time: wall, stalled: false }
}

/** The clock at wall time `wall`, where `nextDeadline` is the next engine time at which something is due. */
export function advanceClock(clock: EngineClock, wall: number, nextDeadline: number): EngineClock {
  const time = clock.time + Math.max(0, wall - clock.wall)
  if (time <= nextDeadline + lateToleranceMilliseconds) return { wall, time, stalled: false }
  if (clock.stalled) return { wall, time, stalled: false }
  return { wall, time: Math.max(clock.time, nextDeadline - stallGraceMilliseconds), stalled: true }
}

/** The wall-clock time at which engine time reaches `deadline`. */
export function wallTimeOf(clock: EngineClock, deadline: number): number {
  return clock.wall + Math.max(0, deadline - clock.time)
}
