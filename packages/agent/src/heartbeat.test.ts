import { describe, expect, test } from "vitest"
import { nextBeat } from "./heartbeat.ts"

const beatMilliseconds = 10_000

/** When beats are sent within `until`, where the session opened at 0 and frames are sent and heard at these times. */
function beatsOf(at: { readonly sent: readonly number[]; readonly heard: readonly number[] }, until: number): number[] {
  const beats: number[] = []
  const last = (times: readonly number[], now: number) =>
    [...times, ...beats].filter((time) => time <= now).reduce((latest, time) => Math.max(latest, time), 0)
  for (let now = beatMilliseconds; now <= until;) {
    const lastHeard = last(at.heard, now)
    const next = nextBeat({ now, lastHeard, lastSent: last(at.sent, now), beatMilliseconds })
    if (next.isDue) beats.push(now)
    now += next.lookInMilliseconds
  }
  return beats
}

const every = (milliseconds: number, until: number): number[] =>
  Array.from({ length: Math.floor(until / milliseconds) }, (_, n) => (n + 1) * milliseconds)

describe("a session's heartbeat", () => {
  test("comes at its times where nothing else is said", () => {
    expect(beatsOf({ sent: [], heard: [] }, 30_000)).toEqual([10_000, 20_000, 30_000])
  })

  test("is left out while frames go both ways", () => {
    const busy = every(1_000, 30_000)
    expect(beatsOf({ sent: busy, heard: busy }, 30_000)).toEqual([])
  })

  test("comes where only one side speaks: the other has to show that it lives", () => {
    expect(beatsOf({ sent: every(1_000, 30_000), heard: [] }, 30_000)).toEqual([10_000, 20_000, 30_000])
    expect(beatsOf({ sent: [], heard: every(1_000, 30_000) }, 30_000)).toEqual([10_000, 20_000, 30_000])
  })

  test("comes at most its time after the last frame", () => {
    for (let last = 0; last <= 20_000; last += 100) {
      const frames = last === 0 ? [] : [...every(1_000, last), last]
      const [first = Infinity] = beatsOf({ sent: frames, heard: frames }, 60_000)
      expect(first - last).toBeLessThanOrEqual(beatMilliseconds)
    }
  })
})
