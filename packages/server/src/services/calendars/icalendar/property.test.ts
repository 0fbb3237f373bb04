import { assert as check, constantFrom, integer, property, record, subarray } from "fast-check"
import { expect, test } from "vitest"
import { makeTimeTable, segmentAt, tableFrom } from "../change-calendar-model.ts"
import { compileCalendar } from "./compile-calendar.ts"
import { calendarOf } from "./documents.fixture.ts"
import { loadRecurrenceLibrary } from "./recurrence.ts"

const library = await loadRecurrenceLibrary()
const hour = 3_600_000
const day = 24 * hour

/**
 * What simple rules mean, found by asking the clock of the zone about every half hour of a year and more: nothing is
 * shared with the code under test.
 */
interface SimpleRule {
  readonly zone: string
  readonly frequency: "DAILY" | "WEEKLY" | "MONTHLY"
  readonly interval: number
  readonly weekdays: readonly string[]
  readonly startHour: number
  readonly hours: number
}

const names = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"]
const firstDay = Date.UTC(2030, 0, 7)

function wallClock(zone: string): (instant: number) => { date: string; time: string } {
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "short" })
  return (instant) => {
    const [date = "", time = ""] = format.format(instant).split(" ")
    return { date, time }
  }
}

/** Starts in [from, to): the first instant at which the clock shows the hour, on days that the rule names. */
function naiveStarts(rule: SimpleRule, from: number, to: number): number[] {
  const clock = wallClock(rule.zone)
  const wanted = `${String(rule.startHour).padStart(2, "0")}:00`
  const found = new Map<string, number>()
  for (let instant = from - 2 * day; instant < to + 2 * day; instant += hour / 2) {
    const { date, time } = clock(instant)
    if (time === wanted && !found.has(date) && isNamed(rule, Date.parse(date))) found.set(date, instant)
  }
  return [...found.values()].filter((start) => start >= from && start < to)
}

function isNamed(rule: SimpleRule, date: number): boolean {
  if (date < firstDay) return false
  const daysSince = (date - firstDay) / day
  const at = new Date(date)
  switch (rule.frequency) {
    case "DAILY":
      return daysSince % rule.interval === 0
    case "WEEKLY":
      // The first day is a Monday, with which weeks begin.
      return Math.floor(daysSince / 7) % rule.interval === 0 && rule.weekdays.includes(names[at.getUTCDay()] ?? "")
    case "MONTHLY":
      return at.getUTCDate() === 7 && ((at.getUTCFullYear() - 2030) * 12 + at.getUTCMonth()) % rule.interval === 0
  }
}

const simpleRule = record({
  zone: constantFrom("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"),
  frequency: constantFrom("DAILY" as const, "WEEKLY" as const, "MONTHLY" as const),
  interval: integer({ min: 1, max: 5 }),
  weekdays: subarray(names, { minLength: 1 }).map((chosen) => [...new Set(["MO", ...chosen])]),
  // Hours that no zone here skips; skipped ones have tests of their own.
  startHour: constantFrom(0, 1, 5, 12, 22, 23),
  hours: integer({ min: 1, max: 9 }),
})

function compile(rule: SimpleRule) {
  const two = (value: number): string => String(value).padStart(2, "0")
  const byDay = rule.frequency === "WEEKLY" ? `;BYDAY=${rule.weekdays.join(",")}` : ""
  const document = calendarOf([
    `DTSTART;TZID=${rule.zone}:20300107T${two(rule.startHour)}0000`,
    `DURATION:PT${rule.hours}H`,
    `RRULE:FREQ=${rule.frequency};INTERVAL=${rule.interval}${byDay}`,
  ])
  return compileCalendar(document, { library, zone: undefined, countTransparent: false })
}

test("A15: over a year, in zones whose clocks change, times are those that the clock shows", () => {
  check(
    property(simpleRule, (rule) => {
      const [from, to] = [Date.UTC(2030, 0, 1), Date.UTC(2031, 0, 1)]
      const found = compile(rule).occurrencesBetween(from, to)
      const expected = naiveStarts(rule, from - rule.hours * hour, to)
        .map((start) => [start, start + rule.hours * hour])
        .filter(([, end = 0]) => end > from)
      expect(found.map(({ start, end }) => [start, end])).toEqual(expected)
    }),
    { numRuns: 40 },
  )
}, 120_000)

test("A15: the next change is exact: the state holds until then and is another from then on", () => {
  check(
    property(simpleRule, integer({ min: 0, max: 999 }), integer({ min: 0, max: 3 * 365 }), (rule, share, days) => {
      const calendar = compile(rule)
      const table = tableFrom(calendar, Date.UTC(2030, 0, 1))
      const at = Date.UTC(2030, 0, 1) + days * day + share * 60_000
      const { inEvent, until } = segmentAt(calendar, table, at)
      if (until === null) {
        // Only where events follow each other without a gap.
        expect(inEvent).toBe(true)
        return
      }
      expect(until).toBeGreaterThan(at)
      const anywhere = makeTimeTable(calendar.occurrencesBetween(at - day, until + day), at - day, until + day)
      const isInside = (instant: number): boolean =>
        anywhere.occurrences.some(({ start, end }) => start <= instant && instant < end)
      for (const instant of [at, at + Math.floor(((until - at) * share) / 1000), until - 1])
        expect(isInside(instant)).toBe(inEvent)
      expect(isInside(until)).toBe(!inEvent)
    }),
    { numRuns: 60 },
  )
}, 120_000)
