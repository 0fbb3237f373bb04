/** The SQL of channels and subscriptions. Instants and durations are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"

export interface ChannelSpec {
  readonly to?: readonly string[]
  readonly url?: string
  readonly urlSecret?: string
  readonly signingSecret?: string
}

export interface ChannelRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly description: string | null
  readonly via: string
  readonly spec: ChannelSpec
  readonly dropped: number
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const channelColumns = `account, name, id, description, via, spec, dropped, version, created_at as "createdAt",
  changed_at as "changedAt", changed_by as "changedBy"`

export async function findChannel(sql: Sql, account: string, name: string): Promise<ChannelRow | undefined> {
  const [row] = await sql.query<ChannelRow>(
    `select ${channelColumns} from channels where account = $1 and name = $2`,
    [account, name],
    { name: "channels-find" },
  )
  return row
}

/** Keeps the row as it is until the transaction ends. */
export async function lockChannel(tx: Tx, account: string, name: string): Promise<ChannelRow | undefined> {
  const [row] = await tx.query<ChannelRow>(
    `select ${channelColumns} from channels where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

export interface NamePage {
  readonly after: string
  readonly limit: number
}

export function listChannels(sql: Sql, account: string, page: NamePage): Promise<ChannelRow[]> {
  return sql.query<ChannelRow>(
    `select ${channelColumns} from channels where account = $1 and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

/** Creates or replaces a channel; its id and the time of its creation stay. */
export async function putChannel(
  tx: Tx,
  channel: Pick<ChannelRow, "account" | "name" | "id" | "description" | "via" | "spec" | "changedBy">,
  now: number,
): Promise<ChannelRow> {
  const { account, name, id, description, via, spec, changedBy } = channel
  const [row] = await tx.query<ChannelRow>(
    `insert into channels (account, name, id, description, via, spec, created_at, changed_at, changed_by)
     values ($1, $2, $3, $4, $5, $6, to_timestamp($7::float8 / 1000), to_timestamp($7::float8 / 1000), $8)
     on conflict (account, name) do update set description = excluded.description, via = excluded.via,
       spec = excluded.spec, changed_at = excluded.changed_at, changed_by = excluded.changed_by,
       version = channels.version + 1
     returning ${channelColumns}`,
    [account, name, id, description, via, JSON.stringify(spec), now, changedBy],
  )
  assert(row, "an upsert returns its row")
  return row
}

export async function deleteChannel(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("delete from channels where account = $1 and name = $2", [account, name])
}

export async function countDropped(sql: Sql, account: string, name: string): Promise<void> {
  await sql.query("update channels set dropped = dropped + 1 where account = $1 and name = $2", [account, name])
}

export async function countRows(sql: Sql, account: string, table: "channels" | "subscriptions"): Promise<number> {
  const [row] = await sql.query<{ count: number }>(`select count(*)::int as count from ${table} where account = $1`, [
    account,
  ])
  return row?.count ?? 0
}

export interface SubscriptionRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly description: string | null
  readonly channel: string
  readonly events: readonly string[]
  readonly condition: string | null
  readonly throttleMs: number | null
  readonly throttleBy: string | null
  readonly enabled: boolean
  readonly since: number
  readonly lastError: string | null
  readonly lastErrorAt: number | null
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const subscriptionColumns = `account, name, id, description, channel, events, condition, throttle_ms as "throttleMs",
  throttle_by as "throttleBy", enabled, since, last_error as "lastError", last_error_at as "lastErrorAt", version,
  created_at as "createdAt", changed_at as "changedAt", changed_by as "changedBy"`

export async function findSubscription(sql: Sql, account: string, name: string): Promise<SubscriptionRow | undefined> {
  const [row] = await sql.query<SubscriptionRow>(
    `select ${subscriptionColumns} from subscriptions where account = $1 and name = $2`,
    [account, name],
  )
  return row
}

export async function lockSubscription(tx: Tx, account: string, name: string): Promise<SubscriptionRow | undefined> {
  const [row] = await tx.query<SubscriptionRow>(
    `select ${subscriptionColumns} from subscriptions where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

export function listSubscriptions(sql: Sql, account: string, page: NamePage): Promise<SubscriptionRow[]> {
  return sql.query<SubscriptionRow>(
    `select ${subscriptionColumns} from subscriptions where account = $1 and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

export function listEnabledSubscriptions(sql: Sql, account: string): Promise<SubscriptionRow[]> {
  return sql.query<SubscriptionRow>(
    `select ${subscriptionColumns} from subscriptions where account = $1 and enabled order by name`,
    [account],
    { name: "subscriptions-enabled" },
  )
}

export async function listUsersOfChannel(sql: Sql, account: string, channel: string): Promise<string[]> {
  const rows = await sql.query<{ name: string }>(
    "select name from subscriptions where account = $1 and channel = $2 order by name",
    [account, channel],
  )
  return rows.map(({ name }) => name)
}

/** The patterns that any account's subscription has: what the reader of events looks for. */
export async function listWantedTypes(sql: Sql): Promise<string[]> {
  const rows = await sql.query<{ type: string }>(
    "select distinct unnest(events) as type from subscriptions where enabled order by 1",
    [],
    { name: "subscriptions-types" },
  )
  return rows.map(({ type }) => type)
}

export type SubscriptionDefinition = Pick<
  SubscriptionRow,
  "description" | "channel" | "events" | "condition" | "throttleMs" | "throttleBy" | "enabled"
>

/**
 * Creates or replaces a subscription. Without a `since` it is told of events from now on, by the clock that stamps
 * events: the database's.
 */
export async function putSubscription(
  tx: Tx,
  subscription: SubscriptionDefinition &
    Pick<SubscriptionRow, "account" | "name" | "id" | "changedBy"> & { readonly since: number | null },
  now: number,
): Promise<SubscriptionRow> {
  const { account, name, id, description, channel, events, condition, throttleMs, throttleBy } = subscription
  const { enabled, since, changedBy } = subscription
  const [row] = await tx.query<SubscriptionRow>(
    `insert into subscriptions (account, name, id, description, channel, events, condition, throttle_ms, throttle_by,
       enabled, since, created_at, changed_at, changed_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce(to_timestamp($11::float8 / 1000), now()),
       to_timestamp($12::float8 / 1000), to_timestamp($12::float8 / 1000), $13)
     on conflict (account, name) do update set description = excluded.description, channel = excluded.channel,
       events = excluded.events, condition = excluded.condition, throttle_ms = excluded.throttle_ms,
       throttle_by = excluded.throttle_by, enabled = excluded.enabled, since = excluded.since, last_error = null,
       last_error_at = null, changed_at = excluded.changed_at, changed_by = excluded.changed_by,
       version = subscriptions.version + 1
     returning ${subscriptionColumns}`,
    [
      account,
      name,
      id,
      description,
      channel,
      events,
      condition,
      throttleMs,
      throttleBy,
      enabled,
      since,
      now,
      changedBy,
    ],
  )
  assert(row, "an upsert returns its row")
  return row
}

export async function deleteSubscription(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("delete from subscriptions where account = $1 and name = $2", [account, name])
}

export async function noteExpressionError(
  sql: Sql,
  subscription: SubscriptionRow,
  at: { readonly message: string; readonly now: number },
): Promise<void> {
  await sql.query(
    `update subscriptions set last_error = $4, last_error_at = to_timestamp($5::float8 / 1000)
     where account = $1 and name = $2 and version = $3`,
    [subscription.account, subscription.name, subscription.version, at.message, at.now],
  )
}
