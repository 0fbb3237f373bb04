/**
 * Calls that wait for an order. Owns the list of those that wait in this process, and while there are any a timer that
 * asks for their orders: a notice from another server only ends a wait sooner, and a lease that is over gives no notice.
 */
import { AppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type { Sql, StorageLogger } from "../../storage/database.ts"
import type { Notifier } from "../../storage/notifier.ts"
import { isAnyClaimable, type Provisioner } from "./order-store.ts"

const ordersChannel = "signalbox_catalog_orders"
const waitingMax = 2_000
const scanMilliseconds = 1_000

interface Waiter {
  readonly provisioner: Provisioner
  readonly signal: AbortSignal
  finish(isReady: boolean): void
}

export interface OrderWaitersOptions {
  readonly sql: Sql
  readonly clock: Clock
  readonly logger: StorageLogger
  readonly notifier: Pick<Notifier, "notify" | "subscribe">
}

export class OrderWaiters {
  readonly #options: OrderWaitersOptions
  readonly #waiters = new Set<Waiter>()
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined
  #again = false
  #stopped = false
  #unsubscribe: (() => void) | undefined

  constructor(options: OrderWaitersOptions) {
    this.#options = options
  }

  start(): void {
    this.#unsubscribe = this.#options.notifier.subscribe(ordersChannel, () => this.#look())
  }

  /** Ends every wait: each answers that there is nothing. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#unsubscribe?.()
    for (const waiter of this.#waiters) waiter.finish(false)
    await this.#looking
  }

  /** To be called after the commit that made an order. */
  added(): void {
    this.#options.notifier.notify(ordersChannel)
    this.#look()
  }

  /** Whether there is an order; answers when there is one, after the time, or when the call is given up. @throws catalog.too-many-waiting */
  wait(provisioner: Provisioner, until: { milliseconds: number; signal: AbortSignal }): Promise<boolean> {
    const { milliseconds, signal } = until
    if (this.#waiters.size >= waitingMax)
      throw new AppError("catalog.too-many-waiting", `${waitingMax} calls wait for orders on this server already`)
    if (this.#stopped) return Promise.resolve(false)
    return new Promise((resolve) => {
      const finish = (isReady: boolean): void => {
        clearTimeout(timeout)
        signal.removeEventListener("abort", giveUp)
        this.#waiters.delete(waiter)
        if (this.#waiters.size === 0) this.#stopScan()
        resolve(isReady)
      }
      const giveUp = (): void => finish(false)
      const waiter: Waiter = { provisioner, signal, finish }
      const timeout = setTimeout(giveUp, milliseconds)
      signal.addEventListener("abort", giveUp, { once: true })
      this.#waiters.add(waiter)
      this.#look()
      this.#timer ??= setInterval(() => this.#look(), scanMilliseconds)
    })
  }

  #stopScan(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    if (this.#waiters.size === 0) return
    if (this.#looking) {
      this.#again = true
      return
    }
    this.#looking = this.#lookOnce()
      .catch((error: unknown) => {
        this.#options.logger.warn({ reason: String(error) }, "looking for orders failed; it is tried again")
      })
      .finally(() => {
        this.#looking = undefined
        if (!this.#again) return
        this.#again = false
        this.#look()
      })
  }

  /** One question for each provisioner, however many of its calls wait. */
  async #lookOnce(): Promise<void> {
    const { sql, clock } = this.#options
    const byProvisioner = Map.groupBy(
      this.#waiters,
      ({ provisioner: { account, principal } }) => `${account} ${principal}`,
    )
    for (const waiters of byProvisioner.values()) {
      const [first] = waiters
      if (!first || !(await isAnyClaimable(sql, first.provisioner, clock.now()))) continue
      for (const waiter of waiters) waiter.finish(true)
    }
  }
}
