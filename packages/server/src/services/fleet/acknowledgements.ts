import type { AttemptPhase } from "@signalbox/contracts/fleet/agent-protocol"
import type { AgentSession } from "./session.ts"

/**
 * Acknowledgements on their way to nodes. Nobody waits for one, and alone each would cost as much as an order: so it goes
 * with the next order to its node, or with the answer to the node's next sign of life. In quiet times a few a tick are
 * sent without company. Owns what waits; one that is lost with its session is asked for by the node.
 */
export const acknowledgementLimits = {
  flushMilliseconds: 200,
  /** Nodes that are sent theirs in one tick, those that wait longest first. */
  nodesPerTick: 40,
  /** Of one node; one more sends them all. */
  perNodeMax: 100,
} as const

export interface Acknowledged {
  readonly nodeId: string
  readonly key: string
  readonly phase: AttemptPhase
}

export class Acknowledgements {
  readonly #find: (nodeId: string) => AgentSession | undefined
  /** Of each node, oldest first: one as a rule. */
  readonly #byNode = new Map<string, Acknowledged[]>()

  /** `find` gives a node's open session. */
  constructor(find: (nodeId: string) => AgentSession | undefined) {
    this.#find = find
  }

  add(one: Acknowledged): void {
    const ofNode = this.#byNode.get(one.nodeId)
    if (!ofNode) {
      this.#byNode.set(one.nodeId, [one])
      return
    }
    if (!ofNode.some((other) => isSame(other, one))) ofNode.push(one)
    if (ofNode.length > acknowledgementLimits.perNodeMax) this.flush(one.nodeId)
  }

  /** Sends those of a node; what is sent to it in the same turn leaves with them. */
  flush(nodeId: string): void {
    const ofNode = this.#byNode.get(nodeId)
    if (!ofNode) return
    this.#byNode.delete(nodeId)
    const session = this.#find(nodeId)
    for (const { key, phase } of ofNode) session?.send({ type: "acknowledge", key, phase })
  }

  /** Answers a node that says again what it was not yet told is acknowledged. */
  answersRepeat(nodeId: string, key: string, phase: AttemptPhase): boolean {
    if (this.#byNode.get(nodeId)?.some((other) => other.key === key && other.phase === phase) !== true) return false
    this.flush(nodeId)
    return true
  }

  /** Sends those that wait longest. */
  flushSome(nodesMax: number): void {
    let left = nodesMax
    for (const nodeId of this.#byNode.keys()) {
      if (left-- <= 0) return
      this.flush(nodeId)
    }
  }

  /** The node's session has ended. */
  forget(nodeId: string): void {
    this.#byNode.delete(nodeId)
  }
}

const isSame = (one: Acknowledged, other: Acknowledged): boolean => one.key === other.key && one.phase === other.phase
