/**
 * Rows that need not be there at once: they wait in memory for 50 ms or until there are 1,000, and are written in one
 * statement. A process that is killed loses what waited (D21). Owns the buffer and its timer.
 */
import type { Logger } from "pino"

export const bufferLimits = {
  waitMilliseconds: 50,
  batchMax: 1_000,
  /** Kept while the database can't be reached; beyond it rows are lost and counted. */
  bufferedMax: 50_000,
  retryMilliseconds: 1_000,
} as const

export class BufferedRows<Row> {
  readonly #what: string
  readonly #insert: (batch: readonly Row[]) => Promise<unknown>
  readonly #logger: Pick<Logger, "warn">
  #waiting: Row[] = []
  #lost = 0
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> | undefined

  /** `insert` may get the same rows again: what is there already stays. `what` names them in the log. */
  constructor(what: string, insert: (batch: readonly Row[]) => Promise<unknown>, logger: Pick<Logger, "warn">) {
    this.#what = what
    this.#insert = insert
    this.#logger = logger
  }

  add(row: Row): void {
    if (this.#waiting.length >= bufferLimits.bufferedMax) {
      this.#lost++
      return
    }
    this.#waiting.push(row)
    if (this.#waiting.length >= bufferLimits.batchMax) void this.#write()
    else this.#timer ??= setTimeout(() => void this.#write(), bufferLimits.waitMilliseconds)
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
    const batch = this.#waiting.slice(0, bufferLimits.batchMax)
    let wait: number = bufferLimits.waitMilliseconds
    try {
      await this.#insert(batch)
      this.#waiting.splice(0, batch.length)
    } catch (error) {
      wait = bufferLimits.retryMilliseconds
      const { length } = this.#waiting
      const message = `writing ${this.#what} failed; they are kept for now`
      this.#logger.warn({ err: error, waiting: length, lost: this.#lost }, message)
    }
    if (this.#waiting.length > 0) this.#timer ??= setTimeout(() => void this.#write(), wait)
  }
}
