import { changeCalendarLimits } from "@signalbox/contracts/calendars/change-calendars"
import type { Occurrence } from "./icalendar/calendar-event.ts"
import type { CompiledCalendar } from "./icalendar/compile-calendar.ts"
import { dayMilliseconds } from "./icalendar/moments.ts"

/** Change calendars as stretches of time. Pure. */
export interface TimeTable {
  readonly from: number
  readonly to: number
  /** By their start. */
  readonly occurrences: readonly Occurrence[]
  /** Occurrences that overlap or touch are one stretch; by their start. */
  readonly stretches: readonly Stretch[]
}

interface Stretch {
  readonly start: number
  readonly end: number
}

export function makeTimeTable(occurrences: readonly Occurrence[], from: number, to: number): TimeTable {
  const sorted = occurrences.toSorted((a, b) => a.start - b.start || a.end - b.end)
  const stretches: Array<{ start: number; end: number }> = []
  for (const { start, end } of sorted) {
    const last = stretches.at(-1)
    if (last && start <= last.end) last.end = Math.max(last.end, end)
    else stretches.push({ start, end })
  }
  return { from, to, occurrences: sorted, stretches }
}

/** Whether an event takes place: holds from `from` on, until it has to be found out anew; null: for ever. */
export interface CalendarSegment {
  readonly inEvent: boolean
  readonly from: number
  readonly until: number | null
  readonly event: string | null
}

export const aheadMilliseconds = changeCalendarLimits.aheadDays * dayMilliseconds

/** Events that follow each other without a gap are followed so often by the time ahead; then the end counts as none. */
const extensionsMax = 10

/** @throws calendars.invalid-document, calendars.too-many-occurrences where the time asked about costs too much */
export function segmentAt(calendar: CompiledCalendar, known: TimeTable, at: number): CalendarSegment {
  const table = known.from <= at && at < known.to ? known : tableFrom(calendar, at)
  const stretch = table.stretches.findLast(({ start }) => start <= at)
  if (stretch && at < stretch.end) {
    const event = table.occurrences.find(({ start, end }) => start <= at && at < end)?.summary ?? null
    return { inEvent: true, from: at, until: endOf(calendar, table, stretch.end), event }
  }
  const next = table.stretches.find(({ start }) => start > at)
  return { inEvent: false, from: at, until: next?.start ?? calendar.nextStart(table.to - 1), event: null }
}

export function tableFrom(calendar: CompiledCalendar, from: number): TimeTable {
  const to = from + aheadMilliseconds
  return makeTimeTable(calendar.occurrencesBetween(from, to), from, to)
}

/** Where a stretch that reaches the end of its table really ends. */
function endOf(calendar: CompiledCalendar, table: TimeTable, end: number): number | null {
  let horizon = table.to
  for (let extension = 0; end >= horizon; extension++) {
    if (extension >= extensionsMax) return null
    const further = tableFrom(calendar, end - 1)
    end = further.stretches.find((stretch) => stretch.start < end && end <= stretch.end)?.end ?? end
    horizon = further.to
  }
  return end
}

/** The state of one calendar at an instant. */
export interface OneState {
  readonly name: string
  readonly open: boolean
  readonly changesAt: number | null
  readonly event: string | null
  readonly unknown: boolean
}

export interface TogetherState {
  readonly open: boolean
  readonly changesAt: number | null
  readonly name: string | null
  readonly unknown: boolean
}

const changesFollowedMax = 1_000

/** Several calendars together: closed while any of them is. `statesAt` gives the state of each at an instant. */
export function togetherAt(statesAt: (at: number) => readonly OneState[], at: number): TogetherState {
  const states = statesAt(at)
  const closed = states.filter(({ open }) => !open)
  const [latest] = closed.toSorted((a, b) => (b.changesAt ?? Infinity) - (a.changesAt ?? Infinity))
  if (latest) {
    const unknown = closed.some((each) => each.unknown)
    return { open: false, changesAt: openingOf(statesAt, closed), name: latest.name, unknown }
  }
  const [next] = states
    .filter(({ changesAt }) => changesAt !== null)
    .toSorted((a, b) => (a.changesAt ?? 0) - (b.changesAt ?? 0))
  return { open: true, changesAt: next?.changesAt ?? null, name: next?.name ?? null, unknown: false }
}

/** When none is closed any more; null where that never comes, or only after more changes than are followed. */
function openingOf(statesAt: (at: number) => readonly OneState[], closed: readonly OneState[]): number | null {
  let waiting = closed
  for (let followed = 0; followed < changesFollowedMax; followed++) {
    let at = 0
    for (const { changesAt } of waiting) {
      if (changesAt === null) return null
      at = Math.max(at, changesAt)
    }
    waiting = statesAt(at).filter(({ open }) => !open)
    if (waiting.length === 0) return at
  }
  return null
}

export interface Hold {
  readonly operations: readonly string[]
  readonly workflows?: readonly string[] | undefined
}

/** True where one of the selectors names such a call. */
export function holdsCall(
  holds: readonly Hold[],
  call: { readonly operation: string; readonly attributes: Readonly<Record<string, string>> },
): boolean {
  const workflow = call.attributes["workflow"]
  return holds.some(
    ({ operations, workflows }) =>
      operations.some((pattern) => matchesPattern(pattern, call.operation)) &&
      (workflows === undefined ||
        (workflow !== undefined && workflows.some((pattern) => matchesPattern(pattern, workflow)))),
  )
}

/** `*` stands for any characters. Linear: each piece between stars is looked for once. */
export function matchesPattern(pattern: string, text: string): boolean {
  const [first = "", ...pieces] = pattern.split("*")
  if (pieces.length === 0) return pattern === text
  if (!text.startsWith(first)) return false
  const last = pieces.pop() ?? ""
  let position = first.length
  for (const piece of pieces) {
    const found = text.indexOf(piece, position)
    if (found < 0) return false
    position = found + piece.length
  }
  return text.length - last.length >= position && text.endsWith(last)
}
