import type { Sql, Tx } from "../../storage/database.ts"

/** The SQL of schedules. Instants and durations are milliseconds. */
export interface ScheduleRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly description: string | null
  readonly cron: string | null
  readonly at: number | null
  readonly everyMs: number | null
  readonly zone: string | null
  readonly fromAt: number | null
  readonly untilAt: number | null
  readonly catchUp: "skip" | "latest" | "all"
  readonly catchUpMax: number
  readonly startWithinMs: number
  readonly overlap: "skip" | "allow"
  readonly windows: readonly string[]
  /** Null of a rule's. */
  readonly operation: string | null
  readonly input: Readonly<Record<string, unknown>>
  /** The rule that it belongs to. */
  readonly rule: string | null
  readonly enabled: boolean
  readonly pausedReason: string | null
  readonly author: string
  readonly authorRoles: readonly string[]
  readonly nextAt: number | null
  readonly pendingFiring: string | null
  /** What the last firing that started something has started. */
  readonly lastStarted: string | null
  readonly lastFiring: string | null
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
}

/** What `schedules.apply` decides; the rest of a row follows from what happens. */
export type ScheduleDefinition = Omit<
  ScheduleRow,
  "pendingFiring" | "lastStarted" | "lastFiring" | "version" | "createdAt" | "changedAt"
>

const columns = `account, name, id, description, cron, at, every_ms as "everyMs", zone, from_at as "fromAt",
  until_at as "untilAt", catch_up as "catchUp", catch_up_max as "catchUpMax", start_within_ms as "startWithinMs", overlap,
  windows, operation, input, enabled, paused_reason as "pausedReason", author, author_roles as "authorRoles",
  rule, next_at as "nextAt", pending_firing as "pendingFiring", last_started as "lastStarted", last_firing as "lastFiring",
  version, created_at as "createdAt", changed_at as "changedAt"`

export async function findSchedule(sql: Sql, account: string, name: string): Promise<ScheduleRow | undefined> {
  const [row] = await sql.query<ScheduleRow>(`select ${columns} from schedules where account = $1 and name = $2`, [
    account,
    name,
  ])
  return row
}

export async function lockSchedule(tx: Tx, account: string, name: string): Promise<ScheduleRow | undefined> {
  const [row] = await tx.query<ScheduleRow>(
    `select ${columns} from schedules where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

/** Those of a rule, by name. */
export async function lockSchedulesOfRule(tx: Tx, account: string, rule: string): Promise<ScheduleRow[]> {
  return tx.query<ScheduleRow>(
    `select ${columns} from schedules where account = $1 and rule = $2 order by name for update`,
    [account, rule],
  )
}

export async function listSchedules(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<ScheduleRow[]> {
  return sql.query<ScheduleRow>(
    `select ${columns} from schedules where account = $1 and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

export async function countSchedules(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    "select count(*) as count from schedules where account = $1 and rule is null",
    [account],
  )
  return row?.count ?? 0
}

/** Names of schedules that fire only while a window is open. */
export async function listSchedulesOfWindow(sql: Sql, account: string, window: string): Promise<string[]> {
  const rows = await sql.query<{ name: string }>(
    "select name from schedules where account = $1 and $2 = any (windows) order by name limit 20",
    [account, window],
  )
  return rows.map(({ name }) => name)
}

/** Creates a schedule or replaces its definition. A pending firing goes on. */
export async function putSchedule(tx: Tx, schedule: ScheduleDefinition, now: number): Promise<ScheduleRow | undefined> {
  const [row] = await tx.query<ScheduleRow>(
    `insert into schedules (account, name, id, description, cron, at, every_ms, zone, from_at, until_at, catch_up,
       catch_up_max, start_within_ms, overlap, windows, operation, input, enabled, paused_reason, author, author_roles,
       next_at, created_at, changed_at, rule)
     values ($1, $2, $3, $4, $5, to_timestamp($6::float8 / 1000), $7, $8, to_timestamp($9::float8 / 1000),
       to_timestamp($10::float8 / 1000), $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
       to_timestamp($22::float8 / 1000), to_timestamp($23::float8 / 1000), to_timestamp($23::float8 / 1000), $24)
     on conflict (account, name) do update
       set description = excluded.description, cron = excluded.cron, at = excluded.at, every_ms = excluded.every_ms,
         zone = excluded.zone, from_at = excluded.from_at, until_at = excluded.until_at, catch_up = excluded.catch_up,
         catch_up_max = excluded.catch_up_max, start_within_ms = excluded.start_within_ms, overlap = excluded.overlap,
         windows = excluded.windows, operation = excluded.operation, input = excluded.input, enabled = excluded.enabled,
         paused_reason = excluded.paused_reason, author = excluded.author, author_roles = excluded.author_roles,
         next_at = excluded.next_at, changed_at = excluded.changed_at, version = schedules.version + 1
     returning ${columns}`,
    [
      schedule.account,
      schedule.name,
      schedule.id,
      schedule.description,
      schedule.cron,
      schedule.at,
      schedule.everyMs,
      schedule.zone,
      schedule.fromAt,
      schedule.untilAt,
      schedule.catchUp,
      schedule.catchUpMax,
      schedule.startWithinMs,
      schedule.overlap,
      schedule.windows,
      schedule.operation,
      JSON.stringify(schedule.input),
      schedule.enabled,
      schedule.pausedReason,
      schedule.author,
      schedule.authorRoles,
      schedule.nextAt,
      now,
      schedule.rule,
    ],
  )
  return row
}

export async function setEnabled(
  tx: Tx,
  of: {
    readonly account: string
    readonly name: string
    readonly enabled: boolean
    readonly reason: string | null
    readonly nextAt: number | null
    readonly now: number
  },
): Promise<ScheduleRow | undefined> {
  const [row] = await tx.query<ScheduleRow>(
    `update schedules set enabled = $3, paused_reason = $4, next_at = to_timestamp($5::float8 / 1000),
       changed_at = to_timestamp($6::float8 / 1000), version = version + 1
     where account = $1 and name = $2 returning ${columns}`,
    [of.account, of.name, of.enabled, of.reason, of.nextAt, of.now],
  )
  return row
}

export async function deleteSchedule(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("delete from schedules where account = $1 and name = $2", [account, name])
}

/** Schedules that are due and wait for no outcome, each locked by this transaction alone; `without` some, by their ids. */
export async function lockDueSchedules(
  tx: Tx,
  due: { readonly now: number; readonly limit: number; readonly without: readonly string[] },
): Promise<ScheduleRow[]> {
  return tx.query<ScheduleRow>(
    `select ${columns} from schedules
     where enabled and pending_firing is null and next_at <= to_timestamp($1::float8 / 1000)
       and id <> all ($3::text[])
     order by next_at limit $2 for update skip locked`,
    [due.now, due.limit, due.without],
    { name: "schedules-due" },
  )
}

/** A firing was made, or instants were given up: moves on. */
export async function advanceSchedule(
  tx: Tx,
  of: {
    readonly account: string
    readonly name: string
    readonly nextAt: number | null
    readonly pendingFiring: string | null
    readonly lastFiring: string | null
  },
): Promise<void> {
  await tx.query(
    `update schedules set next_at = to_timestamp($3::float8 / 1000), pending_firing = $4,
       last_firing = coalesce($5, last_firing)
     where account = $1 and name = $2`,
    [of.account, of.name, of.nextAt, of.pendingFiring, of.lastFiring],
  )
}

/** The pending firing of a schedule has its outcome. */
export async function settleSchedule(
  tx: Tx,
  of: { readonly account: string; readonly firing: string; readonly started: string | null },
): Promise<void> {
  await tx.query(
    `update schedules set pending_firing = null, last_started = coalesce($3, last_started)
     where account = $1 and pending_firing = $2`,
    [of.account, of.firing, of.started],
  )
}

/** Firings without an outcome whose time to start has long passed: their job was lost. */
export async function listLostFirings(
  sql: Sql,
  before: number,
  limit: number,
): Promise<Array<{ scheduleId: string; firing: string }>> {
  return sql.query<{ scheduleId: string; firing: string }>(
    `select s.id as "scheduleId", s.pending_firing as firing
     from schedules s join schedule_firings f on f.schedule_id = s.id and f.id = s.pending_firing and f.account = s.account
     where s.pending_firing is not null and f.start_before < to_timestamp($1::float8 / 1000) limit $2`,
    [before, limit],
  )
}
