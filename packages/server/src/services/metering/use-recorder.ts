/**
 * Writes down uses of services outside. They wait in memory for 50 ms or until there are 1,000, and are written in one
 * statement: a process that is killed loses what waited (D21). Each has its request's id, so that one that is written twice
 * counts once. Owns the buffer and its timer.
 */
import type { Logger } from "pino"
import type { UseRecorder } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"

export const useLimits = {
  waitMilliseconds: 50,
  batchMax: 1_000,
  /** Kept while the database can't be reached; beyond it uses are lost and counted. */
  bufferedMax: 50_000,
  retryMilliseconds: 1_000,
} as const

type Use = Parameters<UseRecorder["record"]>[0]

const statement = `
  insert into uses (id, account, operation, principal, used_at)
  select u.id, u.account, u.operation, u.principal, to_timestamp(u.used_at / 1000)
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::float8[]) as u (id, account, operation, principal, used_at)
  on conflict do nothing`

export class BufferedUses implements UseRecorder {
  readonly #sql: Sql
  readonly #logger: Pick<Logger, "warn">
  #waiting: Use[] = []
  #lost = 0
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> | undefined

  constructor(sql: Sql, logger: Pick<Logger, "warn">) {
    this.#sql = sql
    this.#logger = logger
  }

  record(use: Use): void {
    // What is done to Signalbox itself is told by its events; the bill comes with the service that writes it.
    if (!use.operation.startsWith("ext.")) return
    if (this.#waiting.length >= useLimits.bufferedMax) {
      this.#lost++
      return
    }
    this.#waiting.push(use)
    if (this.#waiting.length >= useLimits.batchMax) void this.#write()
    else this.#timer ??= setTimeout(() => void this.#write(), useLimits.waitMilliseconds)
  }

  /** Writes what waits; gives up what can't be written. */
  async stop(): Promise<void> {
    await this.#writing
    let before = Infinity
    while (this.#waiting.length > 0 && this.#waiting.length < before) {
      before = this.#waiting.length
      await this.#write()
    }
    clearTimeout(this.#timer)
  }

  #write(): Promise<void> {
    this.#writing ??= this.#writeBatch().finally(() => {
      this.#writing = undefined
    })
    return this.#writing
  }

  async #writeBatch(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = this.#waiting.slice(0, useLimits.batchMax)
    let wait: number = useLimits.waitMilliseconds
    try {
      await this.#insert(batch)
      this.#waiting.splice(0, batch.length)
    } catch (error) {
      wait = useLimits.retryMilliseconds
      const { length } = this.#waiting
      this.#logger.warn({ err: error, waiting: length, lost: this.#lost }, "writing uses failed; they are kept for now")
    }
    if (this.#waiting.length > 0) this.#timer ??= setTimeout(() => void this.#write(), wait)
  }

  async #insert(batch: readonly Use[]): Promise<void> {
    await this.#sql.query(
      statement,
      [
        batch.map(({ requestId }) => requestId),
        batch.map(({ caller }) => caller.account),
        batch.map(({ operation }) => operation),
        batch.map(({ caller }) => caller.principal),
        batch.map(({ now }) => now),
      ],
      { name: "metering-insert-uses" },
    )
  }
}
