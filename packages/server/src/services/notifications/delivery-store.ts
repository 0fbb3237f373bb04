/** The SQL of deliveries: each is an aggregate of its own. Instants are milliseconds. */
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"
import type { Message, NotifiedEvent } from "./model.ts"

export interface Try {
  readonly at: number
  readonly milliseconds: number
  readonly answer: string
  readonly failed: boolean
}

export interface DeliveryRow {
  readonly id: string
  readonly account: string
  readonly state: string
  readonly channel: string
  readonly via: string
  readonly subscription: string | null
  /** The same for every try and every redelivery: receivers tell repeats by it. */
  readonly messageId: string
  readonly event: NotifiedEvent
  readonly message: Message
  readonly attempts: number
  readonly tries: readonly Try[]
  readonly nextAt: number | null
  readonly lastError: string | null
  readonly suppressed: number
  readonly redeliveryOf: string | null
  readonly cause: string
  readonly depth: number
  readonly createdAt: number
  readonly finishedAt: number | null
}

export const deliveryColumns = `id, account, state, channel, via, subscription, message_id as "messageId", event, message, attempts,
  tries, next_at as "nextAt", last_error as "lastError", suppressed, redelivery_of as "redeliveryOf", cause, depth,
  created_at as "createdAt", finished_at as "finishedAt"`

export type NewDelivery = Pick<
  DeliveryRow,
  "id" | "account" | "channel" | "via" | "subscription" | "messageId" | "event" | "message" | "cause" | "depth"
> & {
  readonly throttleGroup: string | null
  readonly suppressed: number
  readonly redeliveryOf: string | null
  readonly createdAt: number
}

/** Of a channel by its name, or of an address, which needs no channel. */
export interface Sent {
  readonly isNew: boolean
  /** Null where there is no such channel: then nothing was written. */
  readonly via: string | null
  /** True where so many wait for the recipient already: then nothing was written. */
  readonly isFull: boolean
}

/** Writes a delivery by its channel's way, unless too many wait for the channel: with one statement. */
export async function sendDelivery(
  tx: Tx,
  delivery: Omit<NewDelivery, "via" | "subscription" | "throttleGroup" | "suppressed" | "redeliveryOf">,
  terms: { readonly isAddress: boolean; readonly pendingMax: number },
): Promise<Sent> {
  const { id, account, channel, messageId, event, message, cause, depth, createdAt } = delivery
  const [row] = await tx.query<Sent>(
    `with way as (
       select coalesce((select via from channels where account = $2 and name = $3), case when $11 then 'mail' end) as via,
         exists (
           select 1 from deliveries where account = $2 and channel = $3 and state = 'pending' offset $12 limit 1) as "isFull"),
     made as (
       insert into deliveries (id, account, state, channel, via, message_id, event, message, cause, depth, created_at, next_at)
       select $1, $2, 'pending', $3, via, $4, $5, $6, $7, $8, to_timestamp($9::float8 / 1000), to_timestamp($10::float8 / 1000)
       from way where via is not null and not "isFull"
       on conflict (id) do nothing returning 1)
     select via, "isFull", exists (select 1 from made) as "isNew" from way`,
    [
      ...[id, account, channel, messageId, JSON.stringify(event), JSON.stringify(message), cause, depth],
      ...[createdAt, createdAt, terms.isAddress, terms.pendingMax - 1],
    ],
    { name: "deliveries-send" },
  )
  assert(row, "a statement about one channel gives one row")
  return row
}

/** False where it was there already: the event is being handled a second time. */
export async function insertDelivery(tx: Tx, delivery: NewDelivery): Promise<boolean> {
  const rows = await tx.query(
    `insert into deliveries (id, account, state, channel, via, subscription, throttle_group, message_id, event, message,
       suppressed, redelivery_of, cause, depth, created_at, next_at)
     values ($1, $2, 'pending', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, to_timestamp($14::float8 / 1000),
       to_timestamp($14::float8 / 1000))
     on conflict (id) do nothing returning 1`,
    [
      delivery.id,
      delivery.account,
      delivery.channel,
      delivery.via,
      delivery.subscription,
      delivery.throttleGroup,
      delivery.messageId,
      JSON.stringify(delivery.event),
      JSON.stringify(delivery.message),
      delivery.suppressed,
      delivery.redeliveryOf,
      delivery.cause,
      delivery.depth,
      delivery.createdAt,
    ],
    { name: "deliveries-insert" },
  )
  return rows.length > 0
}

export async function findDelivery(sql: Sql, account: string, id: string): Promise<DeliveryRow | undefined> {
  const [row] = await sql.query<DeliveryRow>(
    `select ${deliveryColumns} from deliveries where account = $1 and id = $2`,
    [account, id],
  )
  return row
}

export interface DeliveryFilter {
  readonly state?: string | undefined
  readonly channel?: string | undefined
  readonly subscription?: string | undefined
  readonly subject?: string | undefined
  readonly before?: { readonly time: number; readonly id: string } | undefined
  readonly limit: number
}

export function listDeliveries(sql: Sql, account: string, filter: DeliveryFilter): Promise<DeliveryRow[]> {
  return sql.query<DeliveryRow>(
    `select ${deliveryColumns} from deliveries
     where account = $1 and ($2::text is null or state = $2) and ($3::text is null or channel = $3)
       and ($4::text is null or subscription = $4) and ($5::text is null or event->>'subject' = $5)
       and ($6::float8 is null or (created_at, id) < (to_timestamp($6 / 1000), $7))
     order by created_at desc, id desc limit $8`,
    [
      account,
      filter.state ?? null,
      filter.channel ?? null,
      filter.subscription ?? null,
      filter.subject ?? null,
      filter.before?.time ?? null,
      filter.before?.id ?? null,
      filter.limit,
    ],
  )
}

/** Deliveries of a channel that wait, counted up to a limit. */
export async function countPending(
  sql: Sql,
  account: string,
  of: { readonly channel: string; readonly max: number },
): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    `select count(*)::int as count from (
       select 1 from deliveries where account = $1 and channel = $2 and state = 'pending' limit $3) as waiting`,
    [account, of.channel, of.max],
  )
  return row?.count ?? 0
}

/** Until the transaction ends nobody else decides about this group: two events at once make one delivery. */
export async function lockThrottleGroup(tx: Tx, group: readonly string[]): Promise<void> {
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [JSON.stringify(group)])
}

/** The last delivery of a group: when it was, and how many events it held back. */
export async function findLastOfGroup(
  tx: Tx,
  account: string,
  of: { readonly subscription: string; readonly group: string },
): Promise<{ id: string; createdAt: number; heldBack: number } | undefined> {
  const [row] = await tx.query<{ id: string; createdAt: number; heldBack: number }>(
    `select id, created_at as "createdAt", held_back as "heldBack" from deliveries
     where account = $1 and subscription = $2 and throttle_group = $3 order by created_at desc, id desc limit 1`,
    [account, of.subscription, of.group],
  )
  return row
}

export async function holdBack(tx: Tx, account: string, id: string): Promise<void> {
  await tx.query("update deliveries set held_back = held_back + 1 where account = $1 and id = $2", [account, id])
}

/** Removes deliveries that are past their retention; gives how many. */
export async function removeOldDeliveries(
  sql: Sql,
  at: { readonly before: number; readonly limit: number },
): Promise<number> {
  const rows = await sql.query(
    `delete from deliveries where id in (
       select id from deliveries where created_at < to_timestamp($1::float8 / 1000) and state <> 'pending' limit $2)
     returning 1`,
    [at.before, at.limit],
  )
  return rows.length
}
