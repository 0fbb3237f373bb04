import { assert as check, constantFrom, integer, property, record } from "fast-check"
import { describe, expect, test } from "vitest"
import { compile, instantsFrom, instantsWalkedMax, lastInstants, nextInstant, type Occurrences } from "./timing.ts"
import { clockNote, localText } from "./zone-clock.ts"

const cron = (text: string, zone: string): Occurrences => ({ timing: { kind: "cron", cron: text, zone } })

function instants(of: Occurrences, [after, until]: [string, string]): string[] {
  return instantsFrom(of, { after: Date.parse(after) - 1, until: Date.parse(until), limit: instantsWalkedMax }).map(
    (at) => new Date(at).toISOString().slice(5, 16),
  )
}

describe("W8: the clock of a zone is put forward and back", () => {
  test.each([
    ["30 2 * * *", "Europe/Berlin", ["03-28T01:30", "03-29T01:00", "03-30T00:30"], "2026-03-28", "2026-03-30T12:00Z"],
    ["30 2 * * *", "Europe/Berlin", ["10-24T00:30", "10-25T00:30", "10-26T01:30"], "2026-10-24", "2026-10-26T12:00Z"],
    [
      "30 2 * * *",
      "America/New_York",
      ["03-07T07:30", "03-08T07:00", "03-09T06:30"],
      "2026-03-07",
      "2026-03-09T12:00Z",
    ],
    [
      "30 1 * * *",
      "America/New_York",
      ["10-31T05:30", "11-01T05:30", "11-02T06:30"],
      "2026-10-31",
      "2026-11-02T12:00Z",
    ],
    ["0 2 * * *", "Europe/Berlin", ["03-28T01:00", "03-29T01:00", "03-30T00:00"], "2026-03-28", "2026-03-30T12:00Z"],
  ])("W8: %s in %s comes once a day: a missing time right after the gap, of a repeated one the first", (...row) => {
    const [text, zone, expected, from, until] = row
    expect(instants(cron(text, zone), [from, until])).toEqual(expected)
  })

  test("W8: what comes every so many minutes goes on in real time through both changes", () => {
    const all = (range: [string, string]) => instants(cron("*/30 * * * *", "Europe/Berlin"), range)
    expect(all(["2026-03-29T00:30Z", "2026-03-29T01:30Z"])).toEqual(["03-29T00:30", "03-29T01:00", "03-29T01:30"])
    expect(all(["2026-10-25T00:00Z", "2026-10-25T01:30Z"])).toEqual([
      "10-25T00:00",
      "10-25T00:30",
      "10-25T01:00",
      "10-25T01:30",
    ])
  })

  test("W8: the preview says what the change does", () => {
    const { timing } = cron("30 2 * * *", "Europe/Berlin")
    expect(clockNote(timing, Date.parse("2026-03-28T01:30Z"))).toBeUndefined()
    expect(clockNote(timing, Date.parse("2026-03-29T01:00Z"))).toMatch(/put forward/)
    expect(clockNote(timing, Date.parse("2026-10-25T00:30Z"))).toMatch(/put back: of this local time/)
    expect(localText(Date.parse("2026-03-29T01:00Z"), "Europe/Berlin")).toBe("2026-03-29T03:00:00+02:00")
    expect(localText(Date.parse("2026-10-25T01:30Z"), "America/St_Johns")).toBe("2026-10-24T23:00:00-02:30")
  })
})

const zones = [
  "UTC",
  "Europe/Berlin",
  "Europe/London",
  "America/New_York",
  "America/St_Johns",
  "America/Santiago",
  "Australia/Lord_Howe",
  "Pacific/Apia",
  "Asia/Kathmandu",
  "Africa/Casablanca",
  "Asia/Tehran",
]
const texts = ["30 2 * * *", "0 0 * * *", "15 1,2,3 * * *", "0 3 * * 0", "59 23 L * *", "0 */6 * * *", "*/20 * * * *"]
/** Whole years in which all of the zones change their clocks or don't. */
const start = Date.UTC(2024, 0, 1)
const hours = 3 * 365 * 24
const hour = 3_600_000

interface Asked {
  readonly zone: string
  readonly text: string
  readonly hoursIn: number
}
const asked = {
  zone: constantFrom(...zones),
  text: constantFrom(...texts),
  hoursIn: integer({ min: 0, max: hours }),
}

describe("W8: no instant is lost or doubled, whatever the zone", () => {
  test("W8: from wherever one asks, the next instant is the next of the same sequence", () => {
    const ask = ({ zone, text, hoursIn, minutes }: Asked & { minutes: number }): void => {
      const of = cron(text, zone)
      const from = start + hoursIn * hour
      const sequence = instantsFrom(of, { after: from, until: from + 40 * 24 * hour, limit: 50 })
      for (let index = 1; index < sequence.length; index++) {
        expect(sequence[index]).toBeGreaterThan(sequence[index - 1] ?? Infinity)
      }
      const middle = from + minutes * 60_000
      const expected = sequence.find((at) => at > middle)
      if (expected !== undefined) expect(nextInstant(of, middle)).toBe(expected)
    }
    check(property(record({ ...asked, minutes: integer({ min: 0, max: 7 * 24 * 60 }) }), ask), { numRuns: 300 })
  })

  test("W8: a daily time comes exactly once on each date", () => {
    const count = ({
      zone,
      hourOfDay,
      minute,
      dayIn,
    }: Record<"hourOfDay" | "minute" | "dayIn", number> & Asked): void => {
      const of = cron(`${minute} ${hourOfDay} * * *`, zone)
      // Half a day before and after a span of dates lies no instant that could be taken for one of theirs.
      const days = 20
      const dates = instantsFrom(of, {
        after: start + dayIn * 24 * hour,
        until: start + (dayIn + days) * 24 * hour,
        limit: 100,
      }).map((at) => localText(at, zone).slice(0, 10))
      expect(new Set(dates).size).toBe(dates.length)
      expect(dates.length).toBeGreaterThanOrEqual(days - 1)
      expect(dates.length).toBeLessThanOrEqual(days + 1)
    }
    check(
      property(
        record({
          ...asked,
          hourOfDay: integer({ min: 0, max: 23 }),
          minute: integer({ min: 0, max: 59 }),
          dayIn: integer({ min: 0, max: 1_000 }),
        }),
        count,
      ),
      { numRuns: 300 },
    )
  })

  test("the last instants of a range are the end of all of them", () => {
    const compare = ({ zone, text, hoursIn, span, limit }: Asked & { span: number; limit: number }): void => {
      const of = cron(text, zone)
      const range = { after: start + hoursIn * hour, until: start + (hoursIn + span) * hour }
      const all = instantsFrom(of, { ...range, limit: 5_000 })
      expect(lastInstants(of, { ...range, limit })).toEqual(all.slice(-limit))
    }
    check(
      property(
        record({ ...asked, span: integer({ min: 1, max: 1_000 }), limit: integer({ min: 1, max: 20 }) }),
        compare,
      ),
      { numRuns: 50 },
    )
  })
})

describe("other timings", () => {
  test("once, and every so often from an anchor, within bounds", () => {
    expect(nextInstant({ timing: { kind: "once", at: 10 } }, 9)).toBe(10)
    expect(nextInstant({ timing: { kind: "once", at: 10 } }, 10)).toBeNull()
    const every: Occurrences = { timing: { kind: "every", everyMilliseconds: 100, anchor: 1_000 }, until: 1_250 }
    expect(instantsFrom(every, { after: 0, until: 9_999, limit: 10 })).toEqual([1_000, 1_100, 1_200])
    expect(nextInstant({ ...every, from: 1_150 }, 0)).toBe(1_200)
    expect(nextInstant({ ...every, from: 1_200 }, 0)).toBe(1_200)
  })

  test("a cron text that can't be read, or has seconds, is refused with the reason", () => {
    expect(() => compile("61 * * * *", "UTC")).toThrow(/"61 \* \* \* \*" is no cron text/)
    expect(() => compile("* * * * * *", "UTC")).toThrow(/exactly 5 parts/)
  })

  test("a day that never comes gives no instant, and ends the search", () => {
    expect(nextInstant(cron("0 0 30 2 *", "Europe/Berlin"), start)).toBeNull()
  })
})
