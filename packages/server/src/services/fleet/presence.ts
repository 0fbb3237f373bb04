/**
 * Which nodes are connected, made durable cheaply: arrivals and departures are gathered for a second and written as
 * one statement with their events; a node that came and went in between leaves no trace. Signs of life are written at
 * most every 30 seconds a node. Owns the changes not yet written; the database is the truth for everyone else.
 */
import { newId } from "@signalbox/kernel/id"
import { appendNodeEvents, type FleetParts } from "./parts.ts"
import type { AgentSession } from "./session.ts"
import { findOnline, touchNodes, writePresence, type PresenceChange } from "./session-store.ts"

export const presenceLimits = {
  flushMilliseconds: 1_000,
  lastSeenMilliseconds: 30_000,
  /** Nodes written by one transaction. */
  batchMax: 500,
} as const

interface Pending extends PresenceChange {
  readonly cause: string
}

export class Presence {
  readonly #parts: FleetParts
  #pending = new Map<string, Pending>()
  #flushing: Promise<void> | undefined

  constructor(parts: FleetParts) {
    this.#parts = parts
  }

  set(session: AgentSession, online: boolean): void {
    const { account, nodeId, cause } = session.identity
    this.#pending.set(nodeId, { account, nodeId, online, at: session.heardAt, cause })
  }

  /** Marks every node as offline: no session outlives the server that held it. */
  async reset(): Promise<void> {
    const cause = newId("request", this.#parts.clock, this.#parts.random)
    for (;;) {
      const rows = await findOnline(this.#parts.database, presenceLimits.batchMax)
      if (rows.length === 0) return
      await this.#write(rows.map(({ account, id }) => ({ account, nodeId: id, online: false, at: 0, cause })))
    }
  }

  /** Writes what is pending. What could not be written stays pending. */
  flush(): Promise<void> {
    this.#flushing ??= this.#flush().finally(() => (this.#flushing = undefined))
    return this.#flushing
  }

  async #flush(): Promise<void> {
    const all = [...this.#pending.values()].toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
    for (let from = 0; from < all.length; from += presenceLimits.batchMax) {
      const batch = all.slice(from, from + presenceLimits.batchMax)
      await this.#write(batch)
      for (const change of batch) if (this.#pending.get(change.nodeId) === change) this.#pending.delete(change.nodeId)
    }
  }

  async #write(changes: readonly Pending[]): Promise<void> {
    const { database } = this.#parts
    const causes = new Map(changes.map((change) => [change.nodeId, change.cause]))
    await database.transaction(async (tx) => {
      const rows = await writePresence(tx, changes)
      const events = rows.map((row) => ({
        account: row.account,
        nodeId: row.id,
        type: row.online ? ("node.connected" as const) : ("node.disconnected" as const),
        version: row.version,
        cause: causes.get(row.id) ?? row.id,
        data: { name: row.name },
      }))
      await appendNodeEvents(this.#parts, tx, events)
    })
  }

  /**
   * Writes when the sessions were last heard, where that is due. Gives those whose node is gone or held: whoever
   * changed that may have been another server.
   */
  async touch(sessions: Iterable<AgentSession>): Promise<Array<{ session: AgentSession; why: "removed" | "held" }>> {
    const due = [...sessions].filter(
      (session) => session.heardAt - session.seenWrittenAt >= presenceLimits.lastSeenMilliseconds,
    )
    const ended: Array<{ session: AgentSession; why: "removed" | "held" }> = []
    for (let from = 0; from < due.length; from += presenceLimits.batchMax) {
      const batch = due.slice(from, from + presenceLimits.batchMax)
      const seen = batch.map((session) => ({
        account: session.identity.account,
        nodeId: session.identity.nodeId,
        heardAt: session.heardAt,
      }))
      const rows = new Map((await touchNodes(this.#parts.database, seen)).map((row) => [row.id, row.held]))
      for (const [index, session] of batch.entries()) {
        session.seenWrittenAt = seen[index]?.heardAt ?? session.heardAt
        const held = rows.get(session.identity.nodeId)
        if (held !== false) ended.push({ session, why: held === undefined ? "removed" : "held" })
      }
    }
    return ended
  }
}
