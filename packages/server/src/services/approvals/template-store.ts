/** The SQL of approval templates and their versions. Instants are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import { versionsKept } from "../../storage/removal-task.ts"
import type { TemplateDefinition } from "./definitions.ts"

export interface TemplateRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly version: number
  readonly definition: TemplateDefinition
  readonly removed: boolean
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const columns = `account, name, id, version, definition, removed, created_at as "createdAt",
  changed_at as "changedAt", changed_by as "changedBy"`

/** One that was removed counts as none. */
export async function findTemplate(sql: Sql, account: string, name: string): Promise<TemplateRow | undefined> {
  const [row] = await sql.query<TemplateRow>(
    `select ${columns} from approval_templates where account = $1 and name = $2 and not removed`,
    [account, name],
  )
  return row
}

/** Which of these names are there. */
export async function findTemplateNames(sql: Sql, account: string, names: readonly string[]): Promise<string[]> {
  const rows = await sql.query<{ name: string }>(
    "select name from approval_templates where account = $1 and name = any ($2) and not removed",
    [account, names],
  )
  return rows.map(({ name }) => name)
}

/** Also one that was removed. */
export async function lockTemplate(tx: Tx, account: string, name: string): Promise<TemplateRow | undefined> {
  const [row] = await tx.query<TemplateRow>(
    `select ${columns} from approval_templates where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

export async function listTemplates(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<TemplateRow[]> {
  return sql.query<TemplateRow>(
    `select ${columns} from approval_templates where account = $1 and not removed and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

export async function readTemplates(sql: Sql, account: string): Promise<TemplateRow[]> {
  return sql.query<TemplateRow>(`select ${columns} from approval_templates where account = $1 and not removed`, [
    account,
  ])
}

/** Creates a template or gives it its next version; its id and the time of its creation stay. */
export async function putTemplate(
  tx: Tx,
  template: Pick<TemplateRow, "account" | "name" | "id" | "definition" | "changedBy">,
  now: number,
): Promise<TemplateRow> {
  const { account, name, id, definition, changedBy } = template
  const [row] = await tx.query<TemplateRow>(
    `with put as (
       insert into approval_templates (account, name, id, version, definition, created_at, changed_at, changed_by)
       values ($1, $2, $3, 1, $4, to_timestamp($5::float8 / 1000), to_timestamp($5::float8 / 1000), $6)
       on conflict (account, name) do update set definition = excluded.definition, removed = false,
         version = approval_templates.version + 1, changed_at = excluded.changed_at, changed_by = excluded.changed_by
       returning *)
     select ${columns} from put`,
    [account, name, id, JSON.stringify(definition), now, changedBy],
  )
  assert(row, "an upsert returns its row")
  await tx.query(
    `insert into approval_template_versions (account, name, version, definition, changed_at, changed_by)
     values ($1, $2, $3, $4, to_timestamp($5::float8 / 1000), $6)`,
    [account, name, row.version, JSON.stringify(definition), now, changedBy],
  )
  await tx.query("delete from approval_template_versions where account = $1 and name = $2 and version <= $3", [
    account,
    name,
    row.version - versionsKept,
  ])
  return row
}

/** Removing counts as a change of the row, so that versions are never given twice. */
export async function removeTemplate(tx: Tx, row: TemplateRow, change: { by: string; now: number }): Promise<number> {
  const [found] = await tx.query<{ version: number }>(
    `update approval_templates set removed = true, version = version + 1, changed_at = to_timestamp($3::float8 / 1000),
       changed_by = $4
     where account = $1 and name = $2 returning version`,
    [row.account, row.name, change.now, change.by],
  )
  assert(found, "a locked row is updated")
  return found.version
}

export type TemplateVersionRow = Pick<TemplateRow, "version" | "definition" | "changedAt" | "changedBy">

export async function listTemplateVersions(
  sql: Sql,
  account: string,
  page: { readonly name: string; readonly before: number; readonly limit: number },
): Promise<TemplateVersionRow[]> {
  return sql.query<TemplateVersionRow>(
    `select version, definition, changed_at as "changedAt", changed_by as "changedBy" from approval_template_versions
     where account = $1 and name = $2 and version < $3 order by version desc limit $4`,
    [account, page.name, page.before, page.limit],
  )
}

export async function countTemplates(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    "select count(*)::int as count from approval_templates where account = $1 and not removed",
    [account],
  )
  return row?.count ?? 0
}
