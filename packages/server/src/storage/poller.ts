/**
 * Looks at the database at a short interval, one look at a time: what is due stands in rows, so every server may run one.
 * Owns the timer and the look under way, and nothing that has to survive.
 */
export interface PollerOptions {
  readonly everyMilliseconds: number
  /** One look, which ends by itself; `isStopped` says that it should end early. */
  readonly look: (isStopped: () => boolean) => Promise<void>
  /** Of a look that failed; the next one comes all the same. */
  readonly onError: (error: unknown) => void
}

export class Poller {
  readonly #options: PollerOptions
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #again = false
  #stopped = true

  constructor(options: PollerOptions) {
    this.#options = options
  }

  start(): void {
    this.#stopped = false
    this.#timer = setInterval(() => this.#begin(), this.#options.everyMilliseconds)
    this.#begin()
  }

  /** Resolves when the look under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    await this.#running
  }

  /** Looks now; during a look, once more after it. */
  hint(): void {
    if (this.#running) this.#again = true
    else this.#begin()
  }

  #begin(): void {
    if (this.#stopped || this.#running) return
    const { look, onError } = this.#options
    this.#running = look(() => this.#stopped)
      .catch(onError)
      .finally(() => {
        this.#running = undefined
        if (!this.#again) return
        this.#again = false
        this.#begin()
      })
  }
}
