import type { Sql, Tx } from "../../storage/database.ts"

export interface AccountRow {
  readonly account: string
  readonly title: string
  readonly created_at: number
}

export interface KeyRow {
  readonly id: string
  readonly name: string
  readonly roles: string[]
  /** The id of a user or service account; null where the key belongs to nobody. */
  readonly owner: string | null
  readonly secret_hash: string
  readonly version: number
  readonly created_at: number
  readonly created_by: string
  readonly expires_at: number | null
  readonly revoked_at: number | null
  /** A tag query. */
  readonly nodes: string | null
}

const keyColumns = "id, name, roles, owner, secret_hash, version, created_at, created_by, expires_at, revoked_at, nodes"

/** False where the account exists already. */
export async function insertAccount(tx: Tx, account: string, title: string): Promise<AccountRow | undefined> {
  const rows = await tx.query<AccountRow>(
    `insert into accounts (account, title) values ($1, $2) on conflict do nothing returning account, title, created_at`,
    [account, title],
  )
  return rows[0]
}

export async function listAccounts(sql: Sql, after: string, limit: number): Promise<AccountRow[]> {
  return sql.query<AccountRow>(
    `select account, title, created_at from accounts where account > $1 order by account limit $2`,
    [after, limit],
  )
}

export interface NewKey {
  readonly account: string
  readonly id: string
  readonly name: string
  readonly roles: readonly string[]
  readonly owner?: string | undefined
  readonly secretHash: string
  readonly createdBy: string
  readonly expiresAt?: string | undefined
  readonly nodes?: string | undefined
}

export async function insertKey(tx: Tx, key: NewKey): Promise<KeyRow> {
  const [row] = await tx.query<KeyRow>(
    `insert into api_keys (account, id, name, roles, secret_hash, created_by, expires_at, owner, nodes)
     values ($1, $2, $3, $4, $5, $6, $7::timestamptz, $8, $9) returning ${keyColumns}`,
    [
      key.account,
      key.id,
      key.name,
      key.roles,
      key.secretHash,
      key.createdBy,
      key.expiresAt ?? null,
      key.owner ?? null,
      key.nodes ?? null,
    ],
  )
  return row as KeyRow
}

export async function countKeys(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    `select count(*)::int as count from api_keys
     where account = $1 and revoked_at is null and (expires_at is null or expires_at > now())`,
    [account],
  )
  return row?.count ?? 0
}

/** Keys that were good for nothing any more at an instant (`before`). */
export async function removeOldKeys(sql: Sql, options: { before: number; limit: number }): Promise<number> {
  const rows = await sql.query(
    `delete from api_keys where (account, id) in (
       select account, id from api_keys
       where coalesce(revoked_at, expires_at) < to_timestamp($1::float8 / 1000) limit $2) returning 1`,
    [options.before, options.limit],
  )
  return rows.length
}

export async function readKeys(sql: Sql, account: string): Promise<KeyRow[]> {
  return sql.query<KeyRow>(`select ${keyColumns} from api_keys where account = $1`, [account])
}

export async function listKeys(sql: Sql, account: string, page: { after: string; limit: number }): Promise<KeyRow[]> {
  return sql.query<KeyRow>(`select ${keyColumns} from api_keys where account = $1 and id > $2 order by id limit $3`, [
    account,
    page.after,
    page.limit,
  ])
}

export async function lockKey(tx: Tx, account: string, id: string): Promise<KeyRow | undefined> {
  const [row] = await tx.query<KeyRow>(`select ${keyColumns} from api_keys where account = $1 and id = $2 for update`, [
    account,
    id,
  ])
  return row
}

export async function assignKey(tx: Tx, key: { account: string; id: string; owner: string }): Promise<KeyRow> {
  const [row] = await tx.query<KeyRow>(
    `update api_keys set owner = $3, version = version + 1 where account = $1 and id = $2 returning ${keyColumns}`,
    [key.account, key.id, key.owner],
  )
  return row as KeyRow
}

/** Marks a key revoked; a second time changes nothing. Undefined where there is no such key. */
export async function revokeKey(
  tx: Tx,
  account: string,
  id: string,
): Promise<{ row: KeyRow; changed: boolean } | undefined> {
  const before = await lockKey(tx, account, id)
  if (!before) return undefined
  if (before.revoked_at !== null) return { row: before, changed: false }
  const [row] = await tx.query<KeyRow>(
    `update api_keys set revoked_at = now(), version = version + 1 where account = $1 and id = $2 returning ${keyColumns}`,
    [account, id],
  )
  return { row: row as KeyRow, changed: true }
}
