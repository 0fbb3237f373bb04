/** The SQL of storm control: what is counted of rules and of groups of events. Instants are milliseconds. */
import { stormGroupsMax } from "@signalbox/rules/storm-control"
import type { CorrelationState } from "@signalbox/rules/correlation"
import type { BudgetState } from "@signalbox/rules/storm-budget"
import type { StormState } from "@signalbox/rules/storm-control"
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import type { TakenEvent } from "./taken-event.ts"

/** The row of a rule's counts, by name: a rule that is made anew under a name goes on with them. */
export const ruleIdOf = (account: string, rule: string): string => `${account}/${rule}`

export interface RuleCounts {
  readonly budget: BudgetState
  readonly groupsCount: number
  readonly dropped: number
  /** Of those dropped, as many as events have told of; and when the last one did. */
  readonly droppedTold: number
  readonly droppedToldAt: number | null
}

/** Locks a rule's counts until the transaction ends: one server at a time decides about the rule's events. */
export async function lockRule(tx: Tx, account: string, of: { rule: string; now: number }): Promise<RuleCounts> {
  const [row] = await tx.query<RuleCounts>(
    `insert into action_rules (id, account, rule, touched_at) values ($1, $2, $3, to_timestamp($4::float8 / 1000))
     on conflict (id) do update set touched_at = excluded.touched_at
     returning budget, groups_count as "groupsCount", dropped, dropped_told as "droppedTold",
       dropped_told_at as "droppedToldAt"`,
    [ruleIdOf(account, of.rule), account, of.rule, of.now],
    { name: "actions-lock-rule" },
  )
  assert(row, "an upsert gives its row")
  return row
}

/** What a transaction adds to a rule's counts. */
export interface RuleChange {
  readonly budget: BudgetState
  readonly fired: number
  readonly suppressed: number
  readonly dropped: number
  readonly droppedReason: string | null
  /** Whether an event tells of all that was dropped until now. */
  readonly isDropTold: boolean
  readonly groups: number
  readonly evicted: number
  readonly error: string | null
  readonly now: number
}

export async function changeRule(tx: Tx, id: string, change: RuleChange): Promise<void> {
  const { budget, fired, suppressed, dropped, droppedReason, isDropTold, groups, evicted, error, now } = change
  await tx.query(
    `update action_rules set budget = $2, fired = fired + $3, suppressed = suppressed + $4, dropped = dropped + $5,
       groups_count = groups_count + $6, evicted = evicted + $7,
       last_fired_at = case when $3 > 0 then to_timestamp($9::float8 / 1000) else last_fired_at end,
       last_dropped_at = case when $5 > 0 then to_timestamp($9::float8 / 1000) else last_dropped_at end,
       last_error = coalesce($8, last_error),
       last_error_at = case when $8::text is null then last_error_at else to_timestamp($9::float8 / 1000) end,
       last_dropped_reason = coalesce($10, last_dropped_reason),
       dropped_told = case when $11 then dropped + $5 else dropped_told end,
       dropped_told_at = case when $11 then to_timestamp($9::float8 / 1000) else dropped_told_at end
     where id = $1`,
    [
      ...[id, JSON.stringify(budget), fired, suppressed, dropped, groups, evicted, error, now],
      ...[droppedReason, isDropTold],
    ],
    { name: "actions-change-rule" },
  )
}

/** Notes that a rule has counted these events; gives those that it had not. */
export async function noteSeen(
  tx: Tx,
  of: { readonly ruleId: string; readonly account: string; readonly now: number },
  eventIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await tx.query<{ id: string }>(
    `insert into action_inbox (rule_id, event_id, account, seen_at)
     select $1, id, $2, to_timestamp($3::float8 / 1000) from unnest($4::text[]) as e (id)
     on conflict do nothing returning event_id as id`,
    [of.ruleId, of.account, of.now, eventIds],
    { name: "actions-note-seen" },
  )
  return new Set(rows.map(({ id }) => id))
}

export interface GroupRow {
  readonly key: string
  readonly ruleVersion: number
  readonly state: StormState | CorrelationState
  /** What fires when the time comes. */
  readonly event: TakenEvent | null
  readonly dueAt: number | null
}

const groupColumns = `key, rule_version as "ruleVersion", state, event, due_at as "dueAt"`

export async function readGroups(
  tx: Tx,
  ruleId: string,
  keys: readonly string[],
): Promise<ReadonlyMap<string, GroupRow>> {
  const rows = await tx.query<GroupRow>(
    `select ${groupColumns} from action_groups where rule_id = $1 and key = any ($2)`,
    [ruleId, keys],
    { name: "actions-read-groups" },
  )
  return new Map(rows.map((row) => [row.key, row]))
}

export interface GroupChange extends GroupRow {
  readonly expiresAt: number | null
}

/** Groups that mean nothing any more go; of the others those beyond the most that a rule may have, the quietest first. */
export async function writeGroups(
  tx: Tx,
  of: { readonly ruleId: string; readonly account: string; readonly now: number; readonly groupsCount: number },
  groups: readonly GroupChange[],
): Promise<{ readonly added: number; readonly evicted: number }> {
  const { ruleId, account, now } = of
  const [gone, kept] = [groups.filter(isOver), groups.filter((group) => !isOver(group))]
  const removed = gone.length === 0 ? 0 : await removeGroups(tx, ruleId, gone)
  const rows = await tx.query<{ isNew: boolean }>(
    `insert into action_groups (rule_id, key, account, rule_version, state, event, due_at, expires_at, touched_at)
     select $1, key, $2, "ruleVersion", state, event, to_timestamp("dueAt" / 1000), to_timestamp("expiresAt" / 1000),
       to_timestamp($3::float8 / 1000)
     from jsonb_to_recordset($4) as g (key text, "ruleVersion" int, state jsonb, event jsonb, "dueAt" float8, "expiresAt" float8)
     on conflict (rule_id, key) do update set rule_version = excluded.rule_version, state = excluded.state,
       event = excluded.event, due_at = excluded.due_at, expires_at = excluded.expires_at, touched_at = excluded.touched_at
     returning xmax = 0 as "isNew"`,
    [ruleId, account, now, JSON.stringify(kept)],
    { name: "actions-write-groups" },
  )
  const added = rows.filter(({ isNew }) => isNew).length - removed
  const over = of.groupsCount + added - stormGroupsMax
  const evicted = over > 0 ? await evictGroups(tx, ruleId, over) : 0
  return { added: added - evicted, evicted }
}

const isOver = ({ dueAt, expiresAt }: GroupChange): boolean => dueAt === null && expiresAt === null

async function removeGroups(tx: Tx, ruleId: string, groups: readonly GroupChange[]): Promise<number> {
  const rows = await tx.query(
    "delete from action_groups where rule_id = $1 and key = any ($2) returning 1",
    [ruleId, groups.map(({ key }) => key)],
    { name: "actions-remove-groups" },
  )
  return rows.length
}

async function evictGroups(tx: Tx, ruleId: string, count: number): Promise<number> {
  const rows = await tx.query(
    `delete from action_groups where rule_id = $1 and key in (
       select key from action_groups where rule_id = $1 order by touched_at, key limit $2) returning 1`,
    [ruleId, count],
  )
  return rows.length
}

/** Groups whose time has come, of any rule; the rule's lock decides who fires them. */
export function listDueGroups(
  sql: Sql,
  at: { readonly now: number; readonly limit: number },
): Promise<Array<{ readonly account: string; readonly rule: string; readonly key: string; readonly version: number }>> {
  return sql.query(
    `select g.account, r.rule, g.key, g.rule_version as version from action_groups g join action_rules r on r.id = g.rule_id
     where g.due_at <= to_timestamp($1::float8 / 1000) order by g.due_at limit $2`,
    [at.now, at.limit],
    { name: "actions-due-groups" },
  )
}

export interface StormRow {
  readonly rule: string
  readonly fired: number
  readonly suppressed: number
  readonly dropped: number
  readonly groupsCount: number
  readonly evicted: number
  readonly lastFiredAt: number | null
  readonly lastDroppedAt: number | null
  readonly lastDroppedReason: "budget" | "queue" | null
  readonly lastError: string | null
  readonly lastErrorAt: number | null
}

export function listStorms(
  sql: Sql,
  account: string,
  of: { readonly rule?: string | undefined; readonly after?: string | undefined; readonly limit: number },
): Promise<StormRow[]> {
  return sql.query<StormRow>(
    `select rule, fired, suppressed, dropped, groups_count as "groupsCount", evicted, last_fired_at as "lastFiredAt",
       last_dropped_at as "lastDroppedAt", last_dropped_reason as "lastDroppedReason",
       last_error as "lastError", last_error_at as "lastErrorAt"
     from action_rules where account = $1 and ($2::text is null or rule = $2) and ($3::text is null or rule > $3)
     order by rule limit $4`,
    [account, of.rule ?? null, of.after ?? null, of.limit],
  )
}

/** Groups whose state means nothing any more, and the counts of their rules set right. */
export async function removeExpiredGroups(
  tx: Tx,
  at: { readonly now: number; readonly limit: number },
): Promise<number> {
  // Whoever changes both locks the rule first.
  const rows = await tx.query<{ count: number }>(
    `with over as materialized (
       select rule_id, key from action_groups where due_at is null and expires_at < to_timestamp($1::float8 / 1000) limit $2),
     locked as materialized (
       select id from action_rules where id in (select rule_id from over) order by id for update),
     removed as (
       delete from action_groups g using over o, locked l
       where g.rule_id = o.rule_id and g.key = o.key and l.id = g.rule_id
         and g.due_at is null and g.expires_at < to_timestamp($1::float8 / 1000)
       returning g.rule_id),
     counted as (
       update action_rules r set groups_count = groups_count - c.count
       from (select rule_id, count(*)::int as count from removed group by rule_id) as c where r.id = c.rule_id)
     select count(*)::int as count from removed`,
    [at.now, at.limit],
  )
  return rows[0]?.count ?? 0
}

export async function removeOldSeen(
  sql: Sql,
  at: { readonly before: number; readonly limit: number },
): Promise<number> {
  const rows = await sql.query(
    `delete from action_inbox where (rule_id, event_id) in (
       select rule_id, event_id from action_inbox where seen_at < to_timestamp($1::float8 / 1000) limit $2) returning 1`,
    [at.before, at.limit],
  )
  return rows.length
}

/** Counts of rules that nothing has set going for long, and that hold no group. */
export async function removeOldRules(
  sql: Sql,
  at: { readonly before: number; readonly limit: number },
): Promise<number> {
  const rows = await sql.query(
    `delete from action_rules where id in (
       select id from action_rules r where touched_at < to_timestamp($1::float8 / 1000)
         and not exists (select 1 from action_groups g where g.rule_id = r.id) limit $2) returning 1`,
    [at.before, at.limit],
  )
  return rows.length
}
