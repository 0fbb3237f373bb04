/**
 * The sessions of this server. Owns who is connected: of each node at most one open session, the newest. Opening and
 * closing reach `presence` and the executor from here and nowhere else.
 */
import { agentLimits, type ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { admitSession } from "./admission.ts"
import type { FrameChannel } from "./frame-channel.ts"
import type { FleetParts } from "./parts.ts"
import { AgentSession, type HelloFrame, type SessionIdentity, type SessionOwner, type WorkFrame } from "./session.ts"

/** Sessions of one node that may be in the making beside the open one; the oldest gives way. */
const sessionsPerNodeMax = 4

/** Connections that one server holds; more would starve the rest of it. */
const sessionsMax = 20_000

export interface RegistryListener {
  opened(session: AgentSession, hello: HelloFrame): void
  work(session: AgentSession, frame: WorkFrame): void
  /** The node's open session ended and no newer one has taken its place. */
  closed(session: AgentSession): void
}

/** Where all servers see which session of a node is its newest. */
export interface SessionDirectory {
  claim(identity: SessionIdentity): Promise<void>
  /** A session on record ended before it was open. */
  ended(session: AgentSession): void
}

export class SessionRegistry implements SessionOwner {
  readonly #parts: FleetParts
  readonly #directory: SessionDirectory
  readonly #listeners: RegistryListener[] = []
  readonly #open = new Map<string, AgentSession>()
  readonly #all = new Map<string, Set<AgentSession>>()
  #stopping = false

  constructor(parts: FleetParts, directory: SessionDirectory) {
    this.#parts = parts
    this.#directory = directory
  }

  listen(listener: RegistryListener): void {
    this.#listeners.push(listener)
  }

  /** Takes over a channel whose token was verified. */
  accept(channel: FrameChannel, caller: { account: string; nodeId: string; cause: string }): AgentSession {
    const { clock, random } = this.#parts
    const identity = { id: newId("session", clock, random), ...caller }
    const session = new AgentSession(channel, { identity, owner: this, now: () => clock.now() })
    const ofNode = this.#all.get(caller.nodeId) ?? new Set()
    this.#all.set(caller.nodeId, ofNode.add(session))
    if (this.#stopping) session.close("the server is stopping")
    else if (this.#all.size > sessionsMax) session.close("the server is full")
    const waiting = [...ofNode].filter((other) => !other.isOpen)
    if (waiting.length > sessionsPerNodeMax) waiting[0]?.close("replaced by a newer session")
    return session
  }

  find(nodeId: string): AgentSession | undefined {
    return this.#open.get(nodeId)
  }

  get openSessions(): IterableIterator<AgentSession> {
    return this.#open.values()
  }

  /** Ends all sessions of a node, the half-open ones too. */
  closeNode(nodeId: string, code: "fleet.agent-identity-refused" | "fleet.node-held"): void {
    const message = code === "fleet.node-held" ? "two machines use this node's key" : "the node was removed"
    for (const session of [...(this.#all.get(nodeId) ?? [])])
      session.refuse(new AppError(code, `${nodeId}: ${message}`))
  }

  /** Ends a session for which another server has a newer one. */
  replaced(nodeId: string, sessionId: string): void {
    const session = this.#open.get(nodeId)
    if (session?.identity.id === sessionId) session.close("replaced by a newer session")
  }

  stop(): void {
    this.#stopping = true
    for (const sessions of [...this.#all.values()])
      for (const session of [...sessions]) session.close("the server is stopping")
  }

  async open(session: AgentSession, hello: HelloFrame): Promise<ServerFrame> {
    const { nodeId } = session.identity
    try {
      await admitSession(this.#parts, session.identity, hello)
    } catch (error) {
      if (hasCode(error, "fleet.node-held")) this.closeNode(nodeId, "fleet.node-held")
      throw error
    }
    await this.#directory.claim(session.identity)
    if (!this.#all.get(nodeId)?.has(session)) this.#directory.ended(session)
    return {
      type: "welcome",
      session: session.identity.id,
      node: nodeId,
      heartbeatSeconds: agentLimits.heartbeatSeconds,
      now: toInstant(this.#parts.clock.now()),
    }
  }

  opened(session: AgentSession, hello: HelloFrame): void {
    const { nodeId } = session.identity
    const older = this.#open.get(nodeId)
    this.#open.set(nodeId, session)
    older?.close("replaced by a newer session")
    for (const listener of this.#listeners) listener.opened(session, hello)
  }

  work(session: AgentSession, frame: WorkFrame): void {
    // A session that was replaced a moment ago may still have frames in flight.
    if (this.#open.get(session.identity.nodeId) !== session) return
    for (const listener of this.#listeners) listener.work(session, frame)
  }

  failed(session: AgentSession, error: unknown): void {
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#parts.logger.warn({ nodeId: session.identity.nodeId, reason }, "a session failed in the server")
  }

  closed(session: AgentSession, reason: string): void {
    const { nodeId, account, id } = session.identity
    const ofNode = this.#all.get(nodeId)
    ofNode?.delete(session)
    if (ofNode?.size === 0) this.#all.delete(nodeId)
    this.#parts.logger.info({ nodeId, account, session: id, reason }, "a session ended")
    if (this.#open.get(nodeId) !== session) return
    this.#open.delete(nodeId)
    for (const listener of this.#listeners) listener.closed(session)
  }
}
