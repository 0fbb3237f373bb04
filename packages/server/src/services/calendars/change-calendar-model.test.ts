import { describe, expect, test } from "vitest"
import {
  holdsCall,
  makeTimeTable,
  matchesPattern,
  segmentAt,
  tableFrom,
  togetherAt,
  type OneState,
} from "./change-calendar-model.ts"
import { compileCalendar } from "./icalendar/compile-calendar.ts"
import { calendarOf } from "./icalendar/documents.fixture.ts"
import { loadRecurrenceLibrary } from "./icalendar/recurrence.ts"

const library = await loadRecurrenceLibrary()
const compile = (...events: string[]) =>
  compileCalendar(calendarOf(...events), { library, zone: "UTC", countTransparent: false })
const at = (text: string): number => Date.parse(`${text}Z`)

describe("A15: stretches", () => {
  test("events that overlap or touch are one", () => {
    const occurrences = [
      [10, 20],
      [40, 50],
      [20, 25],
      [12, 15],
    ].map(([start = 0, end = 0]) => ({ start, end, uid: "", summary: "" }))
    expect(makeTimeTable(occurrences, 0, 100).stretches).toEqual([
      { start: 10, end: 25 },
      { start: 40, end: 50 },
    ])
  })

  test("a change that is years off is found; one that never comes is none", () => {
    const calendar = compile("DTSTART:20300101T000000Z\nDURATION:PT1H\nRRULE:FREQ=YEARLY;INTERVAL=3")
    const table = tableFrom(calendar, at("2030-01-01T00:00"))
    expect(segmentAt(calendar, table, at("2030-01-01T01:00"))).toMatchObject({
      inEvent: false,
      until: at("2033-01-01T00:00"),
    })
    const once = compile("DTSTART:20300101T000000Z\nDURATION:PT1H")
    expect(segmentAt(once, table, at("2031-06-01T00:00"))).toMatchObject({ inEvent: false, until: null })
  })

  test("a stretch that goes on behind the time that is kept ends where its last event does", () => {
    const calendar = compile(
      "DTSTART;VALUE=DATE:20300101\nDTEND;VALUE=DATE:20330101",
      "DTSTART:20321231T000000Z\nDURATION:P2D",
    )
    const table = tableFrom(calendar, at("2030-06-01T00:00"))
    expect(segmentAt(calendar, table, at("2030-06-01T00:00"))).toMatchObject({
      inEvent: true,
      until: at("2033-01-02T00:00"),
    })
    const days = compile("DTSTART;VALUE=DATE:20300101\nRRULE:FREQ=DAILY")
    expect(segmentAt(days, table, at("2031-01-01T00:00"))).toMatchObject({ inEvent: true })
  })
})

describe("A15: calendars together", () => {
  /** Open outside of [start, end). */
  const freeze =
    (name: string, start: number, end: number) =>
    (instant: number): OneState => {
      const open = instant < start || instant >= end
      const changesAt = open ? (instant < start ? start : null) : end
      return { name, open, changesAt, event: null, unknown: false }
    }
  const together = (instant: number, ...calendars: Array<(instant: number) => OneState>) =>
    togetherAt((when) => calendars.map((calendar) => calendar(when)), instant)

  test("are closed while any is, and open when the last of those that follow each other opens", () => {
    const calendars = [freeze("a", 10, 20), freeze("b", 15, 30), freeze("c", 30, 35)]
    expect(together(0, ...calendars)).toMatchObject({ open: true, changesAt: 10, name: "a" })
    expect(together(12, ...calendars)).toMatchObject({ open: false, changesAt: 35, name: "a" })
    expect(together(16, ...calendars)).toMatchObject({ open: false, changesAt: 35, name: "b" })
    expect(together(35, ...calendars)).toMatchObject({ open: true, changesAt: null, name: null })
    expect(together(5)).toMatchObject({ open: true, changesAt: null })
  })

  test("with one that nobody knows are closed, and nobody knows until when", () => {
    const unknown = (): OneState => ({ name: "u", open: false, changesAt: null, event: null, unknown: true })
    expect(together(0, freeze("a", 10, 20), unknown)).toEqual({
      ...{ name: "u", open: false, changesAt: null, unknown: true },
    })
  })
})

describe("A15: what a calendar holds", () => {
  test.each([
    ["executions.create", "executions.create", true],
    ["executions.*", "executions.retry", true],
    ["executions.*", "tasks.get", false],
    ["*", "anything.at-all", true],
    ["web-*-db", "web-1-db", true],
    ["web-*-db", "web-db", false],
    ["a*a", "a", false],
    ["*a*b*", "xaxbx", true],
    ["*a*b*", "xbxax", false],
  ])("%s of %s: %s", (pattern, text, expected) => {
    expect(matchesPattern(pattern, text)).toBe(expected)
  })

  test("a pattern costs no more than the text is long", () => {
    const began = performance.now()
    expect(matchesPattern("*a".repeat(30), "a".repeat(100_000).concat("b"))).toBe(false)
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  test("selects by operation, and by workflow where one is named", () => {
    const holds = [{ operations: ["executions.*"], workflows: ["web-*"] }, { operations: ["secrets.put"] }]
    const call = (operation: string, workflow?: string) => ({
      operation,
      attributes: workflow === undefined ? {} : { workflow },
    })
    expect(holdsCall(holds, call("executions.create", "web-deploy"))).toBe(true)
    expect(holdsCall(holds, call("executions.create", "db-deploy"))).toBe(false)
    expect(holdsCall(holds, call("executions.create"))).toBe(false)
    expect(holdsCall(holds, call("secrets.put"))).toBe(true)
    expect(holdsCall([], call("secrets.put"))).toBe(false)
  })
})
