/** The SQL of delegations and absences. Instants are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import type { PersonRef } from "./definitions.ts"

export interface DelegationRow {
  readonly account: string
  readonly id: string
  readonly member: PersonRef
  /** Null: the member is absent and nobody answers. */
  readonly delegate: PersonRef | null
  readonly fromAt: number
  readonly untilAt: number
  readonly note: string | null
  readonly version: number
  readonly createdAt: number
  readonly createdBy: string
  readonly endedAt: number | null
}

const columns = `account, id, member, delegate, from_at as "fromAt", until_at as "untilAt", note, version,
  created_at as "createdAt", created_by as "createdBy", ended_at as "endedAt"`

export async function lockDelegation(tx: Tx, account: string, id: string): Promise<DelegationRow | undefined> {
  const [row] = await tx.query<DelegationRow>(
    `select ${columns} from approval_delegations where account = $1 and id = $2 for update`,
    [account, id],
  )
  return row
}

/** Those that hold now or later, by id. */
export async function listDelegations(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number; readonly now: number; readonly member?: string | undefined },
): Promise<DelegationRow[]> {
  return sql.query<DelegationRow>(
    `select ${columns} from approval_delegations
     where account = $1 and id > $2 and ended_at is null and until_at > to_timestamp($3::float8 / 1000)
       and ($5::text is null or member->>'key' = $5 or delegate->>'key' = $5)
     order by id limit $4`,
    [account, page.after, page.now, page.limit, page.member ?? null],
  )
}

/** Those that have not ended; by the database's clock, which decides nothing here: it only leaves the old ones out. */
export async function readDelegations(sql: Sql, account: string): Promise<DelegationRow[]> {
  return sql.query<DelegationRow>(
    `select ${columns} from approval_delegations where account = $1 and ended_at is null order by id`,
    [account],
  )
}

export async function insertDelegation(
  tx: Tx,
  delegation: Omit<DelegationRow, "version" | "endedAt">,
): Promise<DelegationRow> {
  const { account, id, member, delegate, fromAt, untilAt, note, createdAt, createdBy } = delegation
  const [row] = await tx.query<DelegationRow>(
    `insert into approval_delegations (account, id, member, delegate, from_at, until_at, note, created_at, created_by)
     values ($1, $2, $3, $4, to_timestamp($5::float8 / 1000), to_timestamp($6::float8 / 1000), $7,
       to_timestamp($8::float8 / 1000), $9)
     returning ${columns}`,
    [
      account,
      id,
      JSON.stringify(member),
      delegate === null ? null : JSON.stringify(delegate),
      fromAt,
      untilAt,
      note,
      createdAt,
      createdBy,
    ],
  )
  assert(row, "an insert returns its row")
  return row
}

export async function endDelegation(tx: Tx, row: DelegationRow, now: number): Promise<DelegationRow> {
  const [ended] = await tx.query<DelegationRow>(
    `update approval_delegations set ended_at = to_timestamp($3::float8 / 1000), version = version + 1
     where account = $1 and id = $2 returning ${columns}`,
    [row.account, row.id, now],
  )
  assert(ended, "a locked row is updated")
  return ended
}

export async function countDelegations(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    "select count(*)::int as count from approval_delegations where account = $1 and ended_at is null",
    [account],
  )
  return row?.count ?? 0
}

/** Ends delegations whose time is over; gives how many. */
export async function closeDelegations(sql: Sql, now: number, limit: number): Promise<number> {
  const rows = await sql.query(
    `update approval_delegations set ended_at = until_at, version = version + 1
     where (account, id) in (
       select account, id from approval_delegations
       where ended_at is null and until_at < to_timestamp($1::float8 / 1000) limit $2)
     returning 1`,
    [now, limit],
  )
  return rows.length
}
