import { Agent, get } from "node:http"
import { type Spell, extendSpells, type Span } from "./availability.ts"
import { demoLimits } from "./demo-plan.ts"

/** What a service said at one moment. */
export interface Answer {
  /** Undefined where it didn't answer 200. */
  readonly version: string | undefined
  readonly started: string | undefined
}

interface Watched {
  readonly port: number
  readonly spells: Spell[]
  lastAt: number
  /** The longest time between two looks. */
  pauseMax: number
}

/**
 * Asks every service over HTTP again and again from outside, and remembers what it saw. One question at a time goes to
 * each service, over a connection that stays open. Times are those of `performance.now()`.
 */
export class Prober {
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: 64 })
  readonly #watched = new Map<string, Watched>()
  readonly #onChange: (() => void) | undefined
  #stopped = false
  #probesCount = 0

  constructor(onChange?: () => void) {
    this.#onChange = onChange
  }

  watch(name: string, port: number): void {
    const watched: Watched = { port, spells: [], lastAt: performance.now(), pauseMax: 0 }
    this.#watched.set(name, watched)
    void this.#follow(watched)
  }

  get probesCount(): number {
    return this.#probesCount
  }

  /** The longest time that a service went unobserved. */
  get pauseMaxMilliseconds(): number {
    return Math.max(0, ...[...this.#watched.values()].map((watched) => watched.pauseMax))
  }

  spells(name: string): readonly Spell[] {
    return this.#watched.get(name)?.spells ?? []
  }

  /** The newest look. */
  answer(name: string): Answer {
    const last = this.spells(name).at(-1)
    return { version: last?.version, started: last?.started }
  }

  now(): number {
    return performance.now()
  }

  span(from: number): Span {
    return { from, to: performance.now() }
  }

  stop(): void {
    this.#stopped = true
    this.#agent.destroy()
  }

  async #follow(watched: Watched): Promise<void> {
    while (!this.#stopped) {
      const begun = performance.now()
      const answer = await askService(watched.port, this.#agent)
      if (this.#stopped) return
      const at = performance.now()
      watched.pauseMax = Math.max(watched.pauseMax, at - watched.lastAt)
      watched.lastAt = at
      this.#probesCount += 1
      const spellsBefore = watched.spells.length
      extendSpells(watched.spells, { at, ...answer })
      if (watched.spells.length !== spellsBefore) this.#onChange?.()
      const rest = Math.max(1, demoLimits.probeMilliseconds - (at - begun))
      await new Promise((resolve) => setTimeout(resolve, rest))
    }
  }
}

const nothing: Answer = { version: undefined, started: undefined }

/** One question. A new connection is tried where a kept one had just been closed by the other side. */
export async function askService(port: number, agent: Agent, isRetry = false): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer | "stale">()
  const request = get({ host: "127.0.0.1", port, path: "/", agent, timeout: demoLimits.probeTimeoutMilliseconds })
  request.once("response", (response) => {
    let text = ""
    response.setEncoding("utf8").on("data", (chunk: string) => {
      text = (text + chunk).slice(0, demoLimits.answerBytesMax)
    })
    response.once("error", () => resolve(nothing))
    response.once("end", () => {
      const started = response.headers["x-started"]
      const isGood = response.statusCode === 200 && typeof started === "string"
      resolve(isGood ? { version: text.trim(), started } : nothing)
    })
  })
  request.once("timeout", () => request.destroy())
  request.once("error", () => resolve(request.reusedSocket && !isRetry ? "stale" : nothing))
  request.once("close", () => resolve(nothing))
  const answer = await promise
  return answer === "stale" ? askService(port, agent, true) : answer
}
