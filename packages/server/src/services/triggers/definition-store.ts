import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"

/**
 * The SQL that signals, silences, hooks and triggers share: each is a name in an account with what a person wrote of it.
 * Instants are milliseconds.
 */
export type DefinitionTable = "signals" | "silences" | "hooks" | "named_triggers"

export interface DefinitionRow<Spec> {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly description: string | null
  readonly spec: Spec
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

export type Definition<Spec> = Pick<
  DefinitionRow<Spec>,
  "account" | "name" | "id" | "description" | "spec" | "changedBy"
>

const columns = `account, name, id, description, spec, version, created_at as "createdAt", changed_at as "changedAt",
  changed_by as "changedBy"`

export async function findDefinition<Spec>(
  sql: Sql,
  table: DefinitionTable,
  { account, name }: { readonly account: string; readonly name: string },
): Promise<DefinitionRow<Spec> | undefined> {
  const [row] = await sql.query<DefinitionRow<Spec>>(
    `select ${columns} from ${table} where account = $1 and name = $2`,
    [account, name],
  )
  return row
}

/** Keeps the row as it is until the transaction ends. */
export async function lockDefinition<Spec>(
  tx: Tx,
  table: DefinitionTable,
  { account, name }: { readonly account: string; readonly name: string },
): Promise<DefinitionRow<Spec> | undefined> {
  const [row] = await tx.query<DefinitionRow<Spec>>(
    `select ${columns} from ${table} where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

export function listDefinitions<Spec>(
  sql: Sql,
  table: DefinitionTable,
  page: { readonly account: string; readonly after: string; readonly limit: number },
): Promise<Array<DefinitionRow<Spec>>> {
  return sql.query<DefinitionRow<Spec>>(
    `select ${columns} from ${table} where account = $1 and name > $2 order by name limit $3`,
    [page.account, page.after, page.limit],
  )
}

/** Which of these names are there. */
export async function findDefinitionNames(
  sql: Sql,
  table: DefinitionTable,
  { account, names }: { readonly account: string; readonly names: readonly string[] },
): Promise<string[]> {
  const rows = await sql.query<{ name: string }>(`select name from ${table} where account = $1 and name = any ($2)`, [
    account,
    names,
  ])
  return rows.map(({ name }) => name)
}

/** All of an account: their number is limited. */
export function readDefinitions<Spec>(
  sql: Sql,
  table: DefinitionTable,
  account: string,
): Promise<Array<DefinitionRow<Spec>>> {
  return sql.query<DefinitionRow<Spec>>(`select ${columns} from ${table} where account = $1 order by name`, [account])
}

export async function countDefinitions(sql: Sql, table: DefinitionTable, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(`select count(*)::int as count from ${table} where account = $1`, [
    account,
  ])
  return row?.count ?? 0
}

/** Creates or replaces; id and the time of creation stay. */
export async function putDefinition<Spec>(
  tx: Tx,
  table: DefinitionTable,
  { definition, now }: { readonly definition: Definition<Spec>; readonly now: number },
): Promise<DefinitionRow<Spec>> {
  const { account, name, id, description, spec, changedBy } = definition
  const [row] = await tx.query<DefinitionRow<Spec>>(
    `insert into ${table} (account, name, id, description, spec, created_at, changed_at, changed_by)
     values ($1, $2, $3, $4, $5, to_timestamp($6::float8 / 1000), to_timestamp($6::float8 / 1000), $7)
     on conflict (account, name) do update set description = excluded.description, spec = excluded.spec,
       changed_at = excluded.changed_at, changed_by = excluded.changed_by, version = ${table}.version + 1
     returning ${columns}`,
    [account, name, id, description, JSON.stringify(spec), now, changedBy],
  )
  assert(row, "an upsert returns its row")
  return row
}

export async function deleteDefinition(tx: Tx, table: DefinitionTable, row: { account: string; name: string }) {
  await tx.query(`delete from ${table} where account = $1 and name = $2`, [row.account, row.name])
}
