import { changeCalendarLimits } from "@signalbox/contracts/calendars/change-calendars"
import { isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { newId } from "@signalbox/kernel/id"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import type { Tx } from "../../storage/database.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { calendarsComponent } from "./calendar-directory.ts"
import { addVersion, findCalendar, lockCalendar, putCalendar, type CalendarRow } from "./change-calendar-store.ts"
import { fetchCalendar } from "./fetch-calendar.ts"
import type { CompiledCalendar } from "./icalendar/compile-calendar.ts"
import { isStale } from "./known-calendar.ts"
import type { CalendarsContext } from "./options.ts"
import type { DueSubscription } from "./subscription-store.ts"

/** What fetching gave, ready to be written down. */
type Result =
  | { readonly kind: "same" }
  | {
      readonly kind: "document"
      readonly document: string
      readonly etag: string | null
      readonly compiled: CompiledCalendar
    }
  | { readonly kind: "failed"; readonly reason: string }

const principal = "system:calendars"

/** Fetches a subscribed calendar once, and writes down what came of it. The last good document goes on until then. */
export async function refreshCalendar(context: CalendarsContext, due: DueSubscription): Promise<void> {
  const row = await findCalendar(context.database, due.account, due.name)
  if (!row || row.id !== due.id || row.refreshMs === null) return
  const result = await tryFetch(context, row)
  await context.database.transaction(async (tx) => {
    const locked = await lockCalendar(tx, due.account, due.name)
    // Applied anew meanwhile: what was fetched may be of another place.
    if (!locked || locked.id !== row.id || !isUntouched(locked, row)) return
    if (result.kind === "failed") await recordFailure(context, tx, { row: locked, reason: result.reason })
    else await recordAnswer(context, tx, { row: locked, result })
    await raiseConfigurationVersion(tx, due.account, calendarsComponent)
  })
  await context.configurationChanged()
}

function isUntouched(locked: CalendarRow, row: CalendarRow): boolean {
  return locked.version === row.version && locked.refreshMs !== null
}

const reasonCharactersMax = 300

async function tryFetch(context: CalendarsContext, row: CalendarRow): Promise<Result> {
  try {
    const fetched = await fetchCalendar(context, row)
    if (fetched.kind === "same") return fetched
    const compiled = await context.compiler.compile(fetched.document, row)
    await context.compiler.tableFrom(compiled, context.clock.now())
    return { ...fetched, compiled }
  } catch (error) {
    if (!isAppError(error)) context.logger.warn({ err: error, calendar: row.name }, "fetching a calendar failed")
    const reason = isAppError(error) ? error.message : "fetching failed; the server's log says why"
    return { kind: "failed", reason: reason.slice(0, reasonCharactersMax) }
  }
}

async function recordAnswer(
  context: CalendarsContext,
  tx: Tx,
  { row, result }: { readonly row: CalendarRow; readonly result: Exclude<Result, { kind: "failed" }> },
): Promise<void> {
  const now = context.clock.now()
  const good: CalendarRow = {
    ...row,
    fetchAt: now + (row.refreshMs ?? 0),
    fetchedAt: now,
    failures: 0,
    failedAt: null,
    failure: null,
    toldStale: false,
    ...(result.kind === "document" ? { etag: result.etag } : {}),
  }
  const wasFailing = row.failures > 0
  if (result.kind === "document" && (row.documentVersion === null || result.compiled.meaning !== row.meaning)) {
    const { compiled, document } = result
    const version = row.version + 1
    const stored = await putCalendar(tx, {
      ...good,
      version,
      documentVersion: version,
      meaning: compiled.meaning,
      eventsCount: compiled.eventsCount,
      ignoredCount: compiled.ignored.cancelled + compiled.ignored.transparent,
      changedAt: now,
      changedBy: principal,
    })
    assert(stored, "an upsert returns its row")
    await addVersion(tx, stored, { document, kept: changeCalendarLimits.versionsKept })
    return tell(context, tx, { row: stored, type: "calendar.changed", data: { eventsCount: stored.eventsCount } })
  }
  const stored = await putCalendar(tx, wasFailing ? { ...good, version: row.version + 1 } : good)
  if (wasFailing && stored) await tell(context, tx, { row: stored, type: "calendar.reached", data: {} })
}

const firstPauseMilliseconds = 60_000

async function recordFailure(
  context: CalendarsContext,
  tx: Tx,
  { row, reason }: { readonly row: CalendarRow; readonly reason: string },
): Promise<void> {
  const now = context.clock.now()
  const pause = Math.min(row.refreshMs ?? 0, firstPauseMilliseconds * 2 ** Math.min(row.failures, 20))
  const turnsStale = !row.toldStale && isStale(row, now)
  const type = turnsStale ? "calendar.staled" : row.failures === 0 ? "calendar.unreached" : undefined
  const stored = await putCalendar(tx, {
    ...row,
    fetchAt: now + pause,
    failures: row.failures + 1,
    failedAt: row.failedAt ?? now,
    failure: reason,
    toldStale: row.toldStale || turnsStale,
    version: type === undefined ? row.version : row.version + 1,
  })
  if (type !== undefined && stored) await tell(context, tx, { row: stored, type, data: { reason } })
}

async function tell(
  { clock, random }: CalendarsContext,
  tx: Tx,
  event: { readonly row: CalendarRow; readonly type: string; readonly data: Readonly<Record<string, unknown>> },
): Promise<void> {
  const { row, type, data } = event
  const id = newId("event", clock, random)
  await appendEvents(tx, [
    {
      id,
      account: row.account,
      aggregateId: row.id,
      type,
      subject: row.id,
      subjectVersion: row.version,
      cause: id,
      causedBy: id,
      depth: 0,
      principal,
      data: { name: row.name, ...data },
    },
  ])
}
