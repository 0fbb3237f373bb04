/**
 * Runs the tasks of targets that have neither an agent nor a node that stands in for them: steps that are the server's
 * own, and waits. Owns the tasks under way in this process. Each call is on record before it leaves (`ServerSteps`), so
 * a task that a server left half done is walked through again by the next owner: what is on record is not done twice.
 */
import { setTimeout as delay } from "node:timers/promises"
import {
  parseAttemptKey,
  type RollbackOutcome,
  type StepOrder,
  type StepResult,
  type TaskOrder,
  type TaskOutcome,
} from "@signalbox/contracts/fleet/agent-protocol"
import { isAppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type { Logger } from "pino"
import type { Executor, ExecutorOrder, ExecutorReport, StepAnswer } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { isWanted, outputsOf, type StepFacts } from "./conditions.ts"
import type { DescribedStep, ServerSteps } from "./server-steps.ts"
import { listBegunSteps } from "./step-call-store.ts"

/** Stands for the node of such a task: nothing else reports for it. */
export const serverRunner = "server"

export const serverTaskLimits = {
  /** Before a step that could not be performed now is asked for again. */
  askAgainMilliseconds: 1_000,
  stepDelayMillisecondsMax: 3_600_000,
} as const

export interface ServerTasksOptions {
  readonly sql: Sql
  readonly clock: Clock
  readonly logger: Logger
  readonly steps: ServerSteps
}

interface Running {
  readonly stop: AbortController
  readonly done: Promise<void>
}

export class ServerTasks {
  readonly #options: ServerTasksOptions
  readonly #running = new Map<string, Running>()
  #listener: (report: ExecutorReport) => void = () => undefined

  constructor(options: ServerTasksOptions) {
    this.#options = options
  }

  /** An executor that runs these tasks here and leaves the others to `nodes`. */
  beside(nodes: Executor): Executor {
    return {
      dispatch: (orders) => {
        const [own, others] = [orders.filter(isOwn), orders.filter((order) => !isOwn(order))]
        if (others.length > 0) nodes.dispatch(others)
        for (const order of own) this.#take(order)
      },
      acknowledge: (reports) => {
        const others = reports.filter(({ nodeId }) => nodeId !== serverRunner)
        if (others.length > 0) nodes.acknowledge(others)
      },
      forget: (executionId) => nodes.forget(executionId),
      answer: (nodeId, answer) => nodes.answer(nodeId, answer),
      listen: (listener) => {
        this.#listener = listener
        nodes.listen(listener)
      },
    }
  }

  /** Ends what runs without a word: the next owner goes on. */
  async stop(): Promise<void> {
    for (const { stop } of this.#running.values()) stop.abort(new Stopping())
    await Promise.all([...this.#running.values()].map(({ done }) => done))
  }

  #take(order: ExecutorOrder): void {
    const { key } = order
    const phase = order.type === "rollback" ? "rollback" : "task"
    const id = `${key}/${phase}`
    if (order.type === "kill") return this.#running.get(id)?.stop.abort(order.reason)
    this.#listener({ type: "accepted", nodeId: serverRunner, key, phase })
    this.#listener({ type: "started", nodeId: serverRunner, key, phase })
    if (this.#running.has(id)) return
    const stop = new AbortController()
    const done = (
      order.type === "start" ? this.#run(key, order.order, stop.signal) : this.#rollBack(order, stop.signal)
    )
      .catch((error: unknown) => {
        if (!(stop.signal.reason instanceof Stopping))
          this.#options.logger.error({ err: error, key }, "a task of the server could not be carried on")
      })
      .finally(() => this.#running.delete(id))
    this.#running.set(id, { stop, done })
  }

  async #run(key: string, order: TaskOrder, signal: AbortSignal): Promise<void> {
    const walk = new Walk(this.#options, { key, phase: "task", signal, order })
    const outcome = await walk.run()
    this.#listener({ type: "task-finished", nodeId: serverRunner, key, outcome })
  }

  async #rollBack(order: ExecutorOrder & { type: "rollback" }, signal: AbortSignal): Promise<void> {
    const { key } = order
    const attempt = parseAttemptKey(key)
    const begun = await listBegunSteps(this.#options.sql, attempt)
    const steps = await this.#options.steps.describe(attempt.executionId)
    const outcome = await undoSteps(this.#options, { key, begun, steps, signal })
    this.#listener({ type: "rollback-finished", nodeId: serverRunner, key, outcome })
  }
}

class Stopping {
  readonly message = "the server is stopping"
}

function isOwn({ nodeId }: ExecutorOrder): boolean {
  return nodeId === serverRunner
}

interface WalkOptions {
  readonly key: string
  readonly phase: "task" | "rollback"
  readonly order: TaskOrder
  readonly signal: AbortSignal
}

/** One task's way through its steps. */
class Walk {
  readonly #options: ServerTasksOptions
  readonly #walk: WalkOptions
  readonly #facts: Record<string, StepFacts> = {}
  readonly #results: StepResult[] = []
  #deadline: number

  constructor(options: ServerTasksOptions, walk: WalkOptions) {
    this.#options = options
    this.#walk = walk
    this.#deadline = options.clock.now() + walk.order.timeoutMilliseconds
  }

  async run(): Promise<TaskOutcome> {
    const { order, signal } = this.#walk
    for (const [index, step] of order.steps.entries()) {
      if (signal.aborted) return this.#aborted()
      const result = await this.#runStep(index, step)
      if (signal.aborted && result.state !== "succeeded") return this.#aborted()
      this.#results.push(result)
      this.#note(step, result)
      if (result.state === "succeeded" || result.state === "skipped" || step.continueOnFailure) continue
      return this.#failed(step, result)
    }
    return { state: "succeeded", steps: this.#results }
  }

  #note(step: StepOrder, { state, outputs = {}, changed }: StepResult): void {
    if (step.id === undefined) return
    this.#facts[step.id] = { state, outputs, ...(changed === undefined ? {} : { changed }) }
  }

  #failed(step: StepOrder, { state, message = "failed", denied }: StepResult): TaskOutcome {
    const timedOut = state === "timed-out" || this.#options.clock.now() >= this.#deadline
    return {
      state: "failed",
      class: denied ? "denied" : timedOut ? "timeout" : "command",
      message: `step "${step.name}": ${message}`.slice(0, 2000),
      steps: this.#allSteps(),
    }
  }

  #aborted(): TaskOutcome {
    const { reason } = this.#walk.signal
    if (reason instanceof Stopping) throw reason
    return { state: "aborted", message: String(reason).slice(0, 2000), steps: this.#allSteps() }
  }

  #allSteps(): StepResult[] {
    const rest = this.#walk.order.steps.slice(this.#results.length)
    return [...this.#results, ...rest.map((step): StepResult => plainResult(step, "not-run"))]
  }

  async #runStep(index: number, step: StepOrder): Promise<StepResult> {
    try {
      const { facts } = this.#walk.order
      if (facts && !isWanted(step.when, facts, this.#facts)) return plainResult(step, "skipped")
      if (step.wait && "milliseconds" in step.wait) return await this.#wait(step, step.wait.milliseconds)
      if (step.server === undefined)
        return { ...plainResult(step, "failed"), message: "this target has no agent, and the step needs one" }
      return await this.#perform(index, step)
    } catch (error) {
      if (!isAppError(error)) throw error
      return { ...plainResult(step, "failed"), message: error.message.slice(0, 2000) }
    }
  }

  async #wait(step: StepOrder, milliseconds: number): Promise<StepResult> {
    const left = Math.max(0, this.#deadline - this.#options.clock.now())
    await pause(Math.min(milliseconds, left), this.#walk.signal)
    const state = milliseconds > left ? "timed-out" : "succeeded"
    return { ...plainResult(step, state), durationMilliseconds: Math.min(milliseconds, left) }
  }

  async #perform(index: number, step: StepOrder): Promise<StepResult> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#askOf(step, { index, attempt })
      if (!answer) return { ...plainResult(step, "timed-out"), message: "the task ran out of time" }
      const { result } = answer
      if (result.state === "succeeded") {
        const outputs = outputsOf(step.outputs, { ...answer.reply })
        return { ...result, attempts: attempt, ...(Object.keys(outputs).length > 0 && { outputs }) }
      }
      const last = attempt >= step.attemptsMax || this.#walk.signal.aborted
      if (last || !(await this.#delay(step, attempt))) return { ...result, attempts: attempt }
    }
  }

  /** While people are waited for the task's own time stands still. */
  async #askOf(step: StepOrder, at: { index: number; attempt: number }): Promise<StepAnswer | undefined> {
    if (step.server !== "approval") return await this.#ask(at, this.#deadline)
    const { clock } = this.#options
    const begunAt = clock.now()
    const answer = await this.#ask(at, begunAt + step.timeoutMilliseconds)
    this.#deadline += clock.now() - begunAt
    return answer
  }

  /** Asks until there is an answer; undefined where the time is up. */
  async #ask({ index, attempt }: { index: number; attempt: number }, until: number): Promise<StepAnswer | undefined> {
    const { key, phase, signal } = this.#walk
    const values = Object.fromEntries(Object.entries(this.#facts).map(([id, { outputs }]) => [id, outputs]))
    while (this.#options.clock.now() < until && !signal.aborted) {
      const request = { key, phase, step: index, try: attempt, values }
      const answer = await this.#options.steps.perform(serverRunner, request)
      if (answer) return answer
      await pause(serverTaskLimits.askAgainMilliseconds, signal)
    }
    return undefined
  }

  /** Waits before the next attempt; false where there is no time for it. */
  async #delay(step: StepOrder, attempt: number): Promise<boolean> {
    const grown = step.retryDelayMilliseconds * (step.retryBackoff ?? 1) ** (attempt - 1)
    const most = step.retryDelayMillisecondsMax ?? serverTaskLimits.stepDelayMillisecondsMax
    const milliseconds = Math.min(grown, most)
    if (this.#options.clock.now() + milliseconds >= this.#deadline) return false
    await pause(milliseconds, this.#walk.signal)
    return !this.#walk.signal.aborted
  }
}

/** The undos of the steps that were begun, from the last one back. */
async function undoSteps(
  options: ServerTasksOptions,
  task: {
    readonly key: string
    readonly begun: readonly number[]
    readonly steps: readonly DescribedStep[]
    readonly signal: AbortSignal
  },
): Promise<RollbackOutcome> {
  const { key, begun, steps, signal } = task
  if (begun.length === 0)
    return { state: "rolled-back", message: "no step had begun, so nothing was changed", restored: 0, undone: [] }
  const undone: StepResult[] = []
  const left: string[] = []
  for (const index of begun.toSorted((a, b) => b - a)) {
    const { name, hasUndo } = steps[index] ?? { name: `step ${index + 1}`, hasUndo: false }
    if (!hasUndo) {
      left.push(`what "${name}" changed`)
      continue
    }
    const request = { key, phase: "rollback", step: index, try: 1, values: {} } as const
    const answer = await options.steps.perform(serverRunner, request)
    if (signal.aborted) throw signal.reason
    undone.push(answer?.result ?? { ...plainResult({ name }, "failed"), message: "the undo could not be performed" })
  }
  if (undone.length === 0)
    return { state: "not-reversible", message: `not covered: ${left.join(", ")}`.slice(0, 2000), restored: 0, undone }
  const broken = undone.filter(({ state }) => state !== "succeeded").map(({ name, state }) => `"${name}" ${state}`)
  if (broken.length > 0)
    return { state: "rollback-failed", message: broken.join("; ").slice(0, 2000), restored: 0, undone }
  return { state: "rolled-back", restored: 0, undone, ...(left.length > 0 && { notCovered: left }) }
}

function plainResult({ name }: { readonly name: string }, state: StepResult["state"]): StepResult {
  return { name, state, attempts: state === "not-run" || state === "skipped" ? 0 : 1, durationMilliseconds: 0 }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal }).catch(() => undefined)
}
