import { createHash } from "node:crypto"
import { changeCalendarLimits } from "@signalbox/contracts/calendars/change-calendars"
import { AppError } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { nextStart, occurrencesBetween, type CalendarEvent, type Occurrence } from "./calendar-event.ts"
import { readEvents, type ReadEvents, type ReadOptions } from "./read-events.ts"

/** An iCalendar document, understood. Immutable; questions are answered without I/O and within bounds. */
export interface CompiledCalendar {
  readonly eventsCount: number
  readonly ignored: ReadEvents["ignored"]
  /** SHA-256 of what the document means: the same where only stamps, people and order differ. */
  readonly meaning: string
  /** One step for each event: so that who asks for all of them may let others run in between. */
  walk(from: number, to: number): Generator<readonly Occurrence[], void>
  /** Times that touch [from, to), by their start. @throws calendars.invalid-document, calendars.too-many-occurrences */
  occurrencesBetween(from: number, to: number): Occurrence[]
  /** The first start after an instant. @throws calendars.invalid-document */
  nextStart(after: number): number | null
}

/** @throws calendars.invalid-document, calendars.too-many-occurrences */
export function compileCalendar(document: string, options: ReadOptions): CompiledCalendar {
  const { events, ignored } = readEvents(document, options)
  function* walk(from: number, to: number): Generator<readonly Occurrence[], void> {
    let count = 0
    for (const event of events) {
      const found = occurrencesBetween(event, from, to)
      count += found.length
      if (count > changeCalendarLimits.occurrencesMax) throw tooMany()
      yield found
    }
  }
  return {
    eventsCount: events.length,
    ignored,
    meaning: createHash("sha256")
      .update(canonicalJson(events.map(meaningOf).toSorted()))
      .digest("hex"),
    walk,
    occurrencesBetween: (from, to) => [...walk(from, to)].flat().toSorted((a, b) => a.start - b.start || a.end - b.end),
    nextStart(after) {
      const starts = events.map((event) => nextStart(event, after)).filter((start) => start !== undefined)
      return starts.length === 0 ? null : starts.reduce((least, start) => Math.min(least, start))
    },
  }
}

function tooMany(): AppError {
  const { occurrencesMax, aheadDays } = changeCalendarLimits
  return new AppError(
    "calendars.too-many-occurrences",
    `the calendar's events take place more than ${occurrencesMax} times in ${aheadDays} days`,
  )
}

function meaningOf(event: CalendarEvent): string {
  return JSON.stringify([
    event.startWall,
    event.zone.key,
    event.length,
    event.recurrences.map(({ key }) => key),
    event.further,
    [...event.excluded].toSorted((a, b) => a - b),
    [...event.excludedDays].toSorted((a, b) => a - b),
    event.summary,
  ])
}
