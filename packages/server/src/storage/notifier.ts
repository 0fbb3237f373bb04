/**
 * Hints between servers (D11). Owns one connection that both listens and notifies, so no transaction that changes
 * something ever takes PostgreSQL's notification lock. Notices of one channel are gathered for a few milliseconds.
 * A hint may be lost or late at any time: whoever listens also scans.
 */
import type pg from "pg"
import { assert } from "@signalbox/kernel/assert"
import { connectDirect, type Connection, type StorageLogger } from "./database.ts"

/** `payloads` is "missed" after the connection was lost: anything may have happened meanwhile. */
export type NoticeListener = (payloads: readonly string[] | "missed") => void

export const gatherMilliseconds = 5
/** PostgreSQL takes less than 8,000 bytes. */
const noticeBytesMax = 7_500
const payloadBytesMax = 1_000
const payloadsPendingMax = 10_000
const reconnectMillisecondsMin = 100
const reconnectMillisecondsMax = 5_000

export class Notifier {
  readonly #connection: Connection
  readonly #logger: StorageLogger | undefined
  readonly #listeners = new Map<string, Set<NoticeListener>>()
  readonly #pending = new Map<string, Set<string>>()
  #client: pg.Client | undefined
  #sending: Promise<void> = Promise.resolve()
  #gathering: NodeJS.Timeout | undefined
  #reconnecting: NodeJS.Timeout | undefined
  #reconnectMilliseconds = reconnectMillisecondsMin
  #closed = false

  private constructor(connection: Connection, logger?: StorageLogger) {
    this.#connection = connection
    this.#logger = logger
  }

  /** Connects; a later loss of the connection is mended in the background. @throws storage.unavailable */
  static async start(connection: Connection, logger?: StorageLogger): Promise<Notifier> {
    const notifier = new Notifier(connection, logger)
    await notifier.#connect()
    return notifier
  }

  /** Tells every server, this one too, after the transaction has committed. Never waits, never throws for a lost connection. */
  notify(channel: string, payload = ""): void {
    assert(/^[a-z_]{1,40}$/.test(channel), `"${channel}" is no channel name`)
    assert(Buffer.byteLength(payload) <= payloadBytesMax, "a notice carries an id, not the thing")
    if (this.#closed) return
    const payloads = this.#pending.get(channel) ?? new Set()
    if (payloads.size < payloadsPendingMax) payloads.add(payload)
    this.#pending.set(channel, payloads)
    this.#gathering ??= setTimeout(() => this.#flush(), gatherMilliseconds)
  }

  /** Calls `listener` for notices of a channel until the returned function is called. */
  subscribe(channel: string, listener: NoticeListener): () => void {
    assert(/^[a-z_]{1,40}$/.test(channel), `"${channel}" is no channel name`)
    const listeners = this.#listeners.get(channel)
    if (listeners) listeners.add(listener)
    else {
      this.#listeners.set(channel, new Set([listener]))
      const client = this.#client
      // Where this fails the connection is lost, and connecting again listens to every channel.
      this.#sending = this.#sending
        .then(() => client?.query(`listen ${channel}`))
        .then(
          () => {},
          () => {},
        )
    }
    return () => {
      this.#listeners.get(channel)?.delete(listener)
    }
  }

  /** Sends what is gathered, then disconnects. */
  async close(): Promise<void> {
    this.#flush()
    this.#closed = true
    clearTimeout(this.#reconnecting)
    await this.#sending
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(() => {})
  }

  async #connect(): Promise<void> {
    const client = await connectDirect(this.#connection)
    if (this.#closed) return void client.end().catch(() => {})
    client.on("notification", ({ channel, payload }) => this.#deliver(channel, payload ?? "[]"))
    client.on("end", () => this.#lost(client))
    client.on("error", () => this.#lost(client))
    this.#client = client
    try {
      for (const channel of this.#listeners.keys()) await client.query(`listen ${channel}`)
      this.#reconnectMilliseconds = reconnectMillisecondsMin
    } catch (error) {
      this.#lost(client)
      this.#logger?.warn({ reason: String(error) }, "listening for notices failed")
    }
  }

  #lost(client: pg.Client): void {
    if (this.#client !== client) return
    this.#client = undefined
    client.end().catch(() => {})
    this.#logger?.warn({}, "the connection for notices was lost; work goes on by scanning")
    this.#reconnectLater()
  }

  #reconnectLater(): void {
    if (this.#closed) return
    this.#reconnecting = setTimeout(() => {
      this.#connect().then(
        () => this.#tellMissed(),
        () => this.#reconnectLater(),
      )
    }, this.#reconnectMilliseconds)
    this.#reconnecting.unref()
    this.#reconnectMilliseconds = Math.min(this.#reconnectMilliseconds * 2, reconnectMillisecondsMax)
  }

  #tellMissed(): void {
    for (const listeners of this.#listeners.values()) for (const listener of listeners) listener("missed")
  }

  #deliver(channel: string, text: string): void {
    const payloads = JSON.parse(text) as string[]
    for (const listener of this.#listeners.get(channel) ?? []) listener(payloads)
  }

  #flush(): void {
    clearTimeout(this.#gathering)
    this.#gathering = undefined
    const notices = [...this.#pending].flatMap(([channel, payloads]) =>
      packNotices(payloads).map((text) => ({ channel, text })),
    )
    this.#pending.clear()
    const client = this.#client
    if (!client || notices.length === 0) return
    const channels = notices.map(({ channel }) => channel)
    const texts = notices.map(({ text }) => text)
    const send = (): Promise<unknown> =>
      client.query({
        name: "notify",
        text: "select pg_notify(c, t) from unnest($1::text[], $2::text[]) as n (c, t)",
        values: [channels, texts],
      })
    this.#sending = this.#sending.then(send).then(
      () => {},
      () => this.#lost(client),
    )
  }
}

/** JSON lists of payloads, each short enough for one notice. */
function packNotices(payloads: ReadonlySet<string>): string[] {
  const notices: string[] = []
  let list: string[] = []
  let bytes = 2
  for (const payload of payloads) {
    const size = Buffer.byteLength(JSON.stringify(payload)) + 1
    if (bytes + size > noticeBytesMax) {
      notices.push(JSON.stringify(list))
      list = []
      bytes = 2
    }
    list.push(payload)
    bytes += size
  }
  return [...notices, JSON.stringify(list)]
}
