import type { AttemptPhase } from "@signalbox/contracts/fleet/agent-protocol"
import type { ExecutorOrder } from "../../router/ports.ts"

/**
 * The orders that no node has confirmed, by node and in the order they were given. An order that came by the outbox has
 * a row there, and whoever owns the row is told when it is over. Owns nothing durable: after a restart the engine gives
 * its orders again. Bounded by what the engine has in flight, and per node by name here.
 */
export const orderLimits = {
  perNodeMax: 1_000,
  /** A kill waits for its node so long; the task's own end makes it void earlier. */
  killMilliseconds: 3_600_000,
} as const

/** A row of the outbox, as it was when it was taken. */
export interface OrderRow {
  readonly nodeId: string
  readonly key: string
  readonly type: ExecutorOrder["type"]
  readonly version: number
}

interface Entry {
  readonly order: ExecutorOrder
  readonly until: number
  readonly row?: OrderRow
}

export class OrderBook {
  readonly #byNode = new Map<string, Map<string, Entry>>()
  readonly #onRowOver: (row: OrderRow) => void

  /** `onRowOver` is told of rows whose order was confirmed, taken back or is too late. */
  constructor(onRowOver: (row: OrderRow) => void = () => undefined) {
    this.#onRowOver = onRowOver
  }

  /** Keeps an order until it is confirmed; one given again takes its old place. Gives false where the node has too many. */
  add(order: ExecutorOrder, now: number, row?: OrderRow): boolean {
    const ofNode = this.#byNode.get(order.nodeId) ?? new Map<string, Entry>()
    this.#byNode.set(order.nodeId, ofNode)
    // A start that is still here was not accepted: after a kill it must not go out any more.
    if (order.type === "kill") this.#delete(order.nodeId, [nameOf("start", order.key)])
    const name = nameOf(order.type, order.key)
    if (!ofNode.has(name) && ofNode.size >= orderLimits.perNodeMax) return false
    ofNode.set(name, { order, until: untilOf(order, now), ...(row && { row }) })
    this.#byNode.set(order.nodeId, ofNode)
    return true
  }

  /** The node has the attempt in its journal. */
  accepted(nodeId: string, key: string, phase: AttemptPhase): void {
    this.#delete(nodeId, [nameOf(phase === "task" ? "start" : "rollback", key)])
  }

  finished(nodeId: string, key: string, phase: AttemptPhase): void {
    this.#delete(nodeId, phase === "task" ? [nameOf("start", key), nameOf("kill", key)] : [nameOf("rollback", key)])
  }

  /** This very order is in the outbox now, for whichever server has its node. */
  handOver(order: ExecutorOrder): void {
    const ofNode = this.#byNode.get(order.nodeId)
    const name = nameOf(order.type, order.key)
    if (ofNode?.get(name)?.order !== order) return
    ofNode.delete(name)
    if (ofNode.size === 0) this.#byNode.delete(order.nodeId)
  }

  /** What a node that connects has to be told, oldest first. */
  unconfirmed(nodeId: string, now: number): ExecutorOrder[] {
    return this.#waiting(nodeId, now).map((entry) => entry.order)
  }

  /** As `unconfirmed`, those that have no row in the outbox. */
  withoutRow(nodeId: string, now: number): ExecutorOrder[] {
    return this.#waiting(nodeId, now).flatMap(({ order, row }) => (row ? [] : [order]))
  }

  /** Forgets what is too late to be sent. */
  expire(now: number): void {
    for (const [nodeId, ofNode] of this.#byNode) {
      const late = [...ofNode].flatMap(([name, { until }]) => (until <= now ? [name] : []))
      this.#delete(nodeId, late)
    }
  }

  /** Of this execution nothing is to be sent any more but what its owner has put into the outbox. */
  forget(executionId: string): void {
    for (const [nodeId, ofNode] of this.#byNode) {
      for (const [name, { order, row }] of ofNode) {
        if (!row && order.key.startsWith(`${executionId}/`)) ofNode.delete(name)
      }
      if (ofNode.size === 0) this.#byNode.delete(nodeId)
    }
  }

  get size(): number {
    let size = 0
    for (const ofNode of this.#byNode.values()) size += ofNode.size
    return size
  }

  #waiting(nodeId: string, now: number): Entry[] {
    return [...(this.#byNode.get(nodeId)?.values() ?? [])].filter((entry) => entry.until > now)
  }

  #delete(nodeId: string, names: readonly string[]): void {
    const ofNode = this.#byNode.get(nodeId)
    if (!ofNode) return
    for (const name of names) {
      const { row } = ofNode.get(name) ?? {}
      ofNode.delete(name)
      if (row) this.#onRowOver(row)
    }
    if (ofNode.size === 0) this.#byNode.delete(nodeId)
  }
}

const nameOf = (type: ExecutorOrder["type"], key: string) => `${type} ${key}`

/** When an order is void, in milliseconds. */
export function untilOf(order: ExecutorOrder, now: number): number {
  if (order.type === "start") return order.startBefore
  if (order.type === "rollback") return order.startBefore ?? order.until ?? Infinity
  return now + orderLimits.killMilliseconds
}
