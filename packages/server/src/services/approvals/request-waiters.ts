/**
 * Calls that wait for a request to change. Owns the list of those that wait in this process, and while there are any a
 * timer that looks at their rows: a notice from another server only ends a wait sooner.
 */
import { AppError } from "@signalbox/kernel/app-error"
import type { Sql, StorageLogger } from "../../storage/database.ts"
import type { Notifier } from "../../storage/notifier.ts"
import { readVersions } from "./request-lists.ts"

export const approvalsChannel = "signalbox_approvals"

interface WaitUntil {
  /** Wait for another version than this one; undefined: for the end. */
  readonly version: number | undefined
  readonly milliseconds: number
  readonly signal: AbortSignal
  /** For what follows the end of a request: its end alone finishes no wait. */
  readonly isAlsoAfterEnd?: true
}

const waitingMax = 5_000
const scanMillisecondsDefault = 500

interface Waiter {
  readonly id: string
  isOver(now: { version: number; ended: boolean }): boolean
  finish(): void
}

export interface WaitersOptions {
  readonly sql: Sql
  readonly logger: StorageLogger
  readonly notifier?: Pick<Notifier, "notify" | "subscribe"> | undefined
  readonly scanMilliseconds?: number | undefined
}

export class RequestWaiters {
  readonly #options: WaitersOptions
  readonly #waiters = new Set<Waiter>()
  #timer: NodeJS.Timeout | undefined
  #looking = false
  #again = false
  #unsubscribe: (() => void) | undefined

  constructor(options: WaitersOptions) {
    this.#options = options
  }

  start(): void {
    this.#unsubscribe = this.#options.notifier?.subscribe(approvalsChannel, (ids) => {
      if (ids === "missed" || this.#isAwaited(ids)) this.#look()
    })
  }

  /** Ends every wait: each answers with the request as it is. */
  stop(): void {
    this.#unsubscribe?.()
    for (const waiter of this.#waiters) waiter.finish()
  }

  /** To be called after a commit. */
  changed(id: string): void {
    this.#options.notifier?.notify(approvalsChannel, id)
    if (this.#isAwaited([id])) this.#look()
  }

  /**
   * Resolves when the request's version is another one, or it has ended, or after the time, or when the call is given up.
   *
   * @throws approvals.too-many-waiting
   */
  wait(id: string, until: WaitUntil): Promise<void> {
    if (this.#waiters.size >= waitingMax)
      throw new AppError("approvals.too-many-waiting", `${waitingMax} calls wait for requests on this server already`)
    const { version, milliseconds, signal, isAlsoAfterEnd = false } = until
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timeout)
        signal.removeEventListener("abort", finish)
        this.#waiters.delete(waiter)
        if (this.#waiters.size === 0) this.#stopScan()
        resolve()
      }
      const isOver: Waiter["isOver"] = (now) =>
        (now.ended && !isAlsoAfterEnd) || (version !== undefined && now.version !== version)
      const waiter: Waiter = { id, isOver, finish }
      const timeout = setTimeout(finish, milliseconds)
      signal.addEventListener("abort", finish, { once: true })
      this.#waiters.add(waiter)
      // What changed between the caller's look and this line is seen at once.
      this.#look()
      this.#timer ??= setInterval(() => this.#look(), this.#options.scanMilliseconds ?? scanMillisecondsDefault)
    })
  }

  #isAwaited(ids: readonly string[]): boolean {
    if (this.#waiters.size === 0) return false
    const changed = new Set(ids)
    return [...this.#waiters].some(({ id }) => changed.has(id))
  }

  #stopScan(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    if (this.#looking) {
      this.#again = true
      return
    }
    this.#looking = true
    this.#lookOnce()
      .catch((error: unknown) => {
        this.#options.logger.warn({ reason: String(error) }, "looking at awaited requests failed; it is tried again")
      })
      .finally(() => {
        this.#looking = false
        if (!this.#again) return
        this.#again = false
        this.#look()
      })
  }

  async #lookOnce(): Promise<void> {
    if (this.#waiters.size === 0) return
    const ids = [...new Set([...this.#waiters].map(({ id }) => id))]
    const found = new Map((await readVersions(this.#options.sql, ids)).map((row) => [row.id, row]))
    for (const waiter of this.#waiters) {
      const row = found.get(waiter.id)
      if (row === undefined ? ids.includes(waiter.id) : waiter.isOver(row)) waiter.finish()
    }
  }
}
