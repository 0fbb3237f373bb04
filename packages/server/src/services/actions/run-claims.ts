/**
 * The SQL of performing: runs that are due are claimed for a time, and what came of their tries is recorded, many with one
 * statement. Instants are milliseconds.
 */
import type { Sql, Tx } from "../../storage/database.ts"
import type { ActionState } from "./action-machine.ts"
import { runColumns, type RunError, type RunRow, type Try } from "./run-store.ts"
import { performingLimits } from "./action-limits.ts"

/** Calls of one rule that are under way in this server. */
export interface RunsUnderWay {
  readonly account: string
  readonly rule: string
  readonly count: number
}

export interface ClaimWishes {
  readonly now: number
  /** How long the claims are good. */
  readonly milliseconds: number
  readonly limit: number
  /** The most of one rule, those under way included. */
  readonly ruleRunsMax: number
  readonly underWay: readonly RunsUnderWay[]
  /** The most that are looked at. */
  readonly windowMax: number
}

export interface Claims {
  readonly runs: readonly RunRow[]
  /** Whether more may be due than was looked at: then the window may be full of those whose rules are busy. */
  readonly isWindowFull: boolean
}

const active = "state in ('queued', 'running', 'failed')"
const due = `${active} and next_at <= to_timestamp($1::float8 / 1000) and (claimed_until is null or claimed_until < now())`

/** The longest due first, whatever their rules. */
const oldest = `select id, account, rule, next_at from action_runs where ${due} order by next_at limit $6`

/** Of each rule that waits as many as it may have at once: one look at the index for each, however many wait. */
const ofEachRule = `
  with recursive waiting as (
    (select account, rule from action_runs where ${active} order by account, rule limit 1)
    union all
    select after.* from waiting w, lateral (
      select account, rule from action_runs
      where ${active} and (account, rule) > (w.account, w.rule) order by account, rule limit 1) after)
  select first.* from waiting w, lateral (
    select id, account, rule, next_at from action_runs
    where account = w.account and rule = w.rule and ${due} order by next_at limit $4) first`

/** Two servers that look at once may find the same: the second finds them locked, or claimed. */
const claimStatement = (candidates: string): string => `
  with due as materialized (${candidates}),
  placed as materialized (
    select id from (
      select d.id, d.next_at,
        row_number() over (partition by d.account, d.rule order by d.next_at) + coalesce(u.count, 0) as place
      from due d left join jsonb_to_recordset($5) as u (account text, rule text, count int) using (account, rule)
    ) as p where place <= $4 order by next_at limit $3),
  mine as materialized (
    select id from action_runs where id = any (array(select id from placed)) and ${due} for update skip locked),
  claimed as (
    update action_runs set state = 'running', attempts = attempts + 1,
      version = version + (case when attempts = 0 then 1 else 0 end),
      claimed_until = now() + make_interval(secs => $2::float8 / 1000)
    where id = any (array(select id from mine)) returning ${runColumns})
  select (select count(*)::int from due) >= $6 as "isWindowFull", claimed.* from (select 1) as one left join claimed on true`

const statements = { oldest: claimStatement(oldest), "of-each-rule": claimStatement(ofEachRule) } as const

/** Whether a look would find anything: asked each second by every server, so it costs next to nothing. */
export async function isAnyDue(sql: Sql, now: number): Promise<boolean> {
  const [row] = await sql.query<{ found: boolean }>(
    `select exists (select 1 from action_runs where ${due}) as found`,
    [now],
    { name: "actions-any-due" },
  )
  return row?.found ?? false
}

/** Takes what is due, for a time, and counts a try of each. Nobody else has them until then. */
export async function claimRuns(tx: Tx, by: keyof typeof statements, wishes: ClaimWishes): Promise<Claims> {
  const { now, milliseconds, limit, ruleRunsMax, underWay, windowMax } = wishes
  const rows = await tx.query<RunRow & { isWindowFull: boolean }>(
    statements[by],
    [now, milliseconds, limit, ruleRunsMax, JSON.stringify(underWay), windowMax],
    { name: `actions-claim-${by}` },
  )
  // One row at least: where nothing was claimed, one without a run.
  return { runs: rows.filter(({ id }) => id !== null), isWindowFull: rows[0]?.isWindowFull ?? false }
}

/** What a try came to. */
export interface RunOutcome {
  readonly claimed: Pick<RunRow, "id" | "attempts" | "redrives">
  readonly state: ActionState
  /** When it is looked at next; null where it has ended. */
  readonly nextAt: number | null
  readonly endedAt: number | null
  readonly started: string | null
  readonly request: { readonly id: string; readonly url: string } | null
  readonly error: RunError | null
  readonly try: Try
}

/** Records what tries came to; gives those that no other server has taken since, as they are now. */
export function recordOutcomes(tx: Tx, outcomes: readonly RunOutcome[]): Promise<RunRow[]> {
  const rows = outcomes.map(({ claimed, state, nextAt, endedAt, started, request, error, try: tried }) => ({
    ...{ id: claimed.id, attempts: claimed.attempts, redrives: claimed.redrives, state, started, error, try: tried },
    ...{ next_at: nextAt, ended: endedAt, request_id: request?.id ?? null, request_url: request?.url ?? null },
    tells: state === "failed" ? 0 : 1,
  }))
  return tx.query<RunRow>(
    `update action_runs r set state = t.state, next_at = to_timestamp(t.next_at / 1000), claimed_until = null,
       started = coalesce(t.started, r.started), request_id = coalesce(t.request_id, r.request_id),
       request_url = coalesce(t.request_url, r.request_url), error = t.error, version = r.version + t.tells,
       finished_at = to_timestamp(t.ended / 1000),
       tries = jsonb_path_query_array(r.tries || jsonb_build_array(t.try), '$[last - ${performingLimits.triesMax - 1} to last]')
     from jsonb_to_recordset($1) as t (id text, attempts int, redrives int, state text, started text, error jsonb, try jsonb,
       next_at float8, ended float8, request_id text, request_url text, tells int)
     where r.id = t.id and r.state = 'running' and r.attempts = t.attempts and r.redrives = t.redrives
     returning ${runColumns
       .split(",")
       .map((column) => `r.${column.trim()}`)
       .join(", ")}`,
    [JSON.stringify(rows)],
    { name: "actions-record" },
  )
}
