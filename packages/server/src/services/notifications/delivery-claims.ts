/**
 * The SQL of sending: deliveries that are due are claimed for a time, and what came of their tries is recorded, many with
 * one statement. Instants are milliseconds.
 */
import type { Sql } from "../../storage/database.ts"
import { deliveryColumns, type DeliveryRow, type Try } from "./delivery-store.ts"
import type { ChannelSpec } from "./store.ts"

/** A delivery that this server is to send, with its channel as it is now: null where there is none (any more). */
export interface ClaimedDelivery extends DeliveryRow {
  readonly channelVia: string | null
  readonly channelSpec: ChannelSpec | null
}

/** Sends to one recipient that are under way in this server. */
export interface SendsUnderWay {
  readonly account: string
  readonly channel: string
  readonly count: number
}

export interface ClaimWishes {
  readonly now: number
  /** How long the claims are good. */
  readonly milliseconds: number
  readonly limit: number
  /** The most to one channel, those under way included. */
  readonly channelSendsMax: number
  readonly underWay: readonly SendsUnderWay[]
  /** The most that are looked at. */
  readonly windowMax: number
}

export interface Claims {
  readonly deliveries: readonly ClaimedDelivery[]
  /** Whether more may be due than was looked at: then the window may be full of those whose channels are busy. */
  readonly isWindowFull: boolean
}

const due = `state = 'pending' and next_at <= to_timestamp($1::float8 / 1000)
  and (claimed_until is null or claimed_until < now())`

/** The longest due first, whatever their channels. */
const oldest = `select id, account, channel, next_at from deliveries where ${due} order by next_at limit $6`

/** Of each channel that waits as many as it may have at once: one look at the index for each, however many wait. */
const ofEachChannel = `
  with recursive waiting as (
    (select account, channel from deliveries where state = 'pending' order by account, channel limit 1)
    union all
    select after.* from waiting w, lateral (
      select account, channel from deliveries
      where state = 'pending' and (account, channel) > (w.account, w.channel) order by account, channel limit 1) after)
  select first.* from waiting w, lateral (
    select id, account, channel, next_at from deliveries
    where account = w.account and channel = w.channel and ${due} order by next_at limit $4) first`

/** Two servers that look at once may find the same: the second finds them claimed when the first has committed. */
const claimStatement = (candidates: string): string => `
  with due as materialized (${candidates}),
  mine as materialized (
    select id from (
      select d.id, d.next_at,
        row_number() over (partition by d.account, d.channel order by d.next_at) + coalesce(u.count, 0) as place
      from due d left join jsonb_to_recordset($5) as u (account text, channel text, count int) using (account, channel)
    ) as placed where place <= $4 order by next_at limit $3),
  claimed as (
    update deliveries set attempts = attempts + 1, claimed_until = now() + make_interval(secs => $2::float8 / 1000)
    where id = any (array(select id from mine)) and state = 'pending' and (claimed_until is null or claimed_until < now())
    returning ${deliveryColumns})
  select (select count(*)::int from due) >= $6 as "isWindowFull", claimed.*, c.via as "channelVia", c.spec as "channelSpec"
  from (select 1) as one left join claimed on true
  left join channels c on c.account = claimed.account and c.name = claimed.channel`

const statements = {
  oldest: claimStatement(oldest),
  "of-each-channel": claimStatement(ofEachChannel),
} as const

/** Takes what is due, for a time, and counts a try of each. Nobody else has them until then. */
export async function claimDeliveries(sql: Sql, by: keyof typeof statements, wishes: ClaimWishes): Promise<Claims> {
  const { now, milliseconds, limit, channelSendsMax, underWay, windowMax } = wishes
  const rows = await sql.query<ClaimedDelivery & { isWindowFull: boolean }>(
    statements[by],
    [now, milliseconds, limit, channelSendsMax, JSON.stringify(underWay), windowMax],
    { name: `deliveries-claim-${by}` },
  )
  // One row at least: where nothing was claimed, one without a delivery.
  return { deliveries: rows.filter(({ id }) => id !== null), isWindowFull: rows[0]?.isWindowFull ?? false }
}

/** Gives a claimed delivery back as if it had not been tried. */
export async function releaseDelivery(sql: Sql, claimed: DeliveryRow): Promise<void> {
  await sql.query(
    `update deliveries set attempts = attempts - 1, claimed_until = null
     where account = $1 and id = $2 and state = 'pending' and attempts = $3`,
    [claimed.account, claimed.id, claimed.attempts],
  )
}

/** What a try came to. */
export interface TryOutcome {
  readonly claimed: Pick<DeliveryRow, "id" | "attempts">
  readonly state: "pending" | "delivered" | "dead"
  readonly nextAt: number | null
  readonly try: Try
}

/** Records what tries came to; gives the ids of those that no other server has taken since. */
export async function recordTries(sql: Sql, outcomes: readonly TryOutcome[]): Promise<ReadonlySet<string>> {
  const rows = outcomes.map(({ claimed, state, nextAt, try: tried }) => ({
    id: claimed.id,
    attempts: claimed.attempts,
    state,
    next_at: nextAt,
    try: tried,
    error: tried.failed ? tried.answer : null,
    ended: state === "pending" ? null : tried.at + tried.milliseconds,
  }))
  const recorded = await sql.query<{ id: string }>(
    `update deliveries d set state = t.state, next_at = to_timestamp(t.next_at / 1000), claimed_until = null,
       tries = d.tries || jsonb_build_array(t.try), last_error = t.error, finished_at = to_timestamp(t.ended / 1000)
     from jsonb_to_recordset($1) as t (id text, attempts int, state text, next_at float8, try jsonb, error text, ended float8)
     where d.id = t.id and d.state = 'pending' and d.attempts = t.attempts returning d.id`,
    [JSON.stringify(rows)],
    { name: "deliveries-record" },
  )
  return new Set(recorded.map(({ id }) => id))
}
