/**
 * Asks for health checks on nodes whose session another server holds, and answers such questions of the others. Owns the
 * questions that wait for an answer; each ends by an answer or in time. Texts of checks may hold secrets, so question
 * and answer are sealed.
 */
import type { CommandOrder, StepResult } from "@signalbox/contracts/fleet/agent-protocol"
import type { NodeProbes } from "../../router/ports.ts"
import { Poller } from "../../storage/poller.ts"
import type { OrderRelayParts } from "./order-relay.ts"
import { relayPlace } from "./sealed-relay.ts"
import { answerProbe, takeAnswers, takeProbes, writeProbe, type FoundProbe } from "./relay-store.ts"

export const probeRelayLimits = {
  pollMilliseconds: 500,
  /** Questions taken by one statement, and answered here at once. */
  batchMax: 100,
} as const

export interface ProbeQuestion {
  readonly execution: string
  readonly command: CommandOrder
  readonly timeoutMilliseconds: number
}

interface Waiting {
  readonly nodeId: string
  readonly id: string
  readonly resolve: (result: StepResult | undefined) => void
  readonly timer: NodeJS.Timeout
}

const questionsChannel = "agent_probes"
const answersChannel = "agent_probe_answers"

export class ProbeRelay {
  readonly #parts: OrderRelayParts
  readonly #waiting = new Map<string, Waiting>()
  readonly #answering = new Set<Promise<void>>()
  readonly #unsubscribe: Array<() => void> = []
  readonly #poller: Poller
  #local: (nodeId: string, question: ProbeQuestion) => Promise<StepResult>

  constructor(parts: OrderRelayParts) {
    this.#parts = parts
    this.#poller = new Poller({
      everyMilliseconds: probeRelayLimits.pollMilliseconds,
      look: () => this.#look(),
      onError: (error) => this.#warn(error),
    })
    this.#local = () => Promise.reject(new Error("nobody performs probes here"))
  }

  /** Who performs probes on nodes that have their session here. */
  listen(local: NodeProbes["probe"]): void {
    this.#local = local
  }

  start(): void {
    const { notifier } = this.#parts
    this.#unsubscribe.push(
      notifier.subscribe(questionsChannel, () => this.#poller.hint()),
      notifier.subscribe(answersChannel, (ids) => {
        if (ids === "missed" || ids.some((id) => this.#waiting.has(id))) this.#poller.hint()
      }),
    )
    this.#poller.start()
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    for (const { id } of [...this.#waiting.values()]) this.#end(id, undefined)
    await this.#poller.stop()
    await Promise.all(this.#answering)
  }

  /** Asks whichever server has the node; undefined where none has, or none answered in time. */
  async ask(
    nodeId: string,
    probe: ProbeQuestion & { readonly id: string; readonly waitMilliseconds: number },
  ): Promise<StepResult | undefined> {
    const { sql, sealer, notifier } = this.#parts
    const { id, waitMilliseconds, ...asked } = probe
    const question = sealer.seal(relayPlace(`probe ${id}`), JSON.stringify(asked))
    if (!(await writeProbe(sql, { nodeId, id, question, milliseconds: waitMilliseconds }))) return undefined
    notifier.notify(questionsChannel, id)
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#end(id, undefined), waitMilliseconds)
      this.#waiting.set(id, { nodeId, id, resolve, timer })
    })
  }

  async #look(): Promise<void> {
    const { sql, serverId, sealer } = this.#parts
    if (this.#waiting.size > 0) {
      for (const { id, answer } of await takeAnswers(sql, [...this.#waiting.values()]))
        this.#end(id, JSON.parse(sealer.unseal(relayPlace(`answer ${id}`), answer)) as StepResult)
    }
    const room = probeRelayLimits.batchMax - this.#answering.size
    if (room <= 0) return
    for (const probe of await takeProbes(sql, serverId, room)) {
      const answering = this.#answer(probe)
        .catch((error: unknown) => this.#warn(error))
        .finally(() => this.#answering.delete(answering))
      this.#answering.add(answering)
    }
  }

  async #answer({ nodeId, id, question }: FoundProbe): Promise<void> {
    const { sql, sealer, notifier } = this.#parts
    const probe = JSON.parse(sealer.unseal(relayPlace(`probe ${id}`), question)) as ProbeQuestion
    const result = await this.#local(nodeId, probe)
    await answerProbe(sql, { nodeId, id, answer: sealer.seal(relayPlace(`answer ${id}`), JSON.stringify(result)) })
    notifier.notify(answersChannel, id)
  }

  #end(id: string, result: StepResult | undefined): void {
    const waiting = this.#waiting.get(id)
    if (!waiting) return
    clearTimeout(waiting.timer)
    this.#waiting.delete(id)
    waiting.resolve(result)
  }

  #warn(error: unknown): void {
    this.#parts.logger.warn({ err: error }, "carrying health checks between servers failed; it is tried again")
  }
}
