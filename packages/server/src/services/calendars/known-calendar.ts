import { isAppError } from "@signalbox/kernel/app-error"
import type { CalendarCompiler } from "./calendar-compiler.ts"
import { segmentAt, type CalendarSegment, type OneState, type TimeTable } from "./change-calendar-model.ts"
import type { CalendarRow } from "./change-calendar-store.ts"
import type { CompiledCalendar } from "./icalendar/compile-calendar.ts"
import { dayMilliseconds } from "./icalendar/moments.ts"

/** A change calendar in memory: its row, what its document means, and the times of the next year. */
export class KnownCalendar {
  readonly row: CalendarRow
  /** Absent where there is no document, or this server can't understand it. */
  readonly compiled: CompiledCalendar | undefined
  readonly #table: TimeTable | undefined
  #segment: CalendarSegment | undefined

  constructor(row: CalendarRow, times?: { readonly compiled: CompiledCalendar; readonly table: TimeTable }) {
    this.row = row
    this.compiled = times?.compiled
    this.#table = times?.table
  }

  /** The same document under a row that says something else, or the same. */
  withRow(row: CalendarRow): KnownCalendar {
    return new KnownCalendar(row, this.compiled && this.#table && { compiled: this.compiled, table: this.#table })
  }

  get tableFrom(): number | undefined {
    return this.#table?.from
  }

  /** @param now tells how old a subscribed document is */
  stateAt(at: number, now: number): OneState {
    const { name, defaultState } = this.row
    const segment = isStale(this.row, now) ? undefined : this.#segmentAt(at)
    if (!segment) return { name, open: false, changesAt: null, event: null, unknown: true }
    const open = segment.inEvent === (defaultState === "closed")
    return { name, open, changesAt: segment.until, event: segment.event, unknown: false }
  }

  #segmentAt(at: number): CalendarSegment | undefined {
    if (!this.compiled || !this.#table) return undefined
    const known = this.#segment
    if (known && known.from <= at && (known.until === null || at < known.until)) return known
    try {
      this.#segment = segmentAt(this.compiled, this.#table, at)
      return this.#segment
    } catch (error) {
      // A time far off that costs too much to know.
      if (isAppError(error)) return undefined
      throw error
    }
  }
}

/** True where a subscribed calendar's document is missing or too old to go by. */
export function isStale({ staleMs, fetchedAt, documentVersion }: CalendarRow, now: number): boolean {
  if (documentVersion === null) return true
  return staleMs !== null && (fetchedAt === null || now - fetchedAt > staleMs)
}

/** @param findDocument gives the document of the row's version */
export async function knowCalendar(
  row: CalendarRow,
  from: {
    readonly compiler: CalendarCompiler
    readonly now: number
    readonly findDocument: (row: CalendarRow) => Promise<string | undefined>
  },
): Promise<KnownCalendar> {
  if (row.documentVersion === null) return new KnownCalendar(row)
  const document = await from.findDocument(row)
  if (document === undefined) return new KnownCalendar(row)
  const compiled = await from.compiler.compile(document, row)
  // A day back, so that clocks that differ a little ask within it.
  return new KnownCalendar(row, {
    compiled,
    table: await from.compiler.tableFrom(compiled, from.now - dayMilliseconds),
  })
}
