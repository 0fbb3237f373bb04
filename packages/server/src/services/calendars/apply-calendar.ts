import { calendarsApply, changeCalendarLimits } from "@signalbox/contracts/calendars/change-calendars"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { getDuration } from "@signalbox/kernel/duration"
import { newId } from "@signalbox/kernel/id"
import { findSecretFaults, httpUrlFault } from "../../named-secrets.ts"
import { onChange, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { emitCalendar } from "./change-calendar-access.ts"
import {
  addVersion,
  countCalendars,
  findCalendar,
  findDocument,
  lockCalendar,
  putCalendar,
  type CalendarRow,
} from "./change-calendar-store.ts"
import { toCalendar } from "./change-calendar-wire.ts"
import type { CalendarsContext } from "./options.ts"

type Input = InputOf<typeof calendarsApply>

/** What a person decides of a calendar beside its document. */
type Wanted = Pick<
  CalendarRow,
  | "description"
  | "defaultState"
  | "zone"
  | "url"
  | "urlSecret"
  | "countTransparent"
  | "holds"
  | "freezeTemplate"
  | "refreshMs"
  | "staleMs"
>

export function applyCalendar(context: CalendarsContext): Handler {
  return onChange(calendarsApply, (input, ctx) => apply(context, input, ctx), {
    prepare: (input, ctx) => checkBefore(context, input, ctx),
  })
}

/** What takes long is done before the transaction is open. @throws calendars.invalid-document, … */
async function checkBefore(context: CalendarsContext, input: Input, { sql, account, now }: ReadContext): Promise<void> {
  const wanted = readWanted(input)
  await checkSecret(context, input, account)
  const existing = input.document === undefined ? await findCalendar(sql, account, input.name) : undefined
  const stored = existing && isSamePlace(existing, wanted) ? await storedDocument(sql, existing) : undefined
  const document = input.document ?? stored
  if (document === undefined) return
  const compiled = await context.compiler.compile(document, wanted)
  await context.compiler.tableFrom(compiled, now)
}

/** @throws calendars.invalid-calendar */
async function checkSecret({ secrets }: CalendarsContext, { name, urlSecret }: Input, account: string): Promise<void> {
  if (urlSecret === undefined) return
  const named = { path: "urlSecret", name: urlSecret, faultOf: httpUrlFault }
  const [issue] = await findSecretFaults(secrets, account, [named])
  if (!issue) return
  const message = `the calendar ${name}: ${issue.message}`
  throw new AppError("calendars.invalid-calendar", message, { issues: [issue] })
}

async function storedDocument(
  sql: ReadContext["sql"],
  { account, id, documentVersion }: CalendarRow,
): Promise<string | undefined> {
  return documentVersion === null ? undefined : findDocument(sql, { account, id, version: documentVersion })
}

/** True where a calendar stays subscribed to the same place: its last good document goes on. */
function isSamePlace(existing: CalendarRow, { url, urlSecret }: Wanted): boolean {
  return existing.url === url && existing.urlSecret === urlSecret && (url ?? urlSecret) !== null
}

async function apply(context: CalendarsContext, input: Input, ctx: ChangeContext) {
  const wanted = readWanted(input)
  const existing = await lockCalendar(ctx.tx, ctx.account, input.name)
  const stored = existing && (await storedDocument(ctx.tx, existing))
  const document = input.document ?? (existing && isSamePlace(existing, wanted) ? stored : undefined)
  const compiled = document === undefined ? undefined : await context.compiler.compile(document, wanted)
  const isSameDocument = document === stored
  if (existing && isSameDocument && isSame(existing, wanted))
    return { ...toCalendar(existing, ctx.now), changed: false }
  if (!existing && (await countCalendars(ctx.tx, ctx.account)) >= changeCalendarLimits.calendarsMax)
    throw new AppError("calendars.too-many", `an account has ${changeCalendarLimits.calendarsMax} calendars at most`)
  const version = (existing?.version ?? 0) + 1
  const isNewContent = document !== undefined && !(existing && isSameDocument && isReadTheSame(existing, wanted))
  const row = await putCalendar(ctx.tx, {
    ...wanted,
    ...fetchStateOf(existing, wanted, ctx.now),
    account: ctx.account,
    name: input.name,
    id: existing?.id ?? newId("changeCalendar", context.clock, context.random),
    documentVersion: compiled === undefined ? null : isNewContent ? version : (existing?.documentVersion ?? version),
    meaning: compiled?.meaning ?? null,
    eventsCount: compiled?.eventsCount ?? 0,
    ignoredCount: compiled === undefined ? 0 : compiled.ignored.cancelled + compiled.ignored.transparent,
    version,
    changedAt: ctx.now,
    changedBy: ctx.caller.principal,
  })
  assert(row, "an upsert returns its row")
  if (isNewContent) await addVersion(ctx.tx, row, { document, kept: changeCalendarLimits.versionsKept })
  await emitCalendar(context, ctx, { row, type: existing ? "calendar.changed" : "calendar.created" })
  if (row.fetchAt !== null) ctx.afterCommit(context.fetchHint)
  return { ...toCalendar(row, ctx.now), changed: true }
}

type FetchState = Pick<
  CalendarRow,
  "fetchAt" | "fetchedAt" | "etag" | "failures" | "failedAt" | "failure" | "toldStale"
>

/** A calendar that is subscribed anew is fetched at once; what is known of the same place stays known. */
function fetchStateOf(existing: CalendarRow | undefined, wanted: Wanted, now: number): FetchState {
  const fetchAt = wanted.refreshMs === null ? null : now
  if (existing && isSamePlace(existing, wanted)) {
    const { fetchedAt, failures, failedAt, failure, toldStale } = existing
    // Without the mark, so that the whole document comes and is read as the calendar now says.
    return { fetchAt, fetchedAt, etag: null, failures, failedAt, failure, toldStale }
  }
  return { fetchAt, fetchedAt: null, etag: null, failures: 0, failedAt: null, failure: null, toldStale: false }
}

/** @throws calendars.invalid-calendar */
function readWanted(input: Input): Wanted {
  const issues: Issue[] = []
  const given = [input.document, input.url, input.urlSecret].filter((value) => value !== undefined)
  if (given.length !== 1) issues.push({ path: "document", message: "give exactly one of document, url and urlSecret" })
  const refreshMs = getDuration(input.refreshEvery)
  const staleMs = getDuration(input.staleAfter)
  if (refreshMs < changeCalendarLimits.refreshSecondsMin * 1000)
    issues.push({ path: "refreshEvery", message: `at least ${changeCalendarLimits.refreshSecondsMin}s` })
  if (staleMs < refreshMs) issues.push({ path: "staleAfter", message: "at least as long as refreshEvery" })
  const [first] = issues
  if (first)
    throw new AppError("calendars.invalid-calendar", `the calendar ${input.name}: ${first.path}: ${first.message}`, {
      issues,
    })
  const isSubscribed = input.document === undefined
  return {
    description: input.description ?? null,
    defaultState: input.default,
    zone: input.zone ?? null,
    url: input.url ?? null,
    urlSecret: input.urlSecret ?? null,
    countTransparent: input.countTransparent,
    holds: input.holds,
    freezeTemplate: input.freezeTemplate ?? null,
    refreshMs: isSubscribed ? refreshMs : null,
    staleMs: isSubscribed ? staleMs : null,
  }
}

function isSame(existing: CalendarRow, wanted: Wanted): boolean {
  return Object.entries(wanted).every(
    ([member, value]) => canonicalJson(existing[member as keyof Wanted]) === canonicalJson(value),
  )
}

/** Whether the same document still means the same. */
function isReadTheSame(existing: CalendarRow, wanted: Wanted): boolean {
  return (["defaultState", "zone", "countTransparent"] as const).every((member) => existing[member] === wanted[member])
}
