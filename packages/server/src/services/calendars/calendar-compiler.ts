import { createHash } from "node:crypto"
import { setImmediate as nextTurn } from "node:timers/promises"
import { aheadMilliseconds, makeTimeTable, type TimeTable } from "./change-calendar-model.ts"
import type { Occurrence } from "./icalendar/calendar-event.ts"
import { compileCalendar, type CompiledCalendar } from "./icalendar/compile-calendar.ts"
import { loadRecurrenceLibrary } from "./icalendar/recurrence.ts"

/**
 * Makes compiled calendars and their time tables of documents, without keeping the process from its other work for
 * long. Owns a memory of the last ones, since a document that is checked before a transaction is used inside it.
 */
export interface CompileOptions {
  readonly zone: string | null
  readonly countTransparent: boolean
}

const keptMax = 32
const turnMilliseconds = 10

export class CalendarCompiler {
  readonly #kept = new Map<string, CompiledCalendar>()

  /** @throws calendars.invalid-document */
  async compile(document: string, { zone, countTransparent }: CompileOptions): Promise<CompiledCalendar> {
    const key = createHash("sha256")
      .update(JSON.stringify([zone, countTransparent]))
      .update(document)
      .digest("hex")
    const known = this.#kept.get(key)
    if (known) return known
    const library = await loadRecurrenceLibrary()
    const compiled = compileCalendar(document, { library, zone: zone ?? undefined, countTransparent })
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size < keptMax) break
      this.#kept.delete(oldest)
    }
    this.#kept.set(key, compiled)
    return compiled
  }

  /** The times of a calendar from an instant on. @throws calendars.invalid-document, calendars.too-many-occurrences */
  async tableFrom(compiled: CompiledCalendar, from: number): Promise<TimeTable> {
    const to = from + aheadMilliseconds
    const occurrences: Occurrence[] = []
    let turn = performance.now()
    for (const found of compiled.walk(from, to)) {
      occurrences.push(...found)
      if (performance.now() - turn < turnMilliseconds) continue
      await nextTurn()
      turn = performance.now()
    }
    return makeTimeTable(occurrences, from, to)
  }
}
