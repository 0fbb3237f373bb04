import type { Sql, Tx } from "../../storage/database.ts"

/** The SQL of reviews of calls that skipped closed calendars. */
export interface ReviewRow {
  readonly id: string
  readonly account: string
  readonly operation: string
  readonly requestId: string
  readonly principal: string
  readonly reason: string
  readonly calendars: readonly string[]
  readonly openedAt: number
  readonly closedAt: number | null
  readonly closedBy: string | null
  readonly comment: string | null
}

const columns = `id, account, operation, request_id as "requestId", principal, reason, calendars,
  opened_at as "openedAt", closed_at as "closedAt", closed_by as "closedBy", comment`

/** Gives the review that was opened; undefined where it is there already. */
export async function insertReview(
  tx: Tx,
  row: Omit<ReviewRow, "closedAt" | "closedBy" | "comment">,
): Promise<ReviewRow | undefined> {
  const [inserted] = await tx.query<ReviewRow>(
    `insert into break_glass_reviews (id, account, operation, request_id, principal, reason, calendars, opened_at)
     values ($1, $2, $3, $4, $5, $6, $7, to_timestamp($8::float8 / 1000))
     on conflict (id) do nothing returning ${columns}`,
    [row.id, row.account, row.operation, row.requestId, row.principal, row.reason, row.calendars, row.openedAt],
  )
  return inserted
}

export async function findReview(sql: Sql, account: string, id: string): Promise<ReviewRow | undefined> {
  const [row] = await sql.query<ReviewRow>(
    `select ${columns} from break_glass_reviews where id = $1 and account = $2`,
    [id, account],
  )
  return row
}

export async function lockReview(tx: Tx, account: string, id: string): Promise<ReviewRow | undefined> {
  const [row] = await tx.query<ReviewRow>(
    `select ${columns} from break_glass_reviews where id = $1 and account = $2 for update`,
    [id, account],
  )
  return row
}

/** The newest first; `before` is the last one of the page before. */
export async function listReviews(
  sql: Sql,
  account: string,
  page: {
    readonly state: "open" | "closed" | undefined
    readonly before: { readonly openedAt: number; readonly id: string } | undefined
    readonly limit: number
  },
): Promise<ReviewRow[]> {
  return sql.query<ReviewRow>(
    `select ${columns} from break_glass_reviews
     where account = $1 and ($2::text is null or (closed_at is null) = ($2 = 'open'))
       and ($3::float8 is null or opened_at < to_timestamp($3 / 1000)
         or (opened_at = to_timestamp($3 / 1000) and id > $4))
     order by opened_at desc, id limit $5`,
    [account, page.state ?? null, page.before?.openedAt ?? null, page.before?.id ?? "", page.limit],
  )
}

export async function closeReview(
  tx: Tx,
  of: {
    readonly account: string
    readonly id: string
    readonly closedAt: number
    readonly closedBy: string
    readonly comment: string
  },
): Promise<ReviewRow | undefined> {
  const [row] = await tx.query<ReviewRow>(
    `update break_glass_reviews set closed_at = to_timestamp($3::float8 / 1000), closed_by = $4, comment = $5
     where id = $1 and account = $2 returning ${columns}`,
    [of.id, of.account, of.closedAt, of.closedBy, of.comment],
  )
  return row
}
