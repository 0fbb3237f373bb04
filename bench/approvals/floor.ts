/**
 * The floor: plain SQL that writes the rows of the same lives in as many transactions with as many clients. It decides
 * nothing, calls nobody and has no job queue.
 */
import pg from "pg"
import type { Connection } from "../measure.ts"

const content = JSON.stringify({ chairs: 200, reason: "the new office", supplier: "sitwell" })
const account = "main"

export interface Floor {
  /** Transactions so far. */
  transactions(): number
  /** One life, by one of the clients. */
  life(client: number): Promise<void>
  stop(): Promise<void>
}

export interface FloorShape {
  /** The machine's state as ours keeps it: as many bytes. */
  readonly stateText: string
  readonly connections: number
}

export function startFloor(connection: Connection, { stateText, connections }: FloorShape): Floor {
  const pool = new pg.Pool({ ...connection, max: connections, options: "-c search_path=signalbox" })
  // A database that ends while a connection of ours is closing is no fault of ours.
  pool.on("error", () => {})
  let sequence = 0
  let transactions = 0
  const inTransaction = async (work: (client: pg.PoolClient) => Promise<void>): Promise<void> => {
    const client = await pool.connect()
    transactions += 1
    try {
      await client.query("begin")
      await work(client)
      await client.query("commit")
    } finally {
      client.release()
    }
  }
  /** Events, audit record, idempotency record: what accompanies every change. */
  const record = (client: pg.PoolClient, of: { id: string; events: number; from: number }) =>
    client.query({
      name: "record",
      text: `with e as (
          insert into outbox (account, aggregate_id, id, type, subject, subject_version, cause, caused_by, depth, principal, data)
          select $1, $2, $3 || n, 'approval-request.voted', $2, $4 + n, $3, $3, 0, 'key', '{"digest":"0","member":"key"}'
          from generate_series(1, $5::int) n
        ), a as (
          insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, input_digest)
          values ($2, $3, $1, 'key', 'approval-requests.submit', $2, 'done', $3, 'digest')
        )
        insert into idempotency (id, account, operation, body_hash, status, response)
        values ($3, $1, 'approval-requests.submit', 'hash', 200, '{"id":"x","state":"open","title":"200 chairs"}')`,
      values: [account, of.id, `${of.id}-${of.from}-${sequence++}`, of.from, of.events],
    })
  const deliver = async (request: string): Promise<void> => {
    const id = `dlv-${sequence++}-${Math.random()}`
    await inTransaction(async (client) => {
      await client.query({
        name: "delivery",
        text: `insert into deliveries (id, account, state, channel, via, message_id, event, message, cause, depth, created_at, next_at)
               values ($1, $2, 'pending', 'ada-0', 'webhook', $1, $3, '{"title":"200 chairs","facts":[]}', $1, 1, now(), now())`,
        values: [id, account, JSON.stringify({ id, type: "approval-request.decide", subject: request, data: {} })],
      })
      await record(client, { id, events: 1, from: 0 })
    })
    transactions += 1
    await pool.query({
      name: "claim",
      text: "update deliveries set attempts = 1, claimed_until = now() where id = $1",
      values: [id],
    })
    await inTransaction(async (client) => {
      await client.query({
        name: "delivered",
        text: `update deliveries set state = 'delivered', next_at = null, claimed_until = null, tries = '[{"at":1}]', finished_at = now() where id = $1`,
        values: [id],
      })
    })
  }
  const vote = (id: string, number: number): Promise<void> =>
    inTransaction(async (client) => {
      await client.query({
        name: "save",
        text: `update approval_requests set state_data = $2, version = version + 1, decided_at = $3 where id = $1`,
        values: [id, stateText, number === 2 ? new Date() : null],
      })
      await client.query({
        name: "vote",
        text: `insert into approval_votes (request_id, number, account, level, level_name, member, voter, choice, digest, revision, via, at)
               values ($1, $2, $3, 1, 'only', '{"key":"k"}', '{"key":"k"}', 'approve', 'digest', 1, 'api', now())`,
        values: [id, number, account],
      })
      await client.query({
        name: "unwait",
        text: "delete from approval_waits where request_id = $1 and member_key = $2",
        values: [id, `key-${number}`],
      })
      await record(client, { id, events: number === 2 ? 3 : 1, from: 10 * number })
    })
  return {
    transactions: () => transactions,
    async life(client) {
      const id = `apr-${client}-${sequence++}-${Math.random()}`
      await inTransaction(async (connected) => {
        await connected.query({
          name: "request",
          text: `insert into approval_requests (id, account, state, type, title, revision, digest, attributes, content, state_data,
                   next_timer_at, requester, submitter, unmatched, callback, version, cause, depth, submitted_at)
                 values ($1, $2, 'open', 'purchase', '200 chairs', 1, 'digest', '{"project":"project-0"}', $3, $4, now() + interval '7 days',
                   'key', 'key', 'refuse', 'shop-0', 4, $1, 0, now())`,
          values: [id, account, content, stateText],
        })
        await connected.query({
          name: "waits",
          text: `insert into approval_waits (request_id, member_key, account, level, since)
                 select $1, 'key-' || n, $2, 1, now() from generate_series(1, 2) n`,
          values: [id, account],
        })
        await record(connected, { id, events: 4, from: 0 })
      })
      await deliver(id)
      await deliver(id)
      await vote(id, 1)
      await vote(id, 2)
      await deliver(id)
    },
    stop: () => pool.end(),
  }
}
