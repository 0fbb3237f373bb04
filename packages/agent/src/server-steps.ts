import type { AgentFrame, AttemptPhase, ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"
import type { TryResult } from "./try-result.ts"

type Request = Extract<AgentFrame, { type: "step-request" }>
type Answer = Extract<ServerFrame, { type: "step-result" }>

/** What of a try the server is told, and how long it is waited for. */
interface ServerTry {
  readonly key: string
  readonly phase: AttemptPhase
  readonly index: number
  readonly number: number
  readonly inputs: { readonly outputs: Readonly<Record<string, Readonly<Record<string, string>>>> }
  readonly timeoutMilliseconds: number
  readonly stop: AbortSignal
}

/** An answer may be lost with a session, or a server too busy to take the question: it is asked again, ever more rarely. */
const askAgainMillisecondsMin = 30_000
const askAgainMillisecondsMax = 600_000

interface Pending {
  readonly request: Request
  readonly resolve: (answer: Answer) => void
}

/**
 * Owns the questions that wait for the server: steps that it performs in the node's stead. Asked by running steps,
 * answered by the session. Invariant: what waits is asked again with each new session, and an answer that nobody waits
 * for is passed over. There are at most as many as tasks that run.
 */
export class ServerSteps {
  readonly #send: (frame: AgentFrame) => boolean
  readonly #pending = new Map<string, Pending>()

  constructor(send: (frame: AgentFrame) => boolean) {
    this.#send = send
  }

  async perform(attempt: ServerTry): Promise<TryResult> {
    const { key, phase, index, number, inputs, timeoutMilliseconds, stop } = attempt
    const values = Object.fromEntries(Object.entries(inputs.outputs).map(([id, outputs]) => [id, { ...outputs }]))
    const request: Request = { type: "step-request", key, phase, step: index, try: number, values }
    const { promise, resolve } = Promise.withResolvers<Answer | "late" | "stopped">()
    const name = nameOf({ key, phase, step: index, try: number })
    const onAbort = () => resolve("stopped")
    stop.addEventListener("abort", onAbort)
    const timer = setTimeout(() => resolve("late"), Math.min(timeoutMilliseconds, 2 ** 31 - 1))
    this.#pending.set(name, { request, resolve })
    if (stop.aborted) resolve("stopped")
    else this.#send(request)
    const answer = await this.#askUntil(promise, request)
    clearTimeout(timer)
    stop.removeEventListener("abort", onAbort)
    this.#pending.delete(name)
    if (answer === "late") return { state: "timed-out", message: "the server gave no answer in the step's time" }
    if (answer === "stopped") return { state: "killed", message: "stopped while the server performed it" }
    return resultOf(answer)
  }

  async #askUntil<T>(answer: Promise<T>, request: Request): Promise<T> {
    let again: NodeJS.Timeout | undefined
    const askLater = (milliseconds: number): void => {
      again = setTimeout(() => {
        this.#send(request)
        askLater(Math.min(milliseconds * 2, askAgainMillisecondsMax))
      }, milliseconds)
    }
    askLater(askAgainMillisecondsMin)
    try {
      return await answer
    } finally {
      clearTimeout(again)
    }
  }

  take(answer: Answer): void {
    this.#pending.get(nameOf(answer))?.resolve(answer)
  }

  /** To a new session. */
  askAgain(): void {
    for (const { request } of this.#pending.values()) this.#send(request)
  }
}

function nameOf(of: { key: string; phase: AttemptPhase; step: number; try: number }): string {
  return `${of.key} ${of.phase} ${of.step} ${of.try}`
}

function resultOf({ result, reply, secrets }: Answer): TryResult {
  const { state, exitCode, signal, message, changed, denied, stdout, stderr, outputs } = result
  const known = state === "succeeded" || state === "timed-out" || state === "killed" ? state : "failed"
  return {
    state: known,
    ...(exitCode !== undefined && { exitCode }),
    ...(signal !== undefined && { signal }),
    ...(message !== undefined && { message }),
    ...(changed !== undefined && { changed }),
    ...(denied && { denied }),
    ...(secrets && { secrets }),
    ...(stdout && { stdout }),
    ...(stderr && { stderr }),
    ...(outputs && { values: outputs }),
    ...(reply && { reply }),
  }
}
