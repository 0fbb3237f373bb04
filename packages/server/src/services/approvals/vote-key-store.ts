/** The SQL of the keys that members sign votes with. Instants are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import type { PersonRef } from "./definitions.ts"

export interface VoteKeyRow {
  readonly account: string
  readonly id: string
  readonly member: PersonRef
  readonly publicKey: string
  readonly note: string | null
  readonly version: number
  readonly createdAt: number
  readonly revokedAt: number | null
  readonly revokedBy: string | null
}

const columns = `account, id, member, public_key as "publicKey", note, version, created_at as "createdAt",
  revoked_at as "revokedAt", revoked_by as "revokedBy"`

export async function findVoteKey(sql: Sql, account: string, id: string): Promise<VoteKeyRow | undefined> {
  const [row] = await sql.query<VoteKeyRow>(`select ${columns} from vote_keys where account = $1 and id = $2`, [
    account,
    id,
  ])
  return row
}

export async function lockVoteKey(tx: Tx, account: string, id: string): Promise<VoteKeyRow | undefined> {
  const [row] = await tx.query<VoteKeyRow>(
    `select ${columns} from vote_keys where account = $1 and id = $2 for update`,
    [account, id],
  )
  return row
}

/** By id. */
export async function listVoteKeys(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number; readonly member?: string | undefined },
): Promise<VoteKeyRow[]> {
  return sql.query<VoteKeyRow>(
    `select ${columns} from vote_keys
     where account = $1 and id > $2 and ($4::text is null or member->>'key' = $4) order by id limit $3`,
    [account, page.after, page.limit, page.member ?? null],
  )
}

export async function countVoteKeys(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>("select count(*)::int as count from vote_keys where account = $1", [
    account,
  ])
  return row?.count ?? 0
}

/** Undefined where the key is registered already. */
export async function insertVoteKey(
  tx: Tx,
  key: Pick<VoteKeyRow, "account" | "id" | "member" | "publicKey" | "note" | "createdAt">,
): Promise<VoteKeyRow | undefined> {
  const [row] = await tx.query<VoteKeyRow>(
    `insert into vote_keys (account, id, member, public_key, note, created_at)
     values ($1, $2, $3, $4, $5, to_timestamp($6::float8 / 1000)) on conflict do nothing returning ${columns}`,
    [key.account, key.id, JSON.stringify(key.member), key.publicKey, key.note, key.createdAt],
  )
  return row
}

export async function revokeVoteKey(
  tx: Tx,
  row: VoteKeyRow,
  by: { readonly principal: string; readonly now: number },
): Promise<VoteKeyRow> {
  const [revoked] = await tx.query<VoteKeyRow>(
    `update vote_keys set revoked_at = to_timestamp($3::float8 / 1000), revoked_by = $4, version = version + 1
     where account = $1 and id = $2 returning ${columns}`,
    [row.account, row.id, by.now, by.principal],
  )
  assert(revoked, "a locked row is updated")
  return revoked
}
