/** Answer links as rows: what each is bound to, and whether it was used. */
import type { Person } from "@signalbox/approvals/template-rules"
import type { Sql, Tx } from "../../storage/database.ts"

export interface LinkRow {
  readonly requestId: string
  readonly id: string
  readonly account: string
  /** From 1. */
  readonly level: number
  /** Key of the seat; null of the requester's link. */
  readonly seat: string | null
  readonly person: Person
  readonly digest: string
  readonly expiresAt: number
  readonly usedAt: number | null
  readonly usedFor: string | null
}

/** A link that is sent again lives on. */
export async function putLink(sql: Sql, link: Omit<LinkRow, "usedAt" | "usedFor">, now: number): Promise<void> {
  await sql.query(
    `insert into approval_links (request_id, id, account, level, seat, person, digest, created_at, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, to_timestamp($8::float8 / 1000), to_timestamp($9::float8 / 1000))
     on conflict (request_id, id) do update set expires_at = greatest(approval_links.expires_at, excluded.expires_at)`,
    [
      link.requestId,
      link.id,
      link.account,
      link.level,
      link.seat,
      JSON.stringify(link.person),
      link.digest,
      now,
      link.expiresAt,
    ],
    { name: "approval-links-put" },
  )
}

export async function findLink(
  sql: Sql,
  { account, requestId, linkId }: { readonly account: string; readonly requestId: string; readonly linkId: string },
): Promise<LinkRow | undefined> {
  const [row] = await sql.query<LinkRow>(
    `select request_id as "requestId", id, account, level, seat, person, digest, expires_at as "expiresAt",
       used_at as "usedAt", used_for as "usedFor"
     from approval_links where account = $1 and request_id = $2 and id = $3`,
    [account, requestId, linkId],
    { name: "approval-links-find" },
  )
  return row
}

/** False where it was used before. */
export async function useLink(
  tx: Tx,
  { requestId, id }: LinkRow,
  { choice, now }: { readonly choice: string; readonly now: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update approval_links set used_at = to_timestamp($3::float8 / 1000), used_for = $4
     where request_id = $1 and id = $2 and used_at is null returning 1`,
    [requestId, id, now, choice],
  )
  return rows.length > 0
}
