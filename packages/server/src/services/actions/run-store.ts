/** The SQL of runs: each is an aggregate of its own. Instants are milliseconds. */
import type { Sql, Tx } from "../../storage/database.ts"
import type { ActionState } from "./action-machine.ts"

export interface Trigger {
  readonly id: string
  readonly type: string
  readonly subject: string
}

export interface RunError {
  readonly code: string
  readonly message: string
}

export interface Try {
  readonly at: number
  readonly milliseconds: number
  readonly code?: string
  readonly message?: string
}

export interface RunRow {
  readonly id: string
  readonly account: string
  readonly state: ActionState
  readonly rule: string
  readonly ruleVersion: number
  readonly number: number
  readonly operation: string
  readonly input: unknown
  readonly targets: readonly string[]
  readonly event: Trigger
  readonly author: string
  readonly isOwnRule: boolean
  readonly cause: string
  readonly causedBy: string
  readonly depth: number
  readonly attempts: number
  readonly redrives: number
  readonly tries: readonly Try[]
  readonly nextAt: number | null
  readonly requestId: string | null
  readonly requestUrl: string | null
  readonly started: string | null
  readonly error: RunError | null
  /** Grows by one for each event of the run. */
  readonly version: number
  readonly createdAt: number
  readonly finishedAt: number | null
}

export const runColumns = `id, account, state, rule, rule_version as "ruleVersion", number, operation, input, targets, event, author,
  is_own_rule as "isOwnRule", cause, caused_by as "causedBy", depth, attempts, redrives, tries, next_at as "nextAt",
  request_id as "requestId", request_url as "requestUrl", started, error, version, created_at as "createdAt",
  finished_at as "finishedAt"`

export type NewRun = Pick<
  RunRow,
  | "id"
  | "account"
  | "rule"
  | "ruleVersion"
  | "number"
  | "operation"
  | "input"
  | "targets"
  | "event"
  | "author"
  | "isOwnRule"
  | "cause"
  | "causedBy"
  | "depth"
> & { readonly state: "queued" | "dead" | "stopped"; readonly error?: RunError }

/** Gives the ids of those that were not there before. */
export async function insertRuns(sql: Sql, runs: readonly NewRun[], now: number): Promise<ReadonlySet<string>> {
  if (runs.length === 0) return new Set()
  const rows = await sql.query<{ id: string }>(
    `insert into action_runs (id, account, state, rule, rule_version, number, operation, input, targets, event, author,
       is_own_rule, cause, caused_by, depth, error, created_at, next_at, finished_at)
     select id, account, state, rule, "ruleVersion", number, operation, input,
       array(select jsonb_array_elements_text(targets)), event, author, "isOwnRule", cause, "causedBy", depth, error,
       to_timestamp($2::float8 / 1000), case when state = 'queued' then to_timestamp($2::float8 / 1000) end,
       case when state <> 'queued' then to_timestamp($2::float8 / 1000) end
     from jsonb_to_recordset($1) as r (id text, account text, state text, rule text, "ruleVersion" int, number int,
       operation text, input jsonb, targets jsonb, event jsonb, author text, "isOwnRule" boolean, cause text,
       "causedBy" text, depth int, error jsonb)
     on conflict (id) do nothing returning id`,
    [JSON.stringify(runs), now],
    { name: "actions-insert-runs" },
  )
  return new Set(rows.map(({ id }) => id))
}

export async function findRun(sql: Sql, account: string, id: string): Promise<RunRow | undefined> {
  const [row] = await sql.query<RunRow>(`select ${runColumns} from action_runs where account = $1 and id = $2`, [
    account,
    id,
  ])
  return row
}

export interface RunFilter {
  readonly state?: string | undefined
  readonly rule?: string | undefined
  readonly cause?: string | undefined
  readonly trigger?: string | undefined
  readonly before?: { readonly time: number; readonly id: string } | undefined
  readonly limit: number
}

export function listRuns(sql: Sql, account: string, filter: RunFilter): Promise<RunRow[]> {
  const { state, rule, cause, trigger, before, limit } = filter
  return sql.query<RunRow>(
    `select ${runColumns} from action_runs
     where account = $1 and ($2::text is null or state = $2) and ($3::text is null or rule = $3)
       and ($4::text is null or cause = $4) and ($5::text is null or caused_by = $5)
       and ($6::float8 is null or (created_at, id) < (to_timestamp($6 / 1000), $7))
     order by created_at desc, id desc limit $8`,
    [
      account,
      state ?? null,
      rule ?? null,
      cause ?? null,
      trigger ?? null,
      before?.time ?? null,
      before?.id ?? null,
      limit,
    ],
  )
}

/** Runs that wait or are under way, of a rule and of its account, each counted up to a limit. */
export async function countUnderWay(
  sql: Sql,
  account: string,
  of: { readonly rule: string; readonly ruleMax: number; readonly accountMax: number },
): Promise<{ readonly ofRule: number; readonly ofAccount: number }> {
  const underWay = "account = $1 and state in ('queued', 'running', 'failed')"
  const [row] = await sql.query<{ ofRule: number; ofAccount: number }>(
    `select
       (select count(*)::int from (select 1 from action_runs where ${underWay} and rule = $2 limit $3) as r) as "ofRule",
       (select count(*)::int from (select 1 from action_runs where ${underWay} limit $4) as a) as "ofAccount"`,
    [account, of.rule, of.ruleMax, of.accountMax],
    { name: "actions-count" },
  )
  return row ?? { ofRule: 0, ofAccount: 0 }
}

/** At how many different depths of each story a rule has acted. */
export async function countRuleDepths(
  sql: Sql,
  account: string,
  of: { readonly rule: string; readonly causes: readonly string[] },
): Promise<ReadonlyMap<string, readonly number[]>> {
  if (of.causes.length === 0) return new Map()
  const rows = await sql.query<{ cause: string; depths: number[] }>(
    `select cause, array_agg(distinct depth) as depths from action_runs
     where account = $1 and cause = any ($2) and rule = $3 and state <> 'stopped' group by cause`,
    [account, of.causes, of.rule],
    { name: "actions-rule-depths" },
  )
  return new Map(rows.map(({ cause, depths }) => [cause, depths]))
}

/** A run that waits for its turn or its next try is given up; undefined where it doesn't wait (any more). */
export async function cancelRun(
  tx: Tx,
  of: { readonly account: string; readonly id: string; readonly error: RunError; readonly now: number },
): Promise<RunRow | undefined> {
  const [row] = await tx.query<RunRow>(
    `update action_runs set state = 'cancelled', error = $3, next_at = null, claimed_until = null, version = version + 1,
       finished_at = to_timestamp($4::float8 / 1000)
     where account = $1 and id = $2 and state in ('queued', 'failed') returning ${runColumns}`,
    [of.account, of.id, JSON.stringify(of.error), of.now],
  )
  return row
}

const redriven = `state = 'queued', attempts = 0, redrives = redrives + 1, error = null, finished_at = null,
  version = version + 1, next_at = to_timestamp($3::float8 / 1000)`

/** Undefined where it is not dead. */
export async function redriveRun(
  tx: Tx,
  account: string,
  of: { id: string; now: number },
): Promise<RunRow | undefined> {
  const [row] = await tx.query<RunRow>(
    `update action_runs set ${redriven} where account = $1 and id = $2 and state = 'dead' returning ${runColumns}`,
    [account, of.id, of.now],
  )
  return row
}

/** The dead runs of a rule, the oldest first. */
export function redriveRule(
  tx: Tx,
  account: string,
  of: { readonly rule: string; readonly now: number; readonly limit: number },
): Promise<RunRow[]> {
  return tx.query<RunRow>(
    `update action_runs set ${redriven} where id in (
       select id from action_runs where account = $1 and rule = $2 and state = 'dead'
       order by created_at limit $4 for update skip locked)
     returning ${runColumns}`,
    [account, of.rule, of.now, of.limit],
  )
}

/** What became of the call that a run waits for. */
export async function settleHeld(
  tx: Tx,
  of: {
    readonly account: string
    readonly requestId: string
    readonly state: "succeeded" | "dead" | "cancelled"
    readonly error: RunError | null
    readonly started: string | null
    readonly now: number
  },
): Promise<RunRow | undefined> {
  const [row] = await tx.query<RunRow>(
    `update action_runs set state = $3, error = $4, started = $5, next_at = null, version = version + 1,
       finished_at = to_timestamp($6::float8 / 1000)
     where account = $1 and request_id = $2 and state = 'held' returning ${runColumns}`,
    [of.account, of.requestId, of.state, of.error && JSON.stringify(of.error), of.started, of.now],
  )
  return row
}

/** Runs that have waited for an approval for so long that it is asked for; each rests again for a time. */
export function takeHeldDue(
  sql: Sql,
  at: { readonly now: number; readonly milliseconds: number; readonly limit: number },
): Promise<RunRow[]> {
  return sql.query<RunRow>(
    `update action_runs set next_at = to_timestamp(($1::float8 + $2::float8) / 1000)
     where id in (
       select id from action_runs where state = 'held' and next_at <= to_timestamp($1::float8 / 1000)
       order by next_at limit $3 for update skip locked)
     returning ${runColumns}`,
    [at.now, at.milliseconds, at.limit],
  )
}

/** Runs of a rule's versions before one that wait for an approval, by their ids. */
export function listHeldRuns(
  sql: Sql,
  of: {
    readonly account: string
    readonly rule: string
    readonly version: number
    readonly after: string
    readonly limit: number
  },
): Promise<RunRow[]> {
  return sql.query<RunRow>(
    `select ${runColumns} from action_runs
     where account = $1 and rule = $2 and state = 'held' and is_own_rule and rule_version < $3 and id > $4
     order by id limit $5`,
    [of.account, of.rule, of.version, of.after, of.limit],
  )
}

/** Removes runs that ended before an instant; gives how many. */
export async function removeOldRuns(
  sql: Sql,
  at: { readonly before: number; readonly limit: number },
): Promise<number> {
  const rows = await sql.query(
    `delete from action_runs where id in (
       select id from action_runs where finished_at < to_timestamp($1::float8 / 1000) limit $2) returning 1`,
    [at.before, at.limit],
  )
  return rows.length
}
