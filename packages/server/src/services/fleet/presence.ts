/**
 * Which nodes are connected, and by which server. A session is on record before its agent is welcomed, many in one
 * statement; the newest of a node counts, whichever server holds it, and only that one's end, or its server's, shows the
 * node as offline. What is shown, with its events, is written once a second: a node that came and went in between
 * leaves no trace. Signs of life are written at most every 30 seconds a node. Owns the changes not yet written.
 */
import { newId } from "@signalbox/kernel/id"
import type { Tx } from "../../storage/database.ts"
import { WriteBatches } from "../../storage/write-batches.ts"
import {
  claimSessions,
  endLapsedSessions,
  endSessions,
  hideOrphans,
  showOnline,
  touchNodes,
  type OlderSession,
  type PresenceChange,
  type PresenceRow,
} from "./directory-store.ts"
import { appendNodeEvents, type FleetParts } from "./parts.ts"
import type { AgentSession, SessionIdentity } from "./session.ts"

export const presenceLimits = {
  flushMilliseconds: 1_000,
  lastSeenMilliseconds: 30_000,
  /** How often sessions of servers that are gone are looked for. */
  lapsedMilliseconds: 2_000,
  /** Nodes written by one transaction. */
  batchMax: 500,
  /** Sessions that may wait to be put on record. */
  claimsMax: 20_000,
} as const

interface Pending extends PresenceChange {
  readonly cause: string
}

interface Claim {
  readonly identity: SessionIdentity
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Why a session ends here: what another server did, or a newer session that it holds. */
export type SessionFault = "removed" | "held" | "replaced"

export interface PresenceOptions extends FleetParts {
  readonly serverId: string
  /** No other server uses this database: whoever is on record beside this one is gone. */
  readonly isOnlyServer: boolean
  /** Tells the servers whose sessions were replaced. */
  readonly onReplaced: (older: readonly OlderSession[]) => void
}

export class Presence {
  readonly #options: PresenceOptions
  readonly #claims: WriteBatches<Claim>
  /** By session. */
  readonly #opened = new Map<string, Pending>()
  readonly #ended = new Map<string, Pending>()
  #flushing: Promise<void> | undefined
  #lapsedAt = 0

  constructor(options: PresenceOptions) {
    this.#options = options
    this.#claims = new WriteBatches({
      batchMax: presenceLimits.batchMax,
      waitingMax: presenceLimits.claimsMax,
      write: (batch) => this.#claim(batch),
      onError: () => undefined,
    })
  }

  /** Puts a session on record as its node's newest. Rejects where that can't be written. */
  claim(identity: SessionIdentity): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    if (!this.#claims.add({ identity, resolve, reject })) reject(new Error("too many sessions open at once"))
    return promise
  }

  /** A session on record is open. */
  opened({ identity, heardAt }: AgentSession): void {
    this.#opened.set(identity.id, changeOf(identity, heardAt))
  }

  /** A session on record has ended, whether it was open or not. */
  ended({ identity, heardAt }: Pick<AgentSession, "identity" | "heardAt">): void {
    this.#opened.delete(identity.id)
    this.#ended.set(identity.id, changeOf(identity, heardAt))
  }

  /** Shows what servers left behind that are gone: at the start, before there is a session. */
  async reset(): Promise<void> {
    await this.#endLapsed()
    let hidden: number
    do hidden = await this.#show((tx) => hideOrphans(tx, presenceLimits.batchMax))
    while (hidden === presenceLimits.batchMax)
  }

  /** As `reset`, now and then. */
  async expire(): Promise<void> {
    const now = this.#options.clock.now()
    if (Math.abs(now - this.#lapsedAt) < presenceLimits.lapsedMilliseconds) return
    this.#lapsedAt = now
    await this.#endLapsed()
  }

  /** Writes what is pending. What could not be written stays pending. */
  flush(): Promise<void> {
    this.#flushing ??= this.#flush().finally(() => (this.#flushing = undefined))
    return this.#flushing
  }

  async stop(): Promise<void> {
    await this.#claims.stop()
    await this.flush()
  }

  /**
   * Writes when the sessions were last heard, where that is due. Gives those whose node is gone or held, or has a newer
   * session: whoever changed that may have been another server.
   */
  async touch(sessions: Iterable<AgentSession>): Promise<Array<{ session: AgentSession; why: SessionFault }>> {
    const due = [...sessions].filter(
      (session) => session.heardAt - session.seenWrittenAt >= presenceLimits.lastSeenMilliseconds,
    )
    const faults: Array<{ session: AgentSession; why: SessionFault }> = []
    for (let from = 0; from < due.length; from += presenceLimits.batchMax) {
      const batch = due.slice(from, from + presenceLimits.batchMax)
      const seen = batch.map((session) => ({
        account: session.identity.account,
        nodeId: session.identity.nodeId,
        heardAt: session.heardAt,
      }))
      const rows = new Map((await touchNodes(this.#options.database, seen)).map((row) => [row.id, row]))
      for (const [index, session] of batch.entries()) {
        session.seenWrittenAt = seen[index]?.heardAt ?? session.heardAt
        const why = await this.#faultOf(session, rows.get(session.identity.nodeId))
        if (why) faults.push({ session, why })
      }
    }
    return faults
  }

  async #faultOf(
    session: AgentSession,
    row: { readonly held: boolean; readonly sessionId: string | null } | undefined,
  ): Promise<SessionFault | undefined> {
    if (!row) return "removed"
    if (row.held) return "held"
    if (row.sessionId === session.identity.id || !session.isOpen) return undefined
    if (row.sessionId !== null) return "replaced"
    // This server was taken for gone, and wasn't.
    await this.claim(session.identity)
    if (session.isOpen) this.opened(session)
    else this.ended(session)
    return undefined
  }

  async #claim(batch: readonly Claim[]): Promise<void> {
    // Of a node's sessions that open at once the last one counts.
    const claims = new Map(batch.map(({ identity }) => [identity.nodeId, identity]))
    const { database, serverId, onReplaced } = this.#options
    try {
      const older = await claimSessions(
        database,
        serverId,
        [...claims.values()]
          .toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
          .map(({ account, nodeId, id }) => ({ account, nodeId, sessionId: id })),
      )
      if (older.length > 0) onReplaced(older)
      for (const { resolve } of batch) resolve()
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  async #flush(): Promise<void> {
    await this.#flushEach(this.#ended, endSessions)
    await this.#flushEach(this.#opened, showOnline)
  }

  async #flushEach(pending: Map<string, Pending>, write: typeof endSessions): Promise<void> {
    const all = [...pending.values()].toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
    for (let from = 0; from < all.length; from += presenceLimits.batchMax) {
      const batch = all.slice(from, from + presenceLimits.batchMax)
      const causes = new Map(batch.map((change) => [change.nodeId, change.cause]))
      await this.#show((tx) => write(tx, batch), causes)
      for (const change of batch) if (pending.get(change.sessionId) === change) pending.delete(change.sessionId)
    }
  }

  async #endLapsed(): Promise<void> {
    const { database, serverId, isOnlyServer } = this.#options
    const which = isOnlyServer ? { butServer: serverId } : {}
    for (;;) {
      const count = await database.transaction(async (tx) => {
        const ended = await endLapsedSessions(tx, which, presenceLimits.batchMax)
        await this.#tell(tx, ended.rows)
        return ended.count
      })
      if (count < presenceLimits.batchMax) return
    }
  }

  /** Writes what is shown of nodes, and tells the events of it, in one transaction. */
  async #show(write: (tx: Tx) => Promise<PresenceRow[]>, causes?: ReadonlyMap<string, string>): Promise<number> {
    return this.#options.database.transaction(async (tx) => {
      const rows = await write(tx)
      await this.#tell(tx, rows, causes)
      return rows.length
    })
  }

  async #tell(tx: Tx, rows: readonly PresenceRow[], causes?: ReadonlyMap<string, string>): Promise<void> {
    if (rows.length === 0) return
    const { clock, random } = this.#options
    const ownCause = newId("request", clock, random)
    const events = rows.map((row) => ({
      account: row.account,
      nodeId: row.id,
      type: row.online ? ("node.connected" as const) : ("node.disconnected" as const),
      version: row.version,
      cause: causes?.get(row.id) ?? ownCause,
      data: { name: row.name },
    }))
    await appendNodeEvents(this.#options, tx, events)
  }
}

function changeOf({ account, nodeId, id, cause }: SessionIdentity, at: number): Pending {
  return { account, nodeId, sessionId: id, at, cause }
}
