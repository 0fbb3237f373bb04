/**
 * Runs commands on nodes that change nothing, beside whatever their agents do: health checks. Owns the probes that wait
 * for an answer; each ends by an answer, by its session's end, or in time.
 */
import type { CommandOrder, StepResult } from "@signalbox/contracts/fleet/agent-protocol"
import type { NodeProbes } from "../../router/ports.ts"
import type { ProbeRelay } from "./probe-relay.ts"
import type { RegistryListener } from "./session-registry.ts"
import type { AgentSession, WorkFrame } from "./session.ts"

export const probeLimits = {
  /** Under way at once, on all nodes of this server. */
  probesMax: 1_000,
  timeoutMillisecondsMax: 600_000,
  /** Beyond the command's own timeout, for the way there and back. */
  graceMilliseconds: 5_000,
} as const

interface Waiting {
  readonly session: string
  readonly resolve: (result: StepResult) => void
  readonly timer: NodeJS.Timeout
}

interface Probe {
  readonly execution: string
  readonly command: CommandOrder
  readonly timeoutMilliseconds: number
}

export interface SessionProbesOptions {
  find(nodeId: string): AgentSession | undefined
  newId(): string
  /** Asks the other servers; left out where there are none. */
  readonly relay?: Pick<ProbeRelay, "ask" | "listen"> | undefined
}

export class SessionProbes implements NodeProbes, RegistryListener {
  readonly #options: SessionProbesOptions
  readonly #waiting = new Map<string, Waiting>()

  constructor(options: SessionProbesOptions) {
    this.#options = options
    options.relay?.listen((nodeId, probe) => this.#probeHere(nodeId, probe))
  }

  async probe(nodeId: string, probe: Probe): Promise<StepResult> {
    const { find, newId, relay } = this.#options
    if (!relay || find(nodeId)) return this.#probeHere(nodeId, probe)
    const waitMilliseconds =
      Math.min(probe.timeoutMilliseconds, probeLimits.timeoutMillisecondsMax) + 2 * probeLimits.graceMilliseconds
    const answer = await relay.ask(nodeId, { ...probe, id: newId(), waitMilliseconds })
    return answer ?? notRun("the node is not connected, or gave no answer in time")
  }

  async #probeHere(nodeId: string, { execution, command, timeoutMilliseconds }: Probe): Promise<StepResult> {
    const session = this.#options.find(nodeId)
    if (!session) return notRun("the node is not connected to this server")
    if (this.#waiting.size >= probeLimits.probesMax) return notRun("too many probes are under way on this server")
    // The node may ask by it for what was approved of the run.
    const id = `${execution}:${this.#options.newId()}`
    const timeout = Math.min(timeoutMilliseconds, probeLimits.timeoutMillisecondsMax)
    return new Promise((resolve) => {
      const end = (): void => this.#end(id, notRun("the node gave no answer in time"))
      const timer = setTimeout(end, timeout + probeLimits.graceMilliseconds)
      this.#waiting.set(id, { session: session.identity.id, resolve, timer })
      session.send({ type: "probe", id, command, timeoutMilliseconds: timeout })
    })
  }

  opened(): void {
    // A probe belongs to its session: a new one knows nothing of it.
  }

  closed(session: AgentSession): void {
    for (const [id, { session: of }] of this.#waiting) {
      if (of === session.identity.id) this.#end(id, notRun("the node's connection was lost"))
    }
  }

  work(session: AgentSession, frame: WorkFrame): void {
    if (frame.type !== "probe-finished") return
    if (this.#waiting.get(frame.id)?.session === session.identity.id) this.#end(frame.id, frame.result)
  }

  stop(): void {
    for (const id of this.#waiting.keys()) this.#end(id, notRun("the server is stopping"))
  }

  #end(id: string, result: StepResult): void {
    const waiting = this.#waiting.get(id)
    if (!waiting) return
    clearTimeout(waiting.timer)
    this.#waiting.delete(id)
    waiting.resolve(result)
  }
}

function notRun(message: string): StepResult {
  return { name: "probe", state: "not-run", attempts: 0, durationMilliseconds: 0, message }
}
