import type { firingOutcomes } from "@signalbox/contracts/calendars/schedules"
import type { Sql, Tx } from "../../storage/database.ts"

/** The SQL of firings. Instants are milliseconds. */
export type FiringOutcome = (typeof firingOutcomes)[number]

export interface FiringRow {
  readonly scheduleId: string
  readonly id: string
  readonly account: string
  /** The schedule's name. */
  readonly schedule: string
  /** Null of one that was asked for. */
  readonly dueAt: number | null
  readonly createdAt: number
  readonly startBefore: number
  /** Null of a rule's schedule, which calls nothing. */
  readonly operation: string | null
  readonly input: Readonly<Record<string, unknown>> | null
  /** The call may have been carried out. */
  readonly called: boolean
  readonly outcome: FiringOutcome
  readonly firedAt: number | null
  readonly started: string | null
  readonly requestUrl: string | null
  readonly code: string | null
  readonly reason: string | null
  readonly instantsCount: number
  readonly cause: string
  readonly causedBy: string
  readonly depth: number
}

const columns = `schedule_id as "scheduleId", id, account, schedule, due_at as "dueAt", created_at as "createdAt",
  start_before as "startBefore", operation, input, called, outcome, fired_at as "firedAt", started,
  request_url as "requestUrl", code, reason, instants_count as "instantsCount", cause, caused_by as "causedBy", depth`

type NewFiring = Pick<
  FiringRow,
  | "scheduleId"
  | "id"
  | "account"
  | "schedule"
  | "dueAt"
  | "createdAt"
  | "startBefore"
  | "operation"
  | "input"
  | "outcome"
  | "reason"
  | "instantsCount"
  | "started"
  | "cause"
  | "causedBy"
  | "depth"
>

/** Undefined where the instant has a firing already. */
export async function insertFiring(tx: Tx, firing: NewFiring): Promise<FiringRow | undefined> {
  const [row] = await tx.query<FiringRow>(
    `insert into schedule_firings (schedule_id, id, account, due_at, created_at, start_before, operation, input, outcome,
       fired_at, reason, instants_count, cause, caused_by, depth, schedule, started)
     values ($1, $2, $3, to_timestamp($4::float8 / 1000), to_timestamp($5::float8 / 1000),
       to_timestamp($6::float8 / 1000), $7, $8, $9::text,
       case when $9::text = 'pending' then null else to_timestamp($5::float8 / 1000) end, $10, $11, $12, $13, $14, $15, $16)
     on conflict (schedule_id, due_at) do nothing
     returning ${columns}`,
    [
      firing.scheduleId,
      firing.id,
      firing.account,
      firing.dueAt,
      firing.createdAt,
      firing.startBefore,
      firing.operation,
      firing.input === null ? null : JSON.stringify(firing.input),
      firing.outcome,
      firing.reason,
      firing.instantsCount,
      firing.cause,
      firing.causedBy,
      firing.depth,
      firing.schedule,
      firing.started,
    ],
  )
  return row
}

export async function findFiring(sql: Sql, scheduleId: string, id: string): Promise<FiringRow | undefined> {
  const [row] = await sql.query<FiringRow>(
    `select ${columns} from schedule_firings where schedule_id = $1 and id = $2`,
    [scheduleId, id],
  )
  return row
}

/** Firings by their ids, of one page of schedules. */
export async function findFirings(
  sql: Sql,
  account: string,
  of: { readonly schedules: readonly string[]; readonly firings: readonly string[] },
): Promise<FiringRow[]> {
  return sql.query<FiringRow>(
    `select ${columns} from schedule_firings
     where account = $1 and (schedule_id, id) in (select * from unnest($2::text[], $3::text[]))`,
    [account, of.schedules, of.firings],
  )
}

/** The newest first: ids sort by the time of their making. */
export async function listFirings(
  sql: Sql,
  of: { readonly account: string; readonly scheduleId: string; readonly before: string; readonly limit: number },
): Promise<FiringRow[]> {
  return sql.query<FiringRow>(
    `select ${columns} from schedule_firings
     where account = $1 and schedule_id = $2 and ($3 = '' or id < $3) order by id desc limit $4`,
    [of.account, of.scheduleId, of.before, of.limit],
  )
}

/** From here on the call may have been carried out, whatever becomes of this process. */
export async function markCalled(sql: Sql, scheduleId: string, id: string): Promise<void> {
  await sql.query("update schedule_firings set called = true where schedule_id = $1 and id = $2", [scheduleId, id])
}

export interface FiringEnd {
  readonly outcome: Exclude<FiringOutcome, "pending">
  readonly started?: string | undefined
  readonly requestUrl?: string
  readonly code?: string
  readonly reason?: string
}

/** Gives a firing its outcome; undefined where it has one already, since an outcome never changes. */
export async function endFiring(
  tx: Tx,
  of: { readonly scheduleId: string; readonly id: string; readonly end: FiringEnd; readonly now: number },
): Promise<FiringRow | undefined> {
  const { outcome, started, requestUrl, code, reason } = of.end
  const [row] = await tx.query<FiringRow>(
    `update schedule_firings set outcome = $3, started = $4, request_url = $5, code = $6, reason = $7,
       fired_at = to_timestamp($8::float8 / 1000), input = null
     where schedule_id = $1 and id = $2 and outcome = 'pending' returning ${columns}`,
    [of.scheduleId, of.id, outcome, started ?? null, requestUrl ?? null, code ?? null, reason ?? null, of.now],
  )
  return row
}

/** Removes old firings that have an outcome. Gives how many. */
export async function removeFirings(sql: Sql, before: number, limit: number): Promise<number> {
  const rows = await sql.query(
    `delete from schedule_firings where (schedule_id, id) in (
       select schedule_id, id from schedule_firings
       where created_at < to_timestamp($1::float8 / 1000) and outcome <> 'pending' order by created_at limit $2)
     returning 1`,
    [before, limit],
  )
  return rows.length
}
