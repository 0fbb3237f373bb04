import { describe, expect, test } from "vitest"
import {
  advanceClock,
  lateToleranceMilliseconds,
  newClock,
  stallGraceMilliseconds,
  wallTimeOf,
} from "./engine-clock.ts"

describe("I19: engine time", () => {
  test("follows the wall clock", () => {
    const clock = advanceClock(newClock(1000), 1500, Infinity)
    expect(clock).toEqual({ wall: 1500, time: 1500, stalled: false })
    expect(wallTimeOf(clock, 2000)).toBe(2000)
    expect(wallTimeOf(clock, 1000)).toBe(1500)
  })

  test("stands still while the wall clock is set back, and goes on from there", () => {
    const back = advanceClock(newClock(10_000), 4000, 20_000)
    expect(back.time).toBe(10_000)
    expect(advanceClock(back, 4500, 20_000).time).toBe(10_500)
    expect(wallTimeOf(back, 10_700)).toBe(4700)
  })

  test("leaves the nodes a moment where the server stood still, once in a row", () => {
    const due = 5000
    const late = due + lateToleranceMilliseconds + 1
    const stalled = advanceClock(newClock(0), late, due)
    expect(stalled).toEqual({ wall: late, time: due - stallGraceMilliseconds, stalled: true })
    expect(wallTimeOf(stalled, due)).toBe(late + stallGraceMilliseconds)
    const again = advanceClock(stalled, late + 60_000, due)
    expect(again.time).toBeGreaterThan(due)
    const later = again.time + 5000
    expect(advanceClock(again, later + 10_000, later)).toMatchObject({ time: later - 1000, stalled: true })
  })

  test("is a little late without any ado", () => {
    expect(advanceClock(newClock(0), 5000 + lateToleranceMilliseconds, 5000).time).toBe(
      5000 + lateToleranceMilliseconds,
    )
  })

  test("never goes back", () => {
    const clock = { wall: 0, time: 5000, stalled: false }
    expect(advanceClock(clock, 90_000, 4000).time).toBe(5000)
  })
})
