/**
 * Runs loads of a directory one after another, so that an older look at the database never takes the place of a newer
 * one. Whoever asks while one waits to begin shares it.
 */
export class SerialLoader {
  readonly #run: (account: string) => Promise<void>
  readonly #waiting = new Map<string, Promise<void>>()
  #last: Promise<unknown> = Promise.resolve()

  constructor(run: (account: string) => Promise<void>) {
    this.#run = run
  }

  load(account: string): Promise<void> {
    const waiting = this.#waiting.get(account)
    if (waiting) return waiting
    const next = this.#last.then(() => {
      this.#waiting.delete(account)
      return this.#run(account)
    })
    this.#waiting.set(account, next)
    this.#last = next.catch(() => undefined)
    return next
  }
}
