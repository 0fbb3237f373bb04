import type { Random } from "@signalbox/kernel/random"
import type { AgentRunLimits } from "./agent-limits.ts"
import { type AgentLogger, errorText } from "./agent-logger.ts"
import { ExchangeChannel } from "./exchange-channel.ts"
import type { RequestPace } from "./request-pace.ts"
import type { Ending, ServerChannel } from "./server-channel.ts"
import { callServer, connectionAgent, problemCode, serverEndpoint } from "./server-transport.ts"
import { tokenSeconds } from "./session-token.ts"
import { dialSocket, type Dialled, type SocketChannel } from "./socket-channel.ts"

export interface ChannelFinderOptions {
  readonly server: URL
  readonly ca?: string
  readonly token: (lifeSeconds: number) => Promise<string>
  /** Of calls that take a token each. */
  readonly pace: RequestPace
  readonly random: Random
  readonly limits: AgentRunLimits
  readonly logger: AgentLogger
  readonly onServerTime: (milliseconds: number) => void
}

/**
 * Finds the way to the server: a WebSocket wherever one opens. Only where handshakes are cut again and again, although
 * plain calls to the same server get through, do exchanges carry the session; and from time to time a WebSocket is
 * tried again. Owns what is known of the network, and the WebSocket that was opened beside a session over exchanges.
 */
export class ChannelFinder {
  readonly #options: ChannelFinderOptions
  readonly #socketAgent: ReturnType<typeof connectionAgent>
  readonly #pace: RequestPace
  /** Handshakes in a row that were cut. */
  #cuts = 0
  /** Until then no WebSocket is tried where a session begins; 0 where none is known to be cut. */
  #socketAt = 0
  #better: SocketChannel | undefined
  #retry: NodeJS.Timeout | undefined

  constructor(options: ChannelFinderOptions) {
    const { pace, server, ca } = options
    this.#options = options
    this.#socketAgent = connectionAgent(server, { ...(ca !== undefined && { ca }) })
    this.#pace = pace
  }

  /** True where a WebSocket is open and waits to carry the session. */
  get hasBetter(): boolean {
    return this.#better !== undefined
  }

  /** A channel to begin a session on, or how the try ended. */
  async find(signal: AbortSignal): Promise<ServerChannel | Ending> {
    const better = this.#better
    this.#better = undefined
    if (better) return better
    if (performance.now() < this.#socketAt) return this.#exchange(signal)
    // Asked before: a server that comes up in between must not be taken for one whose WebSockets are cut.
    const answers = this.#cuts >= this.#options.limits.socketCutsMax - 1 && (await this.#answersCalls(signal))
    const dialled = await this.#dial(signal)
    if (dialled.kind === "open") return dialled.channel
    if (dialled.kind !== "cut") return dialled.kind
    if (!answers) return "lost"
    this.#options.logger.warn("WebSockets are cut on the way to the server; exchanges carry the session", {})
    this.#socketAt = performance.now() + this.#options.limits.socketRetryMilliseconds
    return this.#exchange(signal)
  }

  /** Told of the end of each session, and whether it had been welcome. */
  ended(channel: ServerChannel, welcomed: boolean): void {
    clearTimeout(this.#retry)
    // Exchanges that don't work either are no reason to stay away from WebSockets.
    if (channel instanceof ExchangeChannel && !welcomed) this.#socketAt = 0
  }

  stop(): void {
    clearTimeout(this.#retry)
    this.#better?.terminate()
    this.#better = undefined
  }

  #exchange(signal: AbortSignal): ExchangeChannel {
    const { server, ca, token, limits, logger, random } = this.#options
    const channel = new ExchangeChannel({
      url: serverEndpoint(server, "/v1/sessions:exchange"),
      agent: connectionAgent(server, { keepAlive: true, ...(ca !== undefined && { ca }) }),
      token: () => token(limits.exchangeTokenSeconds),
      pace: this.#pace,
      ...{ limits, logger, random },
      onServerDate: (date) => this.#noteServerDate(date),
    })
    this.#retryLater(channel, signal)
    return channel
  }

  #retryLater(channel: ExchangeChannel, signal: AbortSignal): void {
    const wait = Math.max(0, this.#socketAt - performance.now())
    this.#retry = setTimeout(() => void this.#tryBetter(channel, signal), wait)
  }

  /** Tries a WebSocket beside a session over exchanges, so that a network that still cuts them costs nothing. */
  async #tryBetter(channel: ExchangeChannel, signal: AbortSignal): Promise<void> {
    const dialled = await this.#dial(signal)
    if (dialled.kind === "open") {
      this.#better?.terminate()
      if (signal.aborted) return dialled.channel.terminate()
      this.#options.logger.info("WebSockets get through again", {})
      this.#better = dialled.channel
      return channel.terminate()
    }
    this.#socketAt = performance.now() + this.#options.limits.socketRetryMilliseconds
    if (!channel.hasEnded) this.#retryLater(channel, signal)
  }

  async #dial(signal: AbortSignal): Promise<Dialled> {
    const { server, token, limits, logger, random } = this.#options
    const url = serverEndpoint(server, "/v1/sessions")
    url.protocol = server.protocol === "https:" ? "wss:" : "ws:"
    const dialled = await dialSocket({
      ...{ url, limits, logger, random, signal },
      agent: this.#socketAgent,
      token: await token(tokenSeconds),
      onServerDate: (date) => this.#noteServerDate(date),
    })
    this.#cuts = dialled.kind === "cut" ? this.#cuts + 1 : 0
    if (dialled.kind === "open") this.#socketAt = 0
    return dialled
  }

  /** True where a Signalbox server answers plain calls: it wants a token for this one. */
  async #answersCalls(signal: AbortSignal): Promise<boolean> {
    const { server, ca, limits, logger } = this.#options
    try {
      const reply = await callServer(serverEndpoint(server, "/v1/sessions:exchange"), {
        method: "POST",
        agent: connectionAgent(server, { ...(ca !== undefined && { ca }) }),
        headers: { "content-type": "application/json" },
        body: "{}",
        timeoutMilliseconds: limits.connectTimeoutMilliseconds,
        signal,
      })
      return reply.status === 401 && problemCode(reply.body) !== undefined
    } catch (error) {
      logger.warn("the server doesn't answer", { error: errorText(error) })
      return false
    }
  }

  /** A refusal may come from a wrong clock of ours: the reply's date puts the next token right. */
  #noteServerDate(date: string | undefined): void {
    const milliseconds = Date.parse(date ?? "")
    if (Number.isFinite(milliseconds)) this.#options.onServerTime(milliseconds)
  }
}
