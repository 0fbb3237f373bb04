/**
 * The floor: plain SQL that writes the rows of the same lives in as many transactions with as many clients. It decides
 * nothing, calls nobody and has no job queue.
 */
import pg from "pg"
import type { Connection } from "../measure.ts"

const account = "main"
const content = JSON.stringify({ chairs: 200, reason: "the new office", supplier: "sitwell" })

/** Events, audit record, idempotency record: what accompanies every change. */
const recordStatement = `with e as (
    insert into outbox (account, aggregate_id, id, type, subject, subject_version, cause, caused_by, depth, principal, data)
    select $1, $2, $3 || n, 'approval-request.voted', $2, $4 + n, $3, $3, 0, 'key', '{"digest":"0","member":"key"}'
    from generate_series(1, $5::int) n
  ), a as (
    insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, input_digest)
    values ($2, $3, $1, 'key', 'approval-requests.submit', $2, 'done', $3, 'digest')
  )
  insert into idempotency (id, account, operation, body_hash, status, response)
  values ($3, $1, 'approval-requests.submit', 'hash', 200, '{"id":"x","state":"open","title":"200 chairs"}')`

const requestStatement = `insert into approval_requests (id, account, state, type, title, revision, digest, attributes,
    content, state_data, next_timer_at, requester, submitter, unmatched, callback, version, cause, depth, submitted_at)
  values ($1, $2, 'open', 'purchase', '200 chairs', 1, 'digest', '{"project":"project-0"}', $3, $4,
    now() + interval '7 days', 'key', 'key', 'refuse', 'shop-0', 4, $1, 0, now())`

const waitsStatement = `insert into approval_waits (request_id, member_key, account, level, since)
  select $1, 'key-' || n, $2, 1, now() from generate_series(1, 2) n`

const voteStatement = `insert into approval_votes (request_id, number, account, level, level_name, member, voter, choice,
    digest, revision, via, at)
  values ($1, $2, $3, 1, 'only', '{"key":"k"}', '{"key":"k"}', 'approve', 'digest', 1, 'api', now())`

const saveStatement =
  "update approval_requests set state_data = $2, version = version + 1, decided_at = $3 where id = $1"

const deliveryStatement = `insert into deliveries (id, account, state, channel, via, message_id, event, message, cause,
    depth, created_at, next_at)
  values ($1, $2, 'pending', 'ada-0', 'webhook', $1, $3, '{"title":"200 chairs","facts":[]}', $1, 1, now(), now())`

const deliveredStatement = `update deliveries set state = 'delivered', next_at = null, claimed_until = null,
    tries = '[{"at":1}]', finished_at = now() where id = $1`

export interface FloorShape {
  /** The machine's state as ours keeps it: as many bytes. */
  readonly stateText: string
  readonly connections: number
}

export class Floor {
  transactions = 0
  readonly #pool: pg.Pool
  readonly #stateText: string
  #sequence = 0

  constructor(connection: Connection, { stateText, connections }: FloorShape) {
    this.#stateText = stateText
    this.#pool = new pg.Pool({ ...connection, max: connections, options: "-c search_path=signalbox" })
    // A database that ends while a connection of ours is closing is no fault of ours.
    this.#pool.on("error", () => {})
  }

  stop(): Promise<void> {
    return this.#pool.end()
  }

  /** One life, by one of the clients: twelve transactions. */
  async life(client: number): Promise<void> {
    const id = `apr-${client}-${this.#sequence++}-${Math.random()}`
    await this.#change({ id, events: 4, from: 0 }, async (connected) => {
      const values = [id, account, content, this.#stateText]
      await connected.query({ name: "request", text: requestStatement, values })
      await connected.query({ name: "waits", text: waitsStatement, values: [id, account] })
    })
    await this.#deliver(id)
    await this.#deliver(id)
    await this.#vote(id, 1)
    await this.#vote(id, 2)
    await this.#deliver(id)
  }

  #vote(id: string, number: number): Promise<void> {
    return this.#change({ id, events: number === 2 ? 3 : 1, from: 10 * number }, async (client) => {
      const decidedAt = number === 2 ? new Date() : null
      await client.query({ name: "save", text: saveStatement, values: [id, this.#stateText, decidedAt] })
      await client.query({ name: "vote", text: voteStatement, values: [id, number, account] })
      const text = "delete from approval_waits where request_id = $1 and member_key = $2"
      await client.query({ name: "unwait", text, values: [id, `key-${number}`] })
    })
  }

  /** Written, claimed, recorded. */
  async #deliver(request: string): Promise<void> {
    const id = `dlv-${this.#sequence++}-${Math.random()}`
    await this.#change({ id, events: 1, from: 0 }, async (client) => {
      const event = JSON.stringify({ id, type: "approval-request.decide", subject: request, data: {} })
      await client.query({ name: "delivery", text: deliveryStatement, values: [id, account, event] })
    })
    const claim = "update deliveries set attempts = 1, claimed_until = now() where id = $1"
    await this.#inTransaction((client) => client.query({ name: "claim", text: claim, values: [id] }))
    await this.#inTransaction((client) => client.query({ name: "delivered", text: deliveredStatement, values: [id] }))
  }

  #change(
    record: { readonly id: string; readonly events: number; readonly from: number },
    work: (client: pg.PoolClient) => Promise<void>,
  ): Promise<void> {
    const { id, events, from } = record
    return this.#inTransaction(async (client) => {
      await work(client)
      const values = [account, id, `${id}-${from}-${this.#sequence++}`, from, events]
      await client.query({ name: "record", text: recordStatement, values })
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
