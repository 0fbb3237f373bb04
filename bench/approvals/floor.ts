/**
 * The floor: plain SQL that writes the rows of the same lives with as many clients, in as many transactions: one for each
 * change, link and message that a life makes, and one for the messages that leave together (claimed, recorded). Ours does
 * that for several lives at once, in two, and needs what it spares so for its jobs. The floor decides nothing, calls nobody,
 * reads nothing and has no job queue.
 */
import pg from "pg"
import type { Connection } from "../measure.ts"

const account = "main"
const content = JSON.stringify({ chairs: 200, reason: "the new office", supplier: "sitwell" })

/** Events and audit record: what accompanies every change. */
const eventsAndAudit = `with e as (
    insert into outbox (account, aggregate_id, id, type, subject, subject_version, cause, caused_by, depth, principal, data)
    select $1, $2, $3 || n, 'approval-request.voted', $2, $4 + n, $3, $3, 0, 'key', '{"digest":"0","member":"key"}'
    from generate_series(1, $5::int) n
  ), a as (
    insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, input_digest)
    values ($2, $3, $1, 'key', 'approval-requests.submit', $2, 'done', $3, 'digest')
  )`

/** What is called from outside has an idempotency record, too. */
const recordStatements = {
  called: `${eventsAndAudit} insert into idempotency (id, account, operation, body_hash, status, response)
    values ($3, $1, 'approval-requests.submit', 'hash', 200, '{"id":"x","state":"open","title":"200 chairs"}')`,
  internal: `${eventsAndAudit} select`,
} as const

const requestStatement = `insert into approval_requests (id, account, state, type, title, revision, digest, attributes,
    content, state_data, next_timer_at, requester, submitter, unmatched, callback, version, cause, depth, submitted_at)
  values ($1, $2, 'open', 'purchase', '200 chairs', 1, 'digest', '{"project":"project-0"}', $3, $4,
    now() + interval '7 days', 'key', 'key', 'refuse', 'shop-0', 4, $1, 0, now())`

const waitsStatement = `insert into approval_waits (request_id, member_key, account, level, since)
  select $1, 'key-' || n, $2, 1, now() from generate_series(1, 2) n`

const voteStatement = `insert into approval_votes (request_id, number, account, level, level_name, member, voter, choice,
    digest, revision, via, at, envelope)
  values ($1, $2, $3, 1, 'only', '{"key":"k"}', '{"key":"k"}', 'approve', 'digest', 1, 'api', now(), $4)`

const linkStatement = `insert into approval_links (request_id, id, account, level, seat, person, digest, created_at, expires_at)
  values ($1, 'link-' || $3::int, $2, 1, 'key-' || $3::int, '{"key":"k"}', 'digest', now(), now() + interval '14 days')`

const saveStatement =
  "update approval_requests set state_data = $2, version = version + 1, decided_at = $3 where id = $1"

const deliveryStatement = `insert into deliveries (id, account, state, channel, via, message_id, event, message, cause,
    depth, created_at, next_at)
  values ($1, $2, 'pending', $5, 'webhook', $1, $3, $4, $1, 1, now(), now())`

const claimStatement = "update deliveries set attempts = 1, claimed_until = now() where id = any ($1)"

const deliveredStatement = `update deliveries set state = 'delivered', next_at = null, claimed_until = null,
    tries = '[{"at":1}]', finished_at = now() where id = any ($1)`

/** What ours has written of a life, for as many bytes. */
export interface FloorShape {
  /** The machine's state. */
  readonly stateText: string
  /** A signed vote. */
  readonly envelope: string
  /** The messages of a life. */
  readonly deliveries: ReadonlyArray<{ readonly event: string; readonly message: string }>
  readonly connections: number
}

export class Floor {
  transactions = 0
  readonly #pool: pg.Pool
  readonly #shape: FloorShape
  #sequence = 0

  constructor(connection: Connection, shape: FloorShape) {
    this.#shape = shape
    this.#pool = new pg.Pool({ ...connection, max: shape.connections, options: "-c search_path=signalbox" })
    // PostgreSQL may stop before a connection that was ended is gone.
    this.#pool.on("connect", (client) => void client.on("error", () => {}))
    // A database that ends while a connection of ours is closing is no fault of ours.
    this.#pool.on("error", () => {})
  }

  stop(): Promise<void> {
    return this.#pool.end()
  }

  /** One life, by one of the clients: 12 transactions. */
  async life(client: number): Promise<void> {
    const id = `apr-${client}-${this.#sequence++}-${Math.random()}`
    const { stateText, deliveries } = this.#shape
    await this.#change({ id, events: 4, from: 0, by: "called" }, async (connected) => {
      const values = [id, account, content, stateText]
      await connected.query({ name: "request", text: requestStatement, values })
      await connected.query({ name: "waits", text: waitsStatement, values: [id, account] })
    })
    for (const number of [1, 2]) {
      const link = { name: "link", text: linkStatement, values: [id, account, number] }
      await this.#inTransaction((connected) => connected.query(link))
    }
    await this.#deliver(client, deliveries.slice(0, 2))
    await this.#vote(id, 1)
    await this.#vote(id, 2)
    await this.#deliver(client, deliveries.slice(2))
  }

  #vote(id: string, number: number): Promise<void> {
    return this.#change({ id, events: number === 2 ? 3 : 1, from: 10 * number, by: "called" }, async (client) => {
      const decidedAt = number === 2 ? new Date() : null
      await client.query({ name: "save", text: saveStatement, values: [id, this.#shape.stateText, decidedAt] })
      await client.query({ name: "vote", text: voteStatement, values: [id, number, account, this.#shape.envelope] })
      const text = "delete from approval_waits where request_id = $1 and member_key = $2"
      await client.query({ name: "unwait", text, values: [id, `key-${number}`] })
    })
  }

  /** Written one by one; claimed and recorded together. */
  async #deliver(client: number, deliveries: FloorShape["deliveries"]): Promise<void> {
    const ids: string[] = []
    for (const { event, message } of deliveries) {
      const id = `dlv-${this.#sequence++}-${Math.random()}`
      ids.push(id)
      await this.#change({ id, events: 1, from: 0, by: "internal" }, async (connected) => {
        const values = [id, account, event, message, `ada-${client}`]
        await connected.query({ name: "delivery", text: deliveryStatement, values })
      })
    }
    await this.#inTransaction(async (connected) => {
      await connected.query({ name: "claim", text: claimStatement, values: [ids] })
      await connected.query({ name: "delivered", text: deliveredStatement, values: [ids] })
    })
  }

  #change(
    record: {
      readonly id: string
      readonly events: number
      readonly from: number
      readonly by: keyof typeof recordStatements
    },
    work: (client: pg.PoolClient) => Promise<void>,
  ): Promise<void> {
    const { id, events, from, by } = record
    return this.#inTransaction(async (client) => {
      await work(client)
      const values = [account, id, `${id}-${from}-${this.#sequence++}`, from, events]
      await client.query({ name: `record-${by}`, text: recordStatements[by], values })
    })
  }

  async #inTransaction(work: (client: pg.PoolClient) => Promise<unknown>): Promise<void> {
    const client = await this.#pool.connect()
    this.transactions += 1
    try {
      await client.query("begin")
      await work(client)
      await client.query("commit")
    } finally {
      client.release()
    }
  }
}
