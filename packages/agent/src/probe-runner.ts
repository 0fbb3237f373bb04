import { agentLimits, type ServerFrame, type StepResult } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { errorText } from "./agent-logger.ts"
import type { AttemptContext } from "./attempt-context.ts"
import { runCommand } from "./command-runner.ts"
import { baseEnvironment, findProcessOwner } from "./process-owner.ts"
import { fillText } from "./step-try.ts"
import type { OrderRefusal } from "./policy-file.ts"
import { SecretMask } from "@signalbox/masking/secret-mask"

type Probe = Extract<ServerFrame, { type: "probe" }>

/**
 * Owns the health checks that run now: beside whatever the node does, without the journal, since they change nothing and
 * nobody asks for their result after a restart. At most `probesMax` at once; one more fails at once.
 */
export class ProbeRunner {
  readonly #context: AttemptContext
  readonly #running = new Map<string, { stop: AbortController; ended: Promise<void> }>()
  #stopped = false
  /** Why the local policy refuses one, where it does. */
  refuses: (probe: Probe & { readonly stop: AbortSignal }) => Promise<OrderRefusal | undefined> = () =>
    Promise.resolve(undefined)

  constructor(context: AttemptContext) {
    this.#context = context
  }

  /** Resolves at once; the result goes to the server when it is there. */
  start(probe: Probe): void {
    if (this.#stopped || this.#running.has(probe.id)) return
    if (this.#running.size >= this.#context.limits.probesMax) {
      return this.#report(probe, failure(`${this.#running.size} health checks run on this node already`))
    }
    const stop = new AbortController()
    const ended = this.#run(probe, stop.signal)
      .catch((error: unknown) => failure(errorText(error).slice(0, 2000)))
      .then((result) => {
        this.#running.delete(probe.id)
        this.#report(probe, result)
      })
    this.#running.set(probe.id, { stop, ended })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    const running = [...this.#running.values()]
    for (const { stop } of running) stop.abort()
    await Promise.all(running.map(({ ended }) => ended))
  }

  async #run(probe: Probe, stop: AbortSignal): Promise<StepResult> {
    const { clock, root, limits } = this.#context
    const refusal = await this.refuses({ ...probe, stop })
    if (refusal) throw new AppError("agent.step-refused", refusal.message)
    const inputs = { secrets: {}, outputs: {}, mask: new SecretMask([], 0) }
    const { command } = probe
    const startedAt = clock.now()
    const begunAt = performance.now()
    const result = await runCommand({
      command: "shell" in command ? command : { argv: command.argv.map((word) => fillText(word, inputs)) },
      environment: baseEnvironment(root, await findProcessOwner(undefined)),
      directory: root,
      timeoutMilliseconds: probe.timeoutMilliseconds,
      outputKeptBytes: agentLimits.outputKeptBytesDefault,
      ...{ stop, limits },
    })
    const durationMilliseconds = Math.round(performance.now() - begunAt)
    return { ...result, name: "probe", attempts: 1, startedAt: toInstant(startedAt), durationMilliseconds }
  }

  #report({ id }: Probe, result: StepResult): void {
    this.#context.send({ type: "probe-finished", id, result })
  }
}

function failure(message: string): StepResult {
  return { name: "probe", state: "failed", attempts: 0, durationMilliseconds: 0, message }
}
