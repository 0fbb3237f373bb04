import type { Sql, Tx } from "../../storage/database.ts"

/** The SQL of node groups. Instants are milliseconds. */
export interface GroupRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly description: string | null
  readonly query: string | null
  readonly nodes: readonly string[] | null
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
}

const columns = `account, name, id, description, query, nodes, version, created_at as "createdAt", changed_at as "changedAt"`

export async function findGroup(sql: Sql, account: string, name: string): Promise<GroupRow | undefined> {
  const [row] = await sql.query<GroupRow>(`select ${columns} from node_groups where account = $1 and name = $2`, [
    account,
    name,
  ])
  return row
}

export async function lockGroup(tx: Tx, account: string, name: string): Promise<GroupRow | undefined> {
  const [row] = await tx.query<GroupRow>(
    `select ${columns} from node_groups where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

/** Creates or replaces a group; the id and the time of creation stay. */
export async function putGroup(
  tx: Tx,
  group: Omit<GroupRow, "version" | "createdAt" | "changedAt"> & { readonly now: number },
): Promise<GroupRow | undefined> {
  const [row] = await tx.query<GroupRow>(
    `insert into node_groups (account, name, id, description, query, nodes, created_at, changed_at)
     values ($1, $2, $3, $4, $5, $6, to_timestamp($7 / 1000.0), to_timestamp($7 / 1000.0))
     on conflict (account, name) do update
       set description = excluded.description, query = excluded.query, nodes = excluded.nodes,
           changed_at = excluded.changed_at, version = node_groups.version + 1
     returning ${columns}`,
    [group.account, group.name, group.id, group.description, group.query, group.nodes, group.now],
  )
  return row
}

export async function countGroups(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    "select count(*)::int as count from node_groups where account = $1",
    [account],
  )
  return row?.count ?? 0
}

export async function deleteGroup(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("delete from node_groups where account = $1 and name = $2", [account, name])
}

export async function listGroups(
  sql: Sql,
  account: string,
  page: { readonly afterName: string; readonly limit: number },
): Promise<GroupRow[]> {
  return sql.query<GroupRow>(
    `select ${columns} from node_groups where account = $1 and name > $2 order by name limit $3`,
    [account, page.afterName, page.limit],
  )
}
