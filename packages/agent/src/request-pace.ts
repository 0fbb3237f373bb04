import { setTimeout as delay } from "node:timers/promises"

/**
 * Lets calls through so many at once, and after those one each interval, in the order in which they came. The server
 * remembers each token while it is good, and a bounded number of them: so an agent must not make calls as it likes.
 */
export class RequestPace {
  readonly #gapMilliseconds: number
  readonly #burst: number
  /** When a call would be due if there were no burst. */
  #dueAt = -Infinity

  constructor(options: { readonly gapMilliseconds: number; readonly burst: number }) {
    this.#gapMilliseconds = options.gapMilliseconds
    this.#burst = options.burst
  }

  /** Resolves when the next call may be made. @throws AbortError */
  async take(signal: AbortSignal): Promise<void> {
    const now = performance.now()
    const dueAt = Math.max(this.#dueAt, now)
    this.#dueAt = dueAt + this.#gapMilliseconds
    const wait = dueAt - (this.#burst - 1) * this.#gapMilliseconds - now
    if (wait > 0) await delay(wait, undefined, { signal })
  }
}
