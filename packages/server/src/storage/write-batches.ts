/**
 * What waits to be written, one write at a time, and with it all that has come meanwhile. Owns the items until a write
 * has succeeded: one that fails is tried again with the same items, in their order.
 */
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises"

export interface WriteBatchesOptions<Item> {
  /** Items of one write. */
  readonly batchMax: number
  /** Items that may wait; more are refused. */
  readonly waitingMax: number
  readonly write: (batch: readonly Item[]) => Promise<void>
  readonly onError: (error: unknown) => void
}

const retryMilliseconds = 500

export class WriteBatches<Item> {
  readonly #options: WriteBatchesOptions<Item>
  readonly #stop = new AbortController()
  #waiting: Item[] = []
  #running: Promise<void> | undefined

  constructor(options: WriteBatchesOptions<Item>) {
    this.#options = options
  }

  /** False where too many wait. */
  add(item: Item): boolean {
    if (this.#waiting.length >= this.#options.waitingMax) return false
    this.#waiting.push(item)
    this.#begin()
    return true
  }

  /** Takes out of what waits; a write that is under way goes on. */
  remove(isUnwanted: (item: Item) => boolean): void {
    this.#waiting = this.#waiting.filter((item) => !isUnwanted(item))
  }

  /** Writes what waits, once; what can't be written now is lost with the process. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  #begin(): void {
    if (this.#waiting.length === 0 || this.#stop.signal.aborted) return
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      // What came after the last look and before this.
      this.#begin()
    })
  }

  async #run(): Promise<void> {
    const { batchMax, write, onError } = this.#options
    while (this.#waiting.length > 0) {
      // What comes in one turn of the event loop is written together.
      await nextTurn()
      const batch = this.#waiting.splice(0, batchMax)
      if (batch.length === 0) return
      try {
        await write(batch)
      } catch (error) {
        onError(error)
        if (this.#stop.signal.aborted) return
        this.#waiting.unshift(...batch)
        await this.#pause(retryMilliseconds)
      }
    }
  }

  async #pause(milliseconds: number): Promise<void> {
    await delay(milliseconds, undefined, { signal: this.#stop.signal }).catch(() => {})
  }
}
