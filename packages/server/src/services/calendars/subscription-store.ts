import type { Database, Tx } from "../../storage/database.ts"

/** A subscribed calendar that is to be fetched now. */
export interface DueSubscription {
  readonly account: string
  readonly name: string
  readonly id: string
}

/** Takes what is due for itself until `claimedUntil`: who dies on the way lets another try then. */
export async function claimDueSubscriptions(
  database: Database,
  due: { readonly now: number; readonly claimedUntil: number; readonly limit: number },
): Promise<DueSubscription[]> {
  return database.query<DueSubscription>(
    `update change_calendars c set fetch_at = to_timestamp($2::float8 / 1000)
     from (
       select account, name from change_calendars where fetch_at <= to_timestamp($1::float8 / 1000)
       order by fetch_at limit $3 for update skip locked
     ) as due
     where c.account = due.account and c.name = due.name
     returning c.account, c.name, c.id`,
    [due.now, due.claimedUntil, due.limit],
    { name: "calendars-due-subscriptions" },
  )
}

/** Lets a subscribed calendar be fetched as soon as somebody looks. */
export async function setFetchAt(
  tx: Tx,
  of: { readonly account: string; readonly name: string; readonly at: number },
): Promise<void> {
  await tx.query(
    "update change_calendars set fetch_at = to_timestamp($3::float8 / 1000) where account = $1 and name = $2",
    [of.account, of.name, of.at],
  )
}
