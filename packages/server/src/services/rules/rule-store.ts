/** The SQL of rules and their versions. Instants are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"

export interface RuleRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly version: number
  readonly enabled: boolean
  /** A rule's definition, as the program that stored it wrote it. */
  readonly definition: unknown
  readonly author: string
  readonly createdAt: number
  readonly changedAt: number
  readonly faultAt: number | null
  readonly faultMessage: string | null
  readonly faultsCount: number
}

export interface RuleVersionRow {
  readonly version: number
  readonly definition: unknown
  readonly author: string
  readonly publishedAt: number
}

const columns = `account, name, id, version, enabled, definition, author, created_at as "createdAt",
  changed_at as "changedAt", fault_at as "faultAt", fault_message as "faultMessage", faults_count as "faultsCount"`

export async function findRule(sql: Sql, account: string, name: string): Promise<RuleRow | undefined> {
  const [row] = await sql.query<RuleRow>(`select ${columns} from rules where account = $1 and name = $2`, [
    account,
    name,
  ])
  return row
}

export async function lockRule(tx: Tx, account: string, name: string): Promise<RuleRow | undefined> {
  const [row] = await tx.query<RuleRow>(`select ${columns} from rules where account = $1 and name = $2 for update`, [
    account,
    name,
  ])
  return row
}

export async function listRules(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<RuleRow[]> {
  return sql.query<RuleRow>(`select ${columns} from rules where account = $1 and name > $2 order by name limit $3`, [
    account,
    page.after,
    page.limit,
  ])
}

/** All of them, by name. */
export async function readRules(sql: Sql, account: string): Promise<RuleRow[]> {
  return sql.query<RuleRow>(`select ${columns} from rules where account = $1 order by name`, [account])
}

/** Those of these names that are there. */
export async function readRulesNamed(sql: Sql, account: string, names: readonly string[]): Promise<RuleRow[]> {
  return sql.query<RuleRow>(`select ${columns} from rules where account = $1 and name = any ($2)`, [account, names])
}

/** Of all of them, by name. */
export async function readRuleVersions(sql: Sql, account: string): Promise<Array<Pick<RuleRow, "name" | "version">>> {
  return sql.query<Pick<RuleRow, "name" | "version">>(
    "select name, version from rules where account = $1 order by name",
    [account],
    { name: "rules-versions" },
  )
}

export async function countRules(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>("select count(*)::int as count from rules where account = $1", [
    account,
  ])
  return row?.count ?? 0
}

export async function findRuleVersion(
  sql: Sql,
  account: string,
  of: { readonly name: string; readonly version: number },
): Promise<RuleVersionRow | undefined> {
  const [row] = await sql.query<RuleVersionRow>(
    `select version, definition, author, published_at as "publishedAt"
     from rule_versions where account = $1 and name = $2 and version = $3`,
    [account, of.name, of.version],
    { name: "rules-find-version" },
  )
  return row
}

/** Creates a rule or gives it its next version. Versions go on where a rule of that name was removed before. */
export async function putRule(
  tx: Tx,
  rule: Pick<RuleRow, "account" | "name" | "id" | "enabled" | "definition" | "author">,
  now: number,
): Promise<RuleRow> {
  const { account, name, id, enabled, definition, author } = rule
  const [row] = await tx.query<RuleRow>(
    `insert into rules (account, name, id, version, enabled, definition, author, created_at, changed_at)
     values ($1, $2, $3, 1 + coalesce((select max(version) from rule_versions where account = $1 and name = $2), 0), $4,
       $5, $6, to_timestamp($7::float8 / 1000), to_timestamp($7::float8 / 1000))
     on conflict (account, name) do update set enabled = excluded.enabled, definition = excluded.definition,
       author = excluded.author, version = rules.version + 1, changed_at = excluded.changed_at, fault_at = null,
       fault_message = null, faults_count = 0
     returning ${columns}`,
    [account, name, id, enabled, JSON.stringify(definition), author, now],
  )
  assert(row, "an upsert returns its row")
  await tx.query(
    `insert into rule_versions (account, name, version, definition, author, published_at)
     values ($1, $2, $3, $4, $5, to_timestamp($6::float8 / 1000))`,
    [account, name, row.version, JSON.stringify(definition), author, now],
  )
  return row
}

export async function deleteRule(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("delete from rules where account = $1 and name = $2", [account, name])
}

export interface RuleFaults {
  readonly account: string
  readonly rule: string
  readonly version: number
  readonly message: string
  readonly count: number
  readonly at: number
}

/** Of the versions that are in force still. */
export async function recordFaults(sql: Sql, faults: readonly RuleFaults[]): Promise<void> {
  await sql.query(
    `update rules set fault_at = to_timestamp(f.at / 1000), fault_message = f.message,
       faults_count = least(rules.faults_count + f.count, 1000000000)
     from jsonb_to_recordset($1) as f (account text, rule text, version int, message text, count int, at float8)
     where rules.account = f.account and rules.name = f.rule and rules.version = f.version`,
    [JSON.stringify(faults)],
    { name: "rules-record-faults" },
  )
}

/** For a scheduled task: versions that are not in force, of before `$1`. */
export const removeVersionsStatement = `delete from rule_versions where (account, name, version) in (
  select v.account, v.name, v.version from rule_versions v
  where v.published_at < to_timestamp($1::float8 / 1000)
    and not exists (select from rules r where r.account = v.account and r.name = v.name and r.version = v.version)
  limit $2) returning 1`
