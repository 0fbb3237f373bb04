/**
 * The sessions of agents whose network cuts WebSockets. Owns which exchange belongs to which session; whether a session
 * may be opened, and everything after, is decided where it is for a WebSocket: in the registry and the session.
 */
import type { ExchangeCall, ExchangeReply } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import { ExchangeChannel, exchangeLimits } from "./exchange-channel.ts"
import type { SessionRegistry } from "./session-registry.ts"

interface ExchangeCaller {
  readonly account: string
  readonly nodeId: string
  readonly cause: string
}

interface Entry {
  readonly id: string
  readonly account: string
  readonly nodeId: string
  readonly channel: ExchangeChannel
}

export class SessionExchanges {
  readonly #registry: SessionRegistry
  /** Bounded as the registry's sessions are, and by the seconds that an ended one is kept. */
  readonly #entries = new Map<string, Entry>()

  constructor(registry: SessionRegistry) {
    this.#registry = registry
  }

  /** @throws fleet.session-not-found, fleet.protocol-violation */
  async exchange(
    input: ExchangeCall,
    call: { readonly caller: ExchangeCaller; readonly signal: AbortSignal },
  ): Promise<ExchangeReply> {
    const { caller, signal } = call
    const entry = input.session === undefined ? this.#open(input, caller) : this.#find(input.session, caller)
    const reply = await entry.channel.exchange(input, signal)
    return { session: entry.id, ...reply }
  }

  #find(id: string, caller: ExchangeCaller): Entry {
    const entry = this.#entries.get(id)
    if (entry && entry.nodeId === caller.nodeId && entry.account === caller.account) return entry
    throw new AppError("fleet.session-not-found", `${caller.nodeId} has no such session on this server`)
  }

  #open(input: ExchangeCall, caller: ExchangeCaller): Entry {
    if (input.sequence !== 1 || input.received !== 0 || input.frames.length === 0)
      throw new AppError("fleet.protocol-violation", "the first exchange of a session carries its hello, as frame 1")
    let id: string | undefined
    const channel = new ExchangeChannel(() => {
      if (id !== undefined) this.#forgetLater(id)
    })
    id = this.#registry.accept(channel, caller).identity.id
    const entry = { id, channel, account: caller.account, nodeId: caller.nodeId }
    this.#entries.set(id, entry)
    // The registry may have ended it while it took it: it is full, or stopping.
    if (channel.hasEnded) this.#forgetLater(id)
    return entry
  }

  #forgetLater(id: string): void {
    setTimeout(() => this.#entries.delete(id), exchangeLimits.endedMilliseconds).unref()
  }
}
