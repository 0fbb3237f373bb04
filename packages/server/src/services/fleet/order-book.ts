import type { AttemptPhase } from "@signalbox/contracts/fleet/agent-protocol"
import type { ExecutorOrder } from "../../router/ports.ts"

/**
 * The orders that no node has confirmed, by node and in the order they were given. Owns nothing durable: after a
 * restart the engine gives its orders again. Bounded by what the engine has in flight, and per node by name here.
 */
export const orderLimits = {
  perNodeMax: 1_000,
  /** A kill waits for its node so long; the task's own end makes it void earlier. */
  killMilliseconds: 3_600_000,
} as const

export class OrderBook {
  readonly #byNode = new Map<string, Map<string, { readonly order: ExecutorOrder; readonly until: number }>>()

  /** Keeps an order until it is confirmed; one given again takes its old place. Gives false where the node has too many. */
  add(order: ExecutorOrder, now: number): boolean {
    const ofNode = this.#byNode.get(order.nodeId) ?? new Map()
    this.#byNode.set(order.nodeId, ofNode)
    // A start that is still here was not accepted: after a kill it must not go out any more.
    if (order.type === "kill") ofNode.delete(nameOf("start", order.key))
    const name = nameOf(order.type, order.key)
    if (!ofNode.has(name) && ofNode.size >= orderLimits.perNodeMax) return false
    ofNode.set(name, { order, until: untilOf(order, now) })
    return true
  }

  /** The node has the attempt in its journal. */
  accepted(nodeId: string, key: string, phase: AttemptPhase): void {
    this.#delete(nodeId, [nameOf(phase === "task" ? "start" : "rollback", key)])
  }

  finished(nodeId: string, key: string, phase: AttemptPhase): void {
    this.#delete(nodeId, phase === "task" ? [nameOf("start", key), nameOf("kill", key)] : [nameOf("rollback", key)])
  }

  /** What a node that connects has to be told, oldest first. */
  unconfirmed(nodeId: string, now: number): ExecutorOrder[] {
    const entries = [...(this.#byNode.get(nodeId)?.values() ?? [])]
    return entries.filter((entry) => entry.until > now).map((entry) => entry.order)
  }

  /** Forgets what is too late to be sent. */
  expire(now: number): void {
    for (const [nodeId, ofNode] of this.#byNode) {
      for (const [name, entry] of ofNode) if (entry.until <= now) ofNode.delete(name)
      if (ofNode.size === 0) this.#byNode.delete(nodeId)
    }
  }

  /** Of this execution nothing is to be sent any more. */
  forget(executionId: string): void {
    for (const [nodeId, ofNode] of this.#byNode) {
      for (const [name, { order }] of ofNode) if (order.key.startsWith(`${executionId}/`)) ofNode.delete(name)
      if (ofNode.size === 0) this.#byNode.delete(nodeId)
    }
  }

  get size(): number {
    let size = 0
    for (const ofNode of this.#byNode.values()) size += ofNode.size
    return size
  }

  #delete(nodeId: string, names: readonly string[]): void {
    const ofNode = this.#byNode.get(nodeId)
    if (!ofNode) return
    for (const name of names) ofNode.delete(name)
    if (ofNode.size === 0) this.#byNode.delete(nodeId)
  }
}

const nameOf = (type: ExecutorOrder["type"], key: string) => `${type} ${key}`

function untilOf(order: ExecutorOrder, now: number): number {
  if (order.type === "start") return order.startBefore
  if (order.type === "rollback") return order.startBefore ?? order.until ?? Infinity
  return now + orderLimits.killMilliseconds
}
