import type { Recurrence } from "./recurrence.ts"
import { dayMilliseconds, type Span } from "./moments.ts"
import { toInstant, toWall, type Zone } from "./zone.ts"

/** One event of a calendar, with all the times at which it takes place. Pure; built by `readEvents`. */
export interface CalendarEvent {
  readonly uid: string
  readonly summary: string
  readonly line: number
  readonly zone: Zone
  /** By the clock of the zone. */
  readonly startWall: number
  readonly length: EventLength
  readonly recurrences: readonly Recurrence[]
  /** Further times, as instants. */
  readonly further: ReadonlyArray<{ readonly start: number; readonly end?: number }>
  /** Starts at which it doesn't take place, or which another event takes the place of. */
  readonly excluded: ReadonlySet<number>
  /** Days on which it doesn't, by the clock of the zone. */
  readonly excludedDays: ReadonlySet<number>
}

/** by the clock: ends when the clock shows so; elapsed: whole days by the clock, then elapsed time. */
export type EventLength =
  | { readonly kind: "clock"; readonly milliseconds: number }
  | ({ readonly kind: "elapsed" } & Span)

/** One time at which an event takes place: [start, end). */
export interface Occurrence {
  readonly start: number
  readonly end: number
  readonly uid: string
  readonly summary: string
}

/** Clocks differ from UTC by less, and one change of a clock moves it by less. */
const clockMargin = 2 * dayMilliseconds

/** The longest that an occurrence lasts. */
function longestOf({ length, further }: CalendarEvent): number {
  const own = length.kind === "clock" ? length.milliseconds : length.days * dayMilliseconds + length.milliseconds
  return further.reduce((longest, { start, end }) => Math.max(longest, (end ?? start) - start), own)
}

/** Its times that touch [from, to), in no order. @throws calendars.invalid-document where a rule costs too much */
export function occurrencesBetween(event: CalendarEvent, from: number, to: number): Occurrence[] {
  const { zone, startWall, recurrences, further } = event
  const earliest = toWall(zone, from) - longestOf(event) - clockMargin
  const latest = toWall(zone, to) + clockMargin
  const walls = new Set([startWall])
  for (const recurrence of recurrences) {
    for (const wall of recurrence.startsBetween(earliest, latest)) walls.add(wall)
  }
  const times = new Map([...walls].map((wall) => [toInstant(zone, wall), undefined as number | undefined]))
  for (const { start, end } of further) times.set(start, end)
  return [...times].flatMap(([start, end]) => {
    const occurrence = occurrenceAt(event, start, end)
    return occurrence && occurrence.start < to && occurrence.end > from ? [occurrence] : []
  })
}

function occurrenceAt(event: CalendarEvent, start: number, givenEnd: number | undefined): Occurrence | undefined {
  if (isExcluded(event, start)) return undefined
  const end = givenEnd ?? endOf(event, start)
  return end > start ? { start, end, uid: event.uid, summary: event.summary } : undefined
}

function isExcluded({ zone, excluded, excludedDays }: CalendarEvent, start: number): boolean {
  if (excluded.has(start)) return true
  return excludedDays.size > 0 && excludedDays.has(dayOf(toWall(zone, start)))
}

export const dayOf = (wall: number): number => Math.floor(wall / dayMilliseconds)

function endOf({ zone, length }: CalendarEvent, start: number): number {
  const wall = toWall(zone, start)
  if (length.kind === "clock") return toInstant(zone, wall + length.milliseconds)
  const day = length.days === 0 ? start : toInstant(zone, wall + length.days * dayMilliseconds)
  return day + length.milliseconds
}

/** Starts that are left out one after another, before a rule is given up. */
const excludedWalkMax = 3_000

/** Its first start after an instant. @throws calendars.invalid-document where a rule costs too much */
export function nextStart(event: CalendarEvent, after: number): number | undefined {
  const { zone, startWall, recurrences, further } = event
  const starts = [toInstant(zone, startWall), ...further.map(({ start }) => start)].filter(
    (start) => start > after && occurrenceAt(event, start, further.find((each) => each.start === start)?.end),
  )
  for (const recurrence of recurrences) {
    let wall = recurrence.nextStart(toWall(zone, after) - clockMargin)
    for (let walked = 0; wall !== undefined && walked < excludedWalkMax; walked++) {
      const start = toInstant(zone, wall)
      if (start > after && occurrenceAt(event, start, undefined)) {
        starts.push(start)
        break
      }
      wall = recurrence.nextStart(wall)
    }
  }
  return starts.length === 0 ? undefined : Math.min(...starts)
}
