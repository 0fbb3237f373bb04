import type { Sql, Tx } from "../../storage/database.ts"
import type { Hold } from "./change-calendar-model.ts"

/** The SQL of change calendars and their versions. Instants and durations are milliseconds. */
export interface CalendarRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly description: string | null
  readonly defaultState: "open" | "closed"
  readonly zone: string | null
  readonly url: string | null
  readonly urlSecret: string | null
  readonly countTransparent: boolean
  readonly holds: readonly Hold[]
  readonly freezeTemplate: string | null
  readonly refreshMs: number | null
  readonly staleMs: number | null
  /** The version whose document is in force; null while a subscribed calendar has none. */
  readonly documentVersion: number | null
  readonly meaning: string | null
  readonly eventsCount: number
  readonly ignoredCount: number
  readonly fetchAt: number | null
  readonly fetchedAt: number | null
  readonly etag: string | null
  readonly failures: number
  readonly failedAt: number | null
  readonly failure: string | null
  readonly toldStale: boolean
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const columns = `account, name, id, description, default_state as "defaultState", zone, url, url_secret as "urlSecret",
  count_transparent as "countTransparent", holds, freeze_template as "freezeTemplate", refresh_ms as "refreshMs",
  stale_ms as "staleMs", document_version as "documentVersion", meaning, events_count as "eventsCount",
  ignored_count as "ignoredCount", fetch_at as "fetchAt", fetched_at as "fetchedAt", etag, failures,
  failed_at as "failedAt", failure, told_stale as "toldStale", version, created_at as "createdAt",
  changed_at as "changedAt", changed_by as "changedBy"`

export async function findCalendar(sql: Sql, account: string, name: string): Promise<CalendarRow | undefined> {
  const [row] = await sql.query<CalendarRow>(
    `select ${columns} from change_calendars where account = $1 and name = $2`,
    [account, name],
  )
  return row
}

export async function lockCalendar(tx: Tx, account: string, name: string): Promise<CalendarRow | undefined> {
  const [row] = await tx.query<CalendarRow>(
    `select ${columns} from change_calendars where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

export async function readCalendars(sql: Sql, account: string): Promise<CalendarRow[]> {
  return sql.query<CalendarRow>(`select ${columns} from change_calendars where account = $1 order by name`, [account])
}

export async function listCalendars(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<CalendarRow[]> {
  return sql.query<CalendarRow>(
    `select ${columns} from change_calendars where account = $1 and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

export async function countCalendars(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    "select count(*) as count from change_calendars where account = $1",
    [account],
  )
  return row?.count ?? 0
}

/** Creates or replaces a calendar as it is given, all but the time of its creation. */
export async function putCalendar(tx: Tx, row: Omit<CalendarRow, "createdAt">): Promise<CalendarRow | undefined> {
  const [stored] = await tx.query<CalendarRow>(
    `insert into change_calendars (account, name, id, description, default_state, zone, url, url_secret,
       count_transparent, holds, freeze_template, refresh_ms, stale_ms, document_version, meaning, events_count,
       ignored_count, fetch_at, fetched_at, etag, failures, failed_at, failure, told_stale, version, changed_at,
       created_at, changed_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
       to_timestamp($18::float8 / 1000), to_timestamp($19::float8 / 1000), $20, $21, to_timestamp($22::float8 / 1000),
       $23, $24, $25, to_timestamp($26::float8 / 1000), to_timestamp($26::float8 / 1000), $27)
     on conflict (account, name) do update
       set id = excluded.id, description = excluded.description, default_state = excluded.default_state,
         zone = excluded.zone, url = excluded.url, url_secret = excluded.url_secret,
         count_transparent = excluded.count_transparent, holds = excluded.holds,
         freeze_template = excluded.freeze_template, refresh_ms = excluded.refresh_ms, stale_ms = excluded.stale_ms,
         document_version = excluded.document_version, meaning = excluded.meaning,
         events_count = excluded.events_count, ignored_count = excluded.ignored_count, fetch_at = excluded.fetch_at,
         fetched_at = excluded.fetched_at, etag = excluded.etag, failures = excluded.failures,
         failed_at = excluded.failed_at, failure = excluded.failure, told_stale = excluded.told_stale,
         version = excluded.version, changed_at = excluded.changed_at, changed_by = excluded.changed_by
     returning ${columns}`,
    [
      row.account,
      row.name,
      row.id,
      row.description,
      row.defaultState,
      row.zone,
      row.url,
      row.urlSecret,
      row.countTransparent,
      JSON.stringify(row.holds),
      row.freezeTemplate,
      row.refreshMs,
      row.staleMs,
      row.documentVersion,
      row.meaning,
      row.eventsCount,
      row.ignoredCount,
      row.fetchAt,
      row.fetchedAt,
      row.etag,
      row.failures,
      row.failedAt,
      row.failure,
      row.toldStale,
      row.version,
      row.changedAt,
      row.changedBy,
    ],
  )
  return stored
}

export async function deleteCalendar(tx: Tx, { account, name, id }: CalendarRow): Promise<void> {
  await tx.query("delete from calendar_feeds where account = $1 and calendar = $2", [account, name])
  await tx.query("delete from change_calendar_versions where calendar_id = $1 and account = $2", [id, account])
  await tx.query("delete from change_calendars where account = $1 and name = $2", [account, name])
}

export interface CalendarVersionRow {
  readonly version: number
  readonly defaultState: "open" | "closed"
  readonly meaning: string
  readonly eventsCount: number
  readonly changedAt: number
  readonly changedBy: string
}

/** Keeps what a calendar says from this version on; the oldest versions beyond `kept` go. */
export async function addVersion(
  tx: Tx,
  row: CalendarRow,
  { document, kept }: { readonly document: string; readonly kept: number },
): Promise<void> {
  await tx.query(
    `insert into change_calendar_versions (calendar_id, version, account, default_state, document, meaning,
       events_count, changed_at, changed_by)
     values ($1, $2, $3, $4, $5, $6, $7, to_timestamp($8::float8 / 1000), $9)`,
    [
      row.id,
      row.version,
      row.account,
      row.defaultState,
      document,
      row.meaning,
      row.eventsCount,
      row.changedAt,
      row.changedBy,
    ],
  )
  await tx.query(
    `delete from change_calendar_versions where calendar_id = $1 and account = $2 and version <= (
       select version from change_calendar_versions where calendar_id = $1 and account = $2
       order by version desc offset $3 limit 1)`,
    [row.id, row.account, kept],
  )
}

export async function listVersions(sql: Sql, account: string, calendarId: string): Promise<CalendarVersionRow[]> {
  return sql.query<CalendarVersionRow>(
    `select version, default_state as "defaultState", meaning, events_count as "eventsCount",
       changed_at as "changedAt", changed_by as "changedBy"
     from change_calendar_versions where calendar_id = $1 and account = $2 order by version desc`,
    [calendarId, account],
  )
}

export async function findDocument(
  sql: Sql,
  of: { readonly account: string; readonly id: string; readonly version: number },
): Promise<string | undefined> {
  const [row] = await sql.query<{ document: string }>(
    "select document from change_calendar_versions where calendar_id = $1 and version = $2 and account = $3",
    [of.id, of.version, of.account],
  )
  return row?.document
}
