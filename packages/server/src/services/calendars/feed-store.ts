import type { Sql, Tx } from "../../storage/database.ts"

/** The SQL of calendar feeds. */
export interface FeedRow {
  readonly account: string
  readonly id: string
  readonly calendar: string
  readonly note: string | null
  readonly secretHash: string
  readonly createdAt: number
  readonly createdBy: string
}

const columns = `account, id, calendar, note, secret_hash as "secretHash", created_at as "createdAt",
  created_by as "createdBy"`

export async function findFeed(sql: Sql, account: string, id: string): Promise<FeedRow | undefined> {
  const [row] = await sql.query<FeedRow>(`select ${columns} from calendar_feeds where account = $1 and id = $2`, [
    account,
    id,
  ])
  return row
}

export async function listFeeds(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<FeedRow[]> {
  return sql.query<FeedRow>(
    `select ${columns} from calendar_feeds where account = $1 and id > $2 order by id limit $3`,
    [account, page.after, page.limit],
  )
}

export async function countFeeds(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>("select count(*) as count from calendar_feeds where account = $1", [
    account,
  ])
  return row?.count ?? 0
}

export async function insertFeed(tx: Tx, row: FeedRow): Promise<void> {
  await tx.query(
    `insert into calendar_feeds (account, id, calendar, note, secret_hash, created_at, created_by)
     values ($1, $2, $3, $4, $5, to_timestamp($6::float8 / 1000), $7)`,
    [row.account, row.id, row.calendar, row.note, row.secretHash, row.createdAt, row.createdBy],
  )
}

/** Gives the feed that went, or undefined where there was none. */
export async function deleteFeed(tx: Tx, account: string, id: string): Promise<FeedRow | undefined> {
  const [row] = await tx.query<FeedRow>(
    `delete from calendar_feeds where account = $1 and id = $2 returning ${columns}`,
    [account, id],
  )
  return row
}
