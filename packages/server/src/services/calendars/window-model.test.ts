import { assert as check, constantFrom, integer, property, record } from "fast-check"
import { describe, expect, test } from "vitest"
import { segmentAt, type WindowSpec } from "./window-model.ts"

const hour = 3_600_000
const window = (cron: string, more: Partial<WindowSpec> & { zone?: string } = {}): WindowSpec => {
  const zone = more.zone ?? "Europe/Berlin"
  return {
    timing: { kind: "cron", cron, zone },
    durationMilliseconds: 4 * hour,
    cutoffMilliseconds: hour,
    excludedDates: new Set(),
    ...more,
    zone,
  }
}
const at = (text: string): number => Date.parse(text)
const stateAt = (spec: WindowSpec, text: string) => {
  const { state, until } = segmentAt(spec, at(text))
  return [state, until === null ? null : new Date(until).toISOString().slice(5, 16)]
}

describe("P9: a window", () => {
  const nightly = window("0 22 * * *")

  test("P9: is open from its start to its cutoff, then closing, then closed", () => {
    expect(stateAt(nightly, "2026-06-01T19:59:59Z")).toEqual(["closed", "06-01T20:00"])
    expect(stateAt(nightly, "2026-06-01T20:00:00Z")).toEqual(["open", "06-01T23:00"])
    expect(stateAt(nightly, "2026-06-01T23:00:00Z")).toEqual(["closing", "06-02T00:00"])
    expect(stateAt(nightly, "2026-06-02T00:00:00Z")).toEqual(["closed", "06-02T20:00"])
  })

  test("P9: lasts its duration in elapsed time where the clock changes within it", () => {
    expect(stateAt(nightly, "2026-03-28T22:00:00Z")).toEqual(["open", "03-29T00:00"])
    expect(segmentAt(nightly, at("2026-03-28T22:00:00Z")).closesAt).toBe(at("2026-03-29T01:00:00Z"))
    expect(segmentAt(nightly, at("2026-10-24T21:00:00Z")).closesAt).toBe(at("2026-10-25T00:00:00Z"))
  })

  test("P9: stays closed on its excluded dates, by the date at which it would open", () => {
    const excluded = window("0 22 * * *", { excludedDates: new Set(["2026-12-24", "2026-12-25"]) })
    expect(stateAt(excluded, "2026-12-24T23:00:00Z")).toEqual(["closed", "12-26T21:00"])
    expect(stateAt(excluded, "2026-12-23T23:30:00Z")).toEqual(["open", "12-24T00:00"])
    const often = window("* * * * *", {
      durationMilliseconds: 60_000,
      cutoffMilliseconds: 0,
      excludedDates: new Set(["2026-12-24"]),
    })
    expect(stateAt(often, "2026-12-24T08:00:00Z")).toEqual(["closed", "12-24T23:00"])
  })

  test("P9: openings that overlap or touch are one", () => {
    const overlapping = window("0 20,22 * * *")
    expect(stateAt(overlapping, "2026-06-01T18:30:00Z")).toEqual(["open", "06-01T23:00"])
    const always = window("0 * * * *", { durationMilliseconds: hour, cutoffMilliseconds: 0 })
    expect(segmentAt(always, at("2026-06-01T18:30:00Z")).until).toBeGreaterThan(at("2026-06-05T00:00:00Z"))
  })

  test("P9: that opens once never opens again", () => {
    const once = window("", { timing: { kind: "once", at: at("2026-06-01T00:00:00Z") } })
    expect(stateAt(once, "2026-05-31T00:00:00Z")).toEqual(["closed", "06-01T00:00"])
    expect(stateAt(once, "2026-06-01T01:00:00Z")).toEqual(["open", "06-01T03:00"])
    expect(stateAt(once, "2026-06-01T05:00:00Z")).toEqual(["closed", null])
  })
})

test("P9: within a segment nothing changes, and right after it something does", () => {
  check(
    property(
      record({
        zone: constantFrom("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"),
        cron: constantFrom("0 22 * * *", "30 2 * * *", "0 1 * * 6", "0 20,22 * * *", "15 */5 * * *"),
        hours: integer({ min: 1, max: 30 }),
        day: integer({ min: 0, max: 20 * 365 }),
        share: integer({ min: 0, max: 1_000 }),
      }),
      ({ zone, cron, hours, day, share }) => {
        const spec = window(cron, {
          zone,
          durationMilliseconds: hours * hour,
          cutoffMilliseconds: Math.floor(hours / 2) * hour,
        })
        const now = Date.UTC(2020, 0, 1) + day * 24 * hour + share * 60_000
        const segment = segmentAt(spec, now)
        // Openings that touch for ever are joined only so far.
        if (segment.until === null || segment.until - now > 14 * 24 * hour) return
        expect(segment.until).toBeGreaterThan(now)
        const inside = now + Math.floor(((segment.until - now) * share) / 1_001)
        expect(segmentAt(spec, inside).state).toBe(segment.state)
        expect(segmentAt(spec, segment.until - 1).state).toBe(segment.state)
        expect(segmentAt(spec, segment.until).state).not.toBe(segment.state)
      },
    ),
    { numRuns: 300 },
  )
})
