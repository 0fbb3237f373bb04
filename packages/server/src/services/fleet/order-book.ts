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
  /** Of each node, oldest first: one as a rule, so they are looked through. */
  readonly #byNode = new Map<string, Entry[]>()
  readonly #onRowOver: (row: OrderRow) => void

  /** `onRowOver` is told of rows whose order was confirmed, taken back or is too late. */
  constructor(onRowOver: (row: OrderRow) => void = () => undefined) {
    this.#onRowOver = onRowOver
  }

  /** Keeps an order until it is confirmed; one given again takes its old place. Gives false where the node has too many. */
  add(order: ExecutorOrder, now: number, row?: OrderRow): boolean {
    const { nodeId, type, key } = order
    // A start that is still here was not accepted: after a kill it must not go out any more.
    if (type === "kill") this.#remove(nodeId, (other) => other.type === "start" && other.key === key)
    const entry: Entry = { order, until: untilOf(order, now), ...(row && { row }) }
    const ofNode = this.#byNode.get(nodeId)
    if (!ofNode) {
      this.#byNode.set(nodeId, [entry])
      return true
    }
    const index = ofNode.findIndex((other) => other.order.type === type && other.order.key === key)
    if (index < 0 && ofNode.length >= orderLimits.perNodeMax) return false
    ofNode[index < 0 ? ofNode.length : index] = entry
    return true
  }

  /** The node has the attempt in its journal. */
  accepted(nodeId: string, key: string, phase: AttemptPhase): void {
    const type = phase === "task" ? "start" : "rollback"
    this.#remove(nodeId, (order) => order.type === type && order.key === key)
  }

  finished(nodeId: string, key: string, phase: AttemptPhase): void {
    const ofRollback = phase === "rollback"
    this.#remove(nodeId, (order) => (order.type === "rollback") === ofRollback && order.key === key)
  }

  /** This very order is in the outbox now, for whichever server has its node. */
  handOver(order: ExecutorOrder): void {
    const { nodeId } = order
    this.#keep(
      nodeId,
      this.#byNode.get(nodeId)?.filter((entry) => entry.order !== order),
    )
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
    for (const nodeId of this.#byNode.keys()) this.#remove(nodeId, (_order, until) => until <= now)
  }

  /** Of this execution nothing is to be sent any more but what its owner has put into the outbox. */
  forget(executionId: string): void {
    for (const [nodeId, ofNode] of this.#byNode) {
      const kept = ofNode.filter(({ order, row }) => row !== undefined || !order.key.startsWith(`${executionId}/`))
      this.#keep(nodeId, kept)
    }
  }

  get size(): number {
    let size = 0
    for (const ofNode of this.#byNode.values()) size += ofNode.length
    return size
  }

  #waiting(nodeId: string, now: number): Entry[] {
    return (this.#byNode.get(nodeId) ?? []).filter((entry) => entry.until > now)
  }

  #remove(nodeId: string, isOver: (order: ExecutorOrder, until: number) => boolean): void {
    const ofNode = this.#byNode.get(nodeId)
    if (!ofNode) return
    const kept: Entry[] = []
    for (const entry of ofNode) {
      if (!isOver(entry.order, entry.until)) kept.push(entry)
      else if (entry.row) this.#onRowOver(entry.row)
    }
    this.#keep(nodeId, kept)
  }

  #keep(nodeId: string, kept: Entry[] | undefined): void {
    if (!kept) return
    if (kept.length === 0) this.#byNode.delete(nodeId)
    else this.#byNode.set(nodeId, kept)
  }
}

/** When an order is void, in milliseconds. */
export function untilOf(order: ExecutorOrder, now: number): number {
  if (order.type === "start") return order.startBefore
  if (order.type === "rollback") return order.startBefore ?? order.until ?? Infinity
  return now + orderLimits.killMilliseconds
}
