import { isAppError } from "@signalbox/kernel/app-error"
import { describe, expect, test } from "vitest"
import { compileCalendar, type CompiledCalendar } from "./compile-calendar.ts"
import { appleExport, calendarOf, googleExport, outlookExport, thunderbirdExport } from "./documents.fixture.ts"
import { loadRecurrenceLibrary } from "./recurrence.ts"
import { windowsZones } from "./windows-zones.ts"
import { findNamedZone } from "./zone.ts"

const library = await loadRecurrenceLibrary()
const compile = (document: string, options: { zone?: string; countTransparent?: boolean } = {}): CompiledCalendar =>
  compileCalendar(document, { library, zone: options.zone, countTransparent: options.countTransparent ?? false })

const year = [Date.UTC(2030, 0, 1), Date.UTC(2031, 0, 15)] as const

function times(calendar: CompiledCalendar, [from, to]: readonly [number, number] = year): string[] {
  return calendar
    .occurrencesBetween(from, to)
    .map(({ start, end, summary }) => `${iso(start)} ${iso(end)}${summary && ` ${summary}`}`)
}

const iso = (at: number): string => new Date(at).toISOString().slice(0, 16)

describe("A15: unedited exports", () => {
  test("of Google: across the clock's change, with a deleted, a moved and a cancelled time", () => {
    const calendar = compile(googleExport)
    expect(times(calendar)).toEqual([
      "2030-03-08T19:00 2030-03-09T07:00 Weekend freeze",
      "2030-03-22T19:00 2030-03-23T07:00 Weekend freeze",
      "2030-03-29T19:00 2030-03-30T07:00 Weekend freeze",
      "2030-04-05T20:00 2030-04-06T04:00 Weekend freeze (later)",
      "2030-04-19T18:00 2030-04-20T06:00 Weekend freeze",
      "2030-04-26T18:00 2030-04-27T06:00 Weekend freeze",
    ])
    expect(calendar.ignored).toEqual({ cancelled: 1, transparent: 1 })
  })

  test("of Google: whole days in the calendar's own zone, where they are to count", () => {
    expect(times(compile(googleExport, { countTransparent: true })).at(-1)).toBe(
      "2030-12-19T23:00 2031-01-01T23:00 Year's end",
    )
    expect(times(compile(googleExport, { countTransparent: true, zone: "America/New_York" })).at(-1)).toBe(
      "2030-12-20T05:00 2031-01-02T05:00 Year's end",
    )
  })

  test("of Outlook: a Windows zone as the document describes it, and a counted rule over the clock's change", () => {
    expect(times(compile(outlookExport))).toEqual([
      "2030-03-27T00:00 2030-03-27T03:00 Monatsabschluss",
      "2030-04-09T23:00 2030-04-10T02:00 Monatsabschluss",
    ])
  })

  test("of Outlook: a Windows zone that the document doesn't describe", () => {
    const bare = outlookExport.replace(/BEGIN:VTIMEZONE[^]*END:VTIMEZONE\r\n/, "")
    expect(times(compile(bare))).toEqual(times(compile(outlookExport)))
  })

  test("of Apple: a byte order mark, DURATION as elapsed time, a whole day that needs a zone", () => {
    expect(times(compile(appleExport, { zone: "Europe/Berlin" }))).toEqual([
      "2030-03-09T04:00 2030-03-09T14:00 Stocktaking",
      "2030-03-31T22:00 2030-04-01T22:00 Quiet day",
    ])
    expect(faultOf(appleExport)).toEqual([20, expect.stringContaining("give the calendar a `zone`")])
  })

  test("of Thunderbird: its zone names, several exceptions in a line, an added time", () => {
    expect(times(compile(thunderbirdExport))).toEqual([
      "2030-07-01T20:00 2030-07-01T21:00 Nightly close",
      "2030-07-04T20:00 2030-07-04T21:00 Nightly close",
      "2030-07-05T20:00 2030-07-05T21:00 Nightly close",
      "2030-07-10T10:00 2030-07-10T11:00 Nightly close",
    ])
  })

  test("line ends of any kind give the same", () => {
    for (const end of ["\n", "\r"]) {
      expect(compile(googleExport.replaceAll("\r\n", end)).meaning).toBe(compile(googleExport).meaning)
    }
  })

  test("mean the same whatever their stamps, order and people", () => {
    const again = googleExport
      .replaceAll(/DTSTAMP:\d{8}T\d{6}Z/g, "DTSTAMP:20330101T000000Z")
      .replace("ORGANIZER;CN=Release", "ORGANIZER;CN=Somebody")
    expect(compile(again).meaning).toBe(compile(googleExport).meaning)
    expect(compile(googleExport.replace("T200000\r\nDTEND", "T210000\r\nDTEND")).meaning).not.toBe(
      compile(googleExport).meaning,
    )
  })

  test("every Windows zone that is known is one of the IANA database", () => {
    for (const [name, zone] of Object.entries(windowsZones)) expect(findNamedZone(zone), name).toBeDefined()
  })
})

describe("A15: events", () => {
  const start = "DTSTART;TZID=Europe/Berlin:"
  test("a custom zone means what the document says of it", () => {
    const zone = [
      "BEGIN:VTIMEZONE",
      "TZID:Our ships",
      "BEGIN:STANDARD",
      "DTSTART:20200101T000000",
      "TZOFFSETFROM:+0000",
      "TZOFFSETTO:+0230",
      "RDATE:20300601T000000",
      "END:STANDARD",
      "BEGIN:STANDARD",
      "DTSTART:20300301T000000",
      "TZOFFSETFROM:+0230",
      "TZOFFSETTO:-0330",
      "END:STANDARD",
      "END:VTIMEZONE",
      "",
    ].join("\r\n")
    const document = calendarOf(
      "DTSTART;TZID=Our ships:20300101T120000\nDURATION:PT1H",
      "DTSTART;TZID=Our ships:20300401T120000\nDURATION:PT1H",
    ).replace("BEGIN:VEVENT", `${zone}BEGIN:VEVENT`)
    expect(times(compile(document))).toEqual(["2030-01-01T09:30 2030-01-01T10:30", "2030-04-01T15:30 2030-04-01T16:30"])
  })

  test("end by the clock where DTEND says when, and after elapsed hours where DURATION does", () => {
    const night = `${start}20300330T220000`
    expect(times(compile(calendarOf(`${night}\nDTEND;TZID=Europe/Berlin:20300331T080000`)))).toEqual([
      "2030-03-30T21:00 2030-03-31T06:00",
    ])
    expect(times(compile(calendarOf(`${night}\nDURATION:PT10H`)))).toEqual(["2030-03-30T21:00 2030-03-31T07:00"])
    expect(times(compile(calendarOf(`${night}\nDURATION:P1D`)))).toEqual(["2030-03-30T21:00 2030-03-31T20:00"])
  })

  test("at a time that the clock skips, or shows twice", () => {
    const skipped = `${start}20300331T023000\nDURATION:PT1H`
    const twice = `${start}20301027T023000\nDURATION:PT1H`
    expect(times(compile(calendarOf(skipped, twice)))).toEqual([
      "2030-03-31T01:30 2030-03-31T02:30",
      "2030-10-27T00:30 2030-10-27T01:30",
    ])
  })

  test("without length, cancelled or in another part of the document don't count", () => {
    const document = calendarOf(`${start}20300401T100000`, `${start}20300401T100000\nDURATION:PT1H\nSTATUS:CANCELLED`)
    expect(times(compile(document))).toEqual([])
    expect(times(compile(document.replaceAll("VEVENT", "VTODO")))).toEqual([])
  })

  test("periods of RDATE have lengths of their own; a date in EXDATE leaves out its day", () => {
    const document = calendarOf([
      `${start}20300401T100000`,
      "DURATION:PT1H",
      "RRULE:FREQ=DAILY;COUNT=3",
      "EXDATE;VALUE=DATE:20300402",
      "RDATE;VALUE=PERIOD:20300410T000000Z/PT2H,20300411T000000Z/20300411T003000Z",
    ])
    expect(times(compile(document))).toEqual([
      "2030-04-01T08:00 2030-04-01T09:00",
      "2030-04-03T08:00 2030-04-03T09:00",
      "2030-04-10T00:00 2030-04-10T02:00",
      "2030-04-11T00:00 2030-04-11T00:30",
    ])
  })

  test("that replace a time without their series, or a time that there isn't, take place themselves", () => {
    const lone = calendarOf(["RECURRENCE-ID:20300101T000000Z", "DTSTART:20300505T000000Z", "DURATION:PT1H"])
    expect(times(compile(lone))).toEqual(["2030-05-05T00:00 2030-05-05T01:00"])
  })

  test("the newest of two replacements of the same time counts", () => {
    const series = ["UID:s", "DTSTART:20300101T000000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=2"]
    const moved = (sequence: number, hour: string) => [
      "UID:s",
      `SEQUENCE:${sequence}`,
      "RECURRENCE-ID:20300102T000000Z",
      `DTSTART:20300102T${hour}0000Z`,
      "DURATION:PT1H",
    ]
    const document = calendarOf(series, moved(3, "05"), moved(2, "09")).replaceAll(/UID:\d@example\r\n/g, "")
    expect(times(compile(document))).toEqual(["2030-01-01T00:00 2030-01-01T01:00", "2030-01-02T05:00 2030-01-02T06:00"])
  })
})

/** Rules that some libraries get wrong; each expectation is worked out from RFC 5545. */
describe("A15: rules", () => {
  test.each([
    ["FREQ=WEEKLY;BYDAY=MO,TU,WE;BYSETPOS=1", "20300107", ["01-07", "01-14", "01-21", "01-28"]],
    ["FREQ=YEARLY;BYDAY=MO,TU;BYSETPOS=-1", "20291231", ["12-31"]],
    ["FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "20290514", ["05-13"]],
    ["FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=4", "20300131", ["01-31", "02-28", "03-29", "04-30"]],
    ["FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "20300913", ["09-13", "12-13"]],
    ["FREQ=MONTHLY;BYMONTHDAY=31;UNTIL=20300801", "20300131", ["01-31", "03-31", "05-31", "07-31"]],
    ["FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3", "20300131", ["01-31", "02-28", "03-31"]],
    ["FREQ=WEEKLY;INTERVAL=2;COUNT=4;WKST=SU;BYDAY=TU,TH", "20300101", ["01-01", "01-03", "01-15", "01-17"]],
    ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-1", "20280229", ["02-28"]],
    ["FREQ=MONTHLY;BYDAY=1SU;COUNT=2", "20300106", ["01-06", "02-03"]],
  ])("%s", (rule, first, expected) => {
    const document = calendarOf([`DTSTART;VALUE=DATE:${first}`, `RRULE:${rule}`])
    const found = times(compile(document, { zone: "UTC" }), [Date.UTC(2030, 0, 1), Date.UTC(2031, 0, 1)])
    const days = found.map((time) => time.slice(5, 10))
    expect(rule.includes("COUNT") || rule.includes("UNTIL") ? days : days.slice(0, expected.length)).toEqual(expected)
  })

  test("that never come round again end", () => {
    const never = calendarOf(["DTSTART:20300101T000000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"])
    const calendar = compile(never)
    expect(times(calendar)).toEqual(["2030-01-01T00:00 2030-01-01T01:00"])
    expect(calendar.nextStart(Date.UTC(2030, 1, 1))).toBeNull()
  })

  test("for February 29 come round every four years", () => {
    const leap = compile(calendarOf(["DTSTART:20280229T000000Z", "DURATION:PT1H", "RRULE:FREQ=YEARLY"]))
    expect(iso(leap.nextStart(Date.UTC(2030, 0, 1)) ?? 0)).toBe("2032-02-29T00:00")
    expect(times(leap)).toEqual([])
  })
})

describe("A15: what is wrong is told with its line", () => {
  const event = (...rest: string[]): string => calendarOf(["DTSTART:20300101T000000Z", ...rest])
  test.each([
    ["", 1, "begins with BEGIN:VCALENDAR"],
    ["<html><body>Sign in</body></html>", 1, "is no iCalendar line"],
    ["DTSTART:20300101\r\n", 1, "begins with BEGIN:VCALENDAR"],
    ["BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20300101T000000Z\r\n", 2, "VEVENT begins here and has no END"],
    ["BEGIN:VCALENDAR\r\nEND:VEVENT\r\n", 2, "ends nothing that is open"],
    ["BEGIN:VCALENDAR\r\nnonsense\r\nEND:VCALENDAR\r\n", 2, "is no iCalendar line"],
    [calendarOf("SUMMARY:x"), 3, "has no DTSTART"],
    [calendarOf("DTSTART:yesterday"), 5, "is no date"],
    [calendarOf("DTSTART:20300230T000000Z"), 5, "a time that there isn't"],
    [calendarOf("DTSTART;TZID=Nowhere/Land:20300101T000000"), 5, 'time zone "Nowhere/Land"'],
    [calendarOf("DTSTART:20300101T000000"), 5, "time without a time zone"],
    [event("DTEND:20291231T000000Z"), 6, "ends before it begins"],
    [event("DURATION:1 hour"), 6, "is no duration"],
    [event("DURATION:-PT1H"), 6, "less than nothing"],
    [event("DURATION:PT1H", "DTEND:20300101T010000Z"), 6, "not both"],
    [event("RRULE:FREQ=SECONDLY"), 6, "FREQ=SECONDLY is not supported"],
    [event("RRULE:FREQ=DAILY;BYEASTER=1"), 6, "BYEASTER is not supported"],
    [event("RRULE:INTERVAL=1"), 6, "no FREQ"],
    [event("RRULE:FREQ=DAILY;COUNT=1000000000"), 6, "COUNT is a number from 1 to 5000"],
    [event("RRULE:FREQ=DAILY;COUNT=2;UNTIL=20300201"), 6, "not by both"],
    [event("RRULE:FREQ=DAILY;INTERVAL=0"), 6, "INTERVAL=0"],
    [event("RRULE:FREQ=YEARLY;BYMONTH=13"), 6, "BYMONTH=13 is not supported"],
    [event("RRULE:FREQ=MONTHLY;BYMONTHDAY=1,32"), 6, "BYMONTHDAY=1,32 is not supported"],
    [event("RRULE:FREQ=MONTHLY;BYDAY=0MO"), 6, "BYDAY=0MO is not supported"],
    [event("RRULE:FREQ=WEEKLY;BYDAY=2MO"), 6, "the rule is not valid"],
    [event("RDATE:soon"), 6, "is no date"],
    [event("EXDATE:20301301T000000Z"), 6, "a time that there isn't"],
    [event("EXRULE:FREQ=DAILY"), 6, "EXRULE is out of use"],
    [event("RECURRENCE-ID;RANGE=THISANDFUTURE:20300102T000000Z"), 6, "changes many times"],
  ])("%j", (document, line, message) => {
    expect(faultOf(document)).toEqual([line, expect.stringContaining(message)])
  })

  test("of a zone's description too", () => {
    const document = calendarOf("DTSTART;TZID=Ours:20300101T000000").replace(
      "BEGIN:VEVENT",
      "BEGIN:VTIMEZONE\r\nTZID:Ours\r\nBEGIN:STANDARD\r\nDTSTART:20200101T000000\r\nTZOFFSETFROM:1\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT",
    )
    expect(faultOf(document)).toEqual([7, expect.stringContaining("is no offset")])
  })
})

function faultOf(document: string): [number | undefined, string] | undefined {
  try {
    compile(document)
    return undefined
  } catch (error) {
    if (!isAppError(error)) throw error
    expect(error.code).toBe("calendars.invalid-document")
    return [error.issues[0]?.line, error.message]
  }
}

describe("A15: bounds", () => {
  test("thousands of times are found, more than the limit are refused, in bounded time", () => {
    const hourly = ["DTSTART:20000101T000000Z", "DURATION:PT30M", "RRULE:FREQ=HOURLY"]
    const calendar = compile(calendarOf(hourly))
    const [from, to] = [Date.UTC(2030, 0, 1), Date.UTC(2031, 0, 1)]
    expect(calendar.occurrencesBetween(from, to)).toHaveLength(8760)
    expect(codeOf(() => compile(calendarOf(hourly, hourly)).occurrencesBetween(from, to))).toBe(
      "calendars.too-many-occurrences",
    )
  })

  test("a rule that asks for too much work is refused", () => {
    const minutes = Array.from({ length: 60 }, (_, minute) => minute).join(",")
    const dense = calendarOf([
      "DTSTART:20300101T000000Z",
      "DURATION:PT30S",
      `RRULE:FREQ=HOURLY;BYMINUTE=${minutes};BYSECOND=${minutes}`,
    ])
    expect(codeOf(() => compile(dense).occurrencesBetween(...year))).toMatch(
      /^calendars\.(?:invalid-document|too-many-occurrences)$/,
    )
  })

  test("too many events are refused", () => {
    const events = Array.from({ length: 5001 }, () => "DTSTART:20300101T000000Z\nDURATION:PT1H")
    expect(faultOf(calendarOf(...events))?.[1]).toContain("at most 5000 events")
  })
})

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return isAppError(error) ? error.code : String(error)
  }
}
