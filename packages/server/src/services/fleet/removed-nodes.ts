import type { ExecutorOrder } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { findRemoved } from "./node-store.ts"

type StartOrder = Exclude<ExecutorOrder, { type: "kill" }>

const gatherMilliseconds = 50
const nodesPerQueryMax = 5_000

/**
 * Finds out which starts, and rollbacks that are tasks of their own, are for nodes that were removed after the plan was made. Only nodes without a session
 * are looked up, many at once; where the database can't be asked nothing counts as removed, and the order's own time
 * limit decides. Used by the executor alone.
 */
export class RemovedNodes {
  readonly #sql: Sql
  readonly #onRemoved: (order: StartOrder) => void
  readonly #onError: (error: unknown) => void
  #waiting: StartOrder[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(options: { sql: Sql; onRemoved: (order: StartOrder) => void; onError: (error: unknown) => void }) {
    this.#sql = options.sql
    this.#onRemoved = options.onRemoved
    this.#onError = options.onError
  }

  /** Looks the order's node up soon. */
  check(order: StartOrder): void {
    this.#waiting.push(order)
    this.#timer ??= setTimeout(() => void this.#look(), gatherMilliseconds)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#waiting = []
  }

  async #look(): Promise<void> {
    this.#timer = undefined
    const orders = this.#waiting.splice(0, nodesPerQueryMax)
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => void this.#look(), gatherMilliseconds)
    try {
      const removed = new Set(await findRemoved(this.#sql, [...new Set(orders.map((order) => order.nodeId))]))
      for (const order of orders) if (removed.has(order.nodeId)) this.#onRemoved(order)
    } catch (error) {
      this.#onError(error)
    }
  }
}
