/**
 * The outbox: events written in the transaction that changes state, read in commit order by cursor. A reader sees only
 * transactions older than every running one (D8), so no later commit can slip in before its position. One row may stand
 * for a batch of events (D9); it is expanded here, at reading.
 */
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { decodeCursor, encodeCursor } from "./cursor.ts"
import type { Sql, Tx } from "./database.ts"

export interface NewEvent {
  readonly id: string
  readonly account: string
  readonly aggregateId: string
  readonly type: string
  readonly subject: string
  /** Order of the events of one subject. */
  readonly subjectVersion: number
  /** Id of the first request, event or firing that led here. */
  readonly cause: string
  /** Id of the direct parent. */
  readonly causedBy: string
  readonly depth: number
  readonly principal: string
  readonly data: unknown
}

export interface OutboxEvent extends NewEvent {
  /** Milliseconds since 1970, by the database's clock. */
  readonly time: number
}

export interface DeliveredEvent extends OutboxEvent {
  /** The position after this event. */
  readonly cursor: string
}

export interface EventPage {
  readonly events: readonly DeliveredEvent[]
  /** The position after everything that was looked at; undefined only while the outbox is empty. */
  readonly cursor: string | undefined
  /** True where more may be waiting already. */
  readonly more: boolean
}

export interface ReadOptions {
  readonly account?: string
  readonly after?: string | undefined
  readonly limit: number
  /** Types, and patterns: `execution.*` for a whole noun, `*` for all. */
  readonly types?: readonly string[]
  readonly expanders?: Expanders
}

/** Whether a type is one of those asked for, or fits one of their patterns. */
export function isTypeWanted(types: readonly string[], type: string): boolean {
  return types.some((each) => (each.endsWith("*") ? type.startsWith(each.slice(0, -1)) : each === type))
}

/** Turns a row that stands for a batch into its events. */
export interface Expander {
  /** The type of the row. */
  readonly type: string
  /** The types of the events that it may give. */
  readonly produces: readonly string[]
  /** Pure, and the same for the same row for ever, since cursors count its events. */
  expand(row: OutboxEvent): ReadonlyArray<Pick<NewEvent, "type" | "subject" | "subjectVersion" | "data">>
}

export type Expanders = ReadonlyMap<string, Expander>

/** Rows looked at by one read that filters, so that a rare type does not make one statement walk the whole table. */
export const eventsScannedMax = 2_000
export const eventsReadMax = 1_000
const expandedMax = 10_000

/** Writes events in the transaction of the change they tell of: one statement for all of them. */
export async function appendEvents(tx: Tx, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return
  const rows = events.map((event) => ({
    account: event.account,
    aggregate_id: event.aggregateId,
    id: event.id,
    type: event.type,
    subject: event.subject,
    subject_version: event.subjectVersion,
    cause: event.cause,
    caused_by: event.causedBy,
    depth: event.depth,
    principal: event.principal,
    data: event.data ?? null,
  }))
  await tx.query(
    `insert into outbox (account, aggregate_id, id, type, subject, subject_version, cause, caused_by, depth, principal, data)
     select account, aggregate_id, id, type, subject, subject_version, cause, caused_by, depth, principal, data
     from jsonb_to_recordset($1) as e (account text, aggregate_id text, id text, type text, subject text,
       subject_version bigint, cause text, caused_by text, depth int, principal text, data jsonb)`,
    [JSON.stringify(rows)],
    { name: "outbox-append" },
  )
}

/** The position from which a reader sees what commits from now on. */
export async function findPresentPosition(sql: Sql): Promise<string> {
  const [row] = await sql.query<{ xid: string }>(
    "select outbox_position(pg_snapshot_xmin(pg_current_snapshot()))::text as xid",
    [],
    { name: "outbox-present" },
  )
  assert(row, "a snapshot has a horizon")
  return writePosition({ xid: row.xid, id: "", delivered: 0 })
}

/** Events of one story or of one subject, the oldest first; batches are expanded. */
export async function findEvents(
  sql: Sql,
  by: {
    account: string
    field: "cause" | "subject" | "id"
    value: string
    /** Only rows whose type begins so: `approval-request.`; not for those that stand for a batch. */
    typePrefix?: string
    limit: number
    expanders: Expanders
  },
): Promise<OutboxEvent[]> {
  const rows = await sql.query<OutboxEvent>(
    `select account, aggregate_id as "aggregateId", id, type, subject, subject_version as "subjectVersion", cause,
       caused_by as "causedBy", depth, time, principal, data
     from outbox where account = $1 and ${by.field} = $2 and starts_with(type, $4)
     order by time, xid, subject, subject_version, id limit $3`,
    [by.account, by.value, by.limit, by.typePrefix ?? ""],
  )
  return rows.flatMap((row) => {
    const parts = by.expanders.get(row.type)?.expand(row)
    return parts ? parts.map((part, index) => ({ ...row, ...part, id: `${row.id}#${index}` })) : [row]
  })
}

interface Row extends OutboxEvent {
  readonly xid: string
}

interface Position {
  readonly xid: string
  readonly id: string
  /** Events of that row already delivered; 0 where the row is done. */
  readonly delivered: number
}

const start: Position = { xid: "0", id: "", delivered: 0 }

/** The next events after a cursor. @throws request.invalid-cursor, events.position-expired */
export async function readEvents(sql: Sql, options: ReadOptions): Promise<EventPage> {
  assert(options.limit > 0 && options.limit <= eventsReadMax, `a read gives 1 to ${eventsReadMax} events`)
  const from = options.after === undefined ? start : readPosition(options.after)
  const { rows, tail, scannedAll } = await scan(sql, from, options)
  const events: DeliveredEvent[] = []
  for (const row of rows) {
    const done = row.xid === from.xid && row.id === from.id ? from.delivered : undefined
    if (done === 0) continue
    for (const event of expand(row, done ?? 0, options)) {
      if (events.length === options.limit) return { events, cursor: events.at(-1)?.cursor, more: true }
      events.push(event)
    }
  }
  const full = rows.length > options.limit
  const cursor = full ? writePosition({ ...lastOf(rows), delivered: 0 }) : tail ? writePosition(tail) : options.after
  return { events, cursor, more: full || !scannedAll }
}

/** The rows that match, and the position up to which the table was looked at. */
async function scan(
  sql: Sql,
  from: Position,
  options: ReadOptions,
): Promise<{ rows: Row[]; tail: Position | undefined; scannedAll: boolean }> {
  const filtered = options.account !== undefined || options.types !== undefined
  const scanMax = filtered ? Math.max(eventsScannedMax, options.limit + 1) : options.limit + 1
  const found = await sql.query<Row & { tailXid: string; tailId: string; scanned: number; expired: boolean }>(
    `with scanned as materialized (
       select * from outbox
       where xid < outbox_position(pg_snapshot_xmin(pg_current_snapshot())) and (xid, id) >= ($1::xid8, $2)
       order by xid, id limit $3)
     select tail.xid::text as "tailXid", tail.id as "tailId", (select count(*) from scanned) as scanned,
       $1 <> '0' and coalesce($1::xid8 < (select cursor::xid8 from consumer where name = '${retentionMark}'), false) as expired,
       e.account, e.aggregate_id as "aggregateId", e.id, e.xid::text, e.type, e.subject, e.subject_version as "subjectVersion",
       e.cause, e.caused_by as "causedBy", e.depth, e.time, e.principal, e.data
     from (select 1) as one
     left join lateral (select xid, id from scanned order by xid desc, id desc limit 1) as tail on true
     left join lateral (
       select * from scanned
       where ($4::text is null or account = $4)
         and ($5::text[] is null or type = any ($5) or (type like any ($7::text[]) and not type = any ($8::text[])))
       order by xid, id limit $6) as e on true
     order by e.xid, e.id`,
    [from.xid, from.id, scanMax, options.account ?? null, ...rowTypes(options)],
    { name: "outbox-read" },
  )
  const [first] = found
  assert(first, "a read gives at least the row of its bounds")
  if (first.expired)
    throw new AppError("events.position-expired", "events after this position were removed by retention")
  const tail = first.tailXid === null ? undefined : { xid: first.tailXid, id: first.tailId, delivered: 0 }
  const rows = found
    .filter((row) => row.id !== null)
    .map(({ tailXid: _xid, tailId: _id, scanned: _scanned, expired: _expired, ...row }) => row)
  return { rows, tail, scannedAll: first.scanned < scanMax }
}

/**
 * What to look for in rows: the types asked for and those of batches that may hold them; how many rows; the patterns;
 * and the types of batches, which only what they hold makes wanted.
 */
function rowTypes({ types, expanders, limit }: ReadOptions): [types: string[] | null, ...others: unknown[]] {
  if (types === undefined) return [null, limit + 1, [], []]
  const expanded = [...(expanders?.values() ?? [])]
  const batches = expanded.filter(({ produces }) => produces.some((type) => isTypeWanted(types, type)))
  const exact = [...types.filter((type) => !type.endsWith("*")), ...batches.map(({ type }) => type)]
  const patterns = types.filter((type) => type.endsWith("*")).map((type) => `${type.slice(0, -1)}%`)
  return [exact, limit + 1, patterns, expanded.map(({ type }) => type)]
}

function* expand(row: Row, delivered: number, options: ReadOptions): Generator<DeliveredEvent> {
  const { xid, ...event } = row
  const expander = options.expanders?.get(row.type)
  if (!expander) {
    yield { ...event, cursor: writePosition({ xid, id: row.id, delivered: 0 }) }
    return
  }
  const parts = expander.expand(event)
  assert(parts.length <= expandedMax, `the batch ${row.id} has more than ${expandedMax} events`)
  for (const [index, part] of parts.entries()) {
    if (index < delivered || (options.types && !isTypeWanted(options.types, part.type))) continue
    const position = { xid, id: row.id, delivered: index + 1 === parts.length ? 0 : index + 1 }
    yield { ...event, ...part, id: `${row.id}#${index}`, cursor: writePosition(position) }
  }
}

function lastOf(rows: readonly Row[]): Row {
  const last = rows.at(-1)
  assert(last, "a full page has a last row")
  return last
}

const writePosition = ({ xid, id, delivered }: Position): string => encodeCursor([xid, id, delivered])

function readPosition(cursor: string): Position {
  const [xid, id, delivered] = decodeCursor(cursor, 3)
  if (typeof xid !== "string" || !/^\d{1,19}$/.test(xid) || typeof id !== "string" || typeof delivered !== "number") {
    throw new AppError("request.invalid-cursor", "the cursor is no position in the event stream")
  }
  return { xid, id, delivered }
}

/** The row of `consumer` that holds the oldest transaction whose events are all kept. */
const retentionMark = "#retention"

/** Rows that one call of `removeOldEvents` looks at; far more than one transaction writes. */
export const eventsRemovedMax = 20_000

/**
 * Removes the events of whole transactions that are older than an instant, a bounded number at a time, and remembers
 * how far. Returns how many were removed; a caller goes on until that is 0.
 */
export async function removeOldEvents(tx: Tx, before: number): Promise<number> {
  const [row] = await tx.query<{ removed: number }>(
    `with oldest as (select xid, time from outbox order by xid, id limit $2),
     keep as (
       select coalesce(min(xid) filter (where time >= to_timestamp($1::float8 / 1000)), max(xid)) as xid from oldest),
     mark as (
       insert into consumer (name, cursor) select '${retentionMark}', xid::text from keep where xid is not null
       on conflict (name) do update set cursor = greatest(consumer.cursor::xid8, excluded.cursor::xid8)::text, updated_at = now()),
     removed as (delete from outbox using keep where outbox.xid < keep.xid returning 1)
     select count(*) as removed from removed`,
    [before, eventsRemovedMax],
  )
  assert(row, "a count gives one row")
  return row.removed
}
