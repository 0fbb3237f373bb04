/** The SQL of approval groups. Instants are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import type { MemberDefinition } from "./definitions.ts"

export interface GroupRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly description: string | null
  readonly members: readonly MemberDefinition[]
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const columns = `account, name, id, description, members, version, created_at as "createdAt",
  changed_at as "changedAt", changed_by as "changedBy"`

export async function findGroup(sql: Sql, account: string, name: string): Promise<GroupRow | undefined> {
  const [row] = await sql.query<GroupRow>(`select ${columns} from approval_groups where account = $1 and name = $2`, [
    account,
    name,
  ])
  return row
}

export async function lockGroup(tx: Tx, account: string, name: string): Promise<GroupRow | undefined> {
  const [row] = await tx.query<GroupRow>(
    `select ${columns} from approval_groups where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

export async function listGroups(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<GroupRow[]> {
  return sql.query<GroupRow>(
    `select ${columns} from approval_groups where account = $1 and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

export async function readGroups(sql: Sql, account: string): Promise<GroupRow[]> {
  return sql.query<GroupRow>(`select ${columns} from approval_groups where account = $1`, [account])
}

export async function putGroup(
  tx: Tx,
  group: Pick<GroupRow, "account" | "name" | "id" | "description" | "members" | "changedBy">,
  now: number,
): Promise<GroupRow> {
  const { account, name, id, description, members, changedBy } = group
  const [row] = await tx.query<GroupRow>(
    `insert into approval_groups (account, name, id, description, members, created_at, changed_at, changed_by)
     values ($1, $2, $3, $4, $5, to_timestamp($6::float8 / 1000), to_timestamp($6::float8 / 1000), $7)
     on conflict (account, name) do update set description = excluded.description, members = excluded.members,
       version = approval_groups.version + 1, changed_at = excluded.changed_at, changed_by = excluded.changed_by
     returning ${columns}`,
    [account, name, id, description, JSON.stringify(members), now, changedBy],
  )
  assert(row, "an upsert returns its row")
  return row
}

export async function deleteGroup(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("delete from approval_groups where account = $1 and name = $2", [account, name])
}
