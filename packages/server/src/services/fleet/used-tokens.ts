import { agentTokenLimits } from "./model.ts"

/**
 * The ids of tokens that were used and would still be valid. Bounded: so many of a node, and nodes without any are
 * forgotten. Only tokens whose signature was verified come here, so strangers can't fill it.
 */
export class UsedTokens {
  readonly #byNode = new Map<string, Map<string, number>>()
  #sweepAt = 0

  /** False where the token was used before, or where the node has too many live ones. */
  add(token: { nodeId: string; tokenId: string; keepUntil: number; now: number }): boolean {
    if (token.now >= this.#sweepAt) this.#sweep(token.now)
    const ofNode = this.#byNode.get(token.nodeId) ?? new Map<string, number>()
    for (const [id, keepUntil] of ofNode) if (keepUntil < token.now) ofNode.delete(id)
    if (ofNode.has(token.tokenId) || ofNode.size >= agentTokenLimits.liveTokensPerNodeMax) return false
    ofNode.set(token.tokenId, token.keepUntil)
    this.#byNode.set(token.nodeId, ofNode)
    return true
  }

  #sweep(now: number): void {
    for (const [nodeId, ofNode] of this.#byNode) {
      for (const [id, keepUntil] of ofNode) if (keepUntil < now) ofNode.delete(id)
      if (ofNode.size === 0) this.#byNode.delete(nodeId)
    }
    this.#sweepAt = now + agentTokenLimits.lifeSecondsMax * 1000
  }
}
