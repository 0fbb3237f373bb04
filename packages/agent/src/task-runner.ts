import type { StepOrder, StepResult, TaskOrder, TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import { isAppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { errorText } from "./agent-logger.ts"
import type { Resumption } from "./attempt.ts"
import { type AttemptContext, savedDirectory } from "./attempt-context.ts"
import { findProcessOwner } from "./process-owner.ts"
import { saveFiles } from "./saved-files.ts"
import { SecretMask } from "@signalbox/masking/secret-mask"
import { checkTotalLength, factsOf, isWanted, type StepFacts } from "./step-expressions.ts"
import { findKind, isApproval, requireTexts } from "./step-kinds.ts"
import { notRun, runStep, withoutOutput, type StepRun } from "./step-runner.ts"
import { requireSecrets, type StepInputs } from "./step-try.ts"

export interface TaskRun {
  readonly context: AttemptContext
  readonly key: string
  readonly order: TaskOrder
  /** By name; never written down. */
  readonly secrets: Readonly<Record<string, string>>
  /** Aborted with a `StopReason`. */
  readonly stop: AbortSignal
  /** Present where an agent before this one began it, and it waited for people. */
  readonly resumption?: Resumption
}

/** Why a running task is stopped: on the server's order, or since the agent itself ends. */
export interface StopReason {
  readonly kind: "killed" | "agent-stopping"
  readonly message: string
}

/**
 * Saves, starts, runs the steps in order until one fails. Undefined where the agent stops while people are waited for:
 * the next one goes on. Throws only where the journal can't be written.
 */
export async function runTask(run: TaskRun): Promise<TaskOutcome | undefined> {
  const { context, key, order } = run
  if (run.resumption) return await resumeTask(run, run.resumption)
  let mask: SecretMask
  let savedBytes: number
  try {
    mask = new SecretMask(Object.values(run.secrets), context.limits.maskPatternsMax)
    await checkOrder(run)
    savedBytes = await saveBefore(run)
  } catch (error) {
    if (run.stop.aborted) return stopped(run, [])
    const outcomeClass = isAppError(error) ? "refused" : "system"
    return failed(order, { class: outcomeClass, message: `before the first step: ${errorText(error)}`, steps: [] })
  }
  if (run.stop.aborted) return stopped(run, [])
  const startedAt = context.clock.now()
  // Durable with the record of the first step, before which nothing is done.
  await context.journal.append(key, { type: "started", phase: "task", savedBytes }, { volatile: true })
  context.send({ type: "started", key, phase: "task", at: toInstant(startedAt) })
  const deadline = context.uptime() + order.timeoutMilliseconds
  return await new StepSequence(run, { mask, deadline }).run()
}

/** The time that its steps took is over; the wait itself takes none of it. */
async function resumeTask(run: TaskRun, { results, step }: Resumption): Promise<TaskOutcome | undefined> {
  const { context, order, secrets } = run
  const mask = new SecretMask(Object.values(secrets), context.limits.maskPatternsMax)
  const worked = results.reduce((sum, { durationMilliseconds }, index) => {
    const isWait = order.steps[index] !== undefined && isApproval(order.steps[index])
    return sum + (isWait ? 0 : durationMilliseconds)
  }, 0)
  const deadline = context.uptime() + Math.max(1, order.timeoutMilliseconds - worked)
  context.logger.info("waiting for people again", { key: run.key, step })
  return await new StepSequence(run, { mask, deadline }).run()
}

/** What would be refused in the middle is refused before anything is changed. */
async function checkOrder({ context, order, secrets }: TaskRun): Promise<void> {
  requireSecrets(order, secrets)
  for (const step of order.steps) await findProcessOwner(step.user)
  const hasPlaybook = order.steps.some(({ playbook, undo }) => playbook ?? (undo && "playbook" in undo))
  // Loaded by the first task that has one.
  if (hasPlaybook) await (await import("./playbook-step.ts")).requireAnsible(order, context.root)
}

/** The declared paths, or the whole root, which holds them. */
async function saveBefore({ context, key, order, stop }: TaskRun): Promise<number> {
  const { root, dataDirectory, limits } = context
  const into = savedDirectory(context, key)
  const paths = order.whole ? [] : order.save
  const savedBytes = await saveFiles({ root, dataDirectory, into, paths, limits, stop })
  if (!order.whole) return savedBytes
  const { saveWhole } = await import("./whole-tree.ts")
  return await saveWhole({ context, key, stop })
}

/** The steps of one task, one after the other; holds what they passed on. Used once. */
class StepSequence {
  readonly #run: TaskRun
  #secrets: StepInputs["secrets"]
  #mask: SecretMask
  /** By `uptime` of the context. */
  #deadline: number
  #isLeft = false
  readonly #results: StepResult[] = []
  readonly #facts: Record<string, StepFacts> = {}

  constructor(run: TaskRun, { mask, deadline }: { readonly mask: SecretMask; readonly deadline: number }) {
    this.#run = run
    this.#secrets = run.secrets
    this.#mask = mask
    this.#deadline = deadline
    for (const [index, result] of (run.resumption?.results ?? []).entries()) {
      const id = run.order.steps[index]?.id
      if (id !== undefined) this.#facts[id] = factsOf(result)
      this.#results.push(result)
    }
  }

  async run(): Promise<TaskOutcome | undefined> {
    const outcome = await this.#runAll()
    if (this.#isLeft) return undefined
    const { message } = outcome
    return { ...outcome, ...(message !== undefined && { message: this.#mask.text(message).slice(0, 2000) }) }
  }

  async #runAll(): Promise<TaskOutcome> {
    const { order, stop, context } = this.#run
    for (const [index, step] of order.steps.entries()) {
      if (index < this.#results.length) continue
      if (stop.aborted) return stopped(this.#run, this.#results)
      if (context.uptime() >= this.#deadline) return timedOut(order, this.#results)
      const refusal = await this.#runOne(index, step)
      if (refusal) return refusal
    }
    return { state: "succeeded", steps: this.#results }
  }

  /** The task's outcome where it ends here. */
  async #runOne(index: number, step: StepOrder): Promise<TaskOutcome | undefined> {
    const { context, key, order, stop } = this.#run
    const kind = findKind(step, order.whole === true)
    if (!kind) {
      const message = `this agent can't run step "${step.name}"`
      return failed(order, { class: "refused", message, steps: this.#results })
    }
    let result = await this.#resultBefore(step)
    if (!result) {
      this.#tellStep(index, step)
      const { attemptsMax } = step
      const inputs = this.#inputs()
      const run = { context, key, index, step, attemptsMax, inputs, stop, phase: "task" as const, ...kind }
      result = await (isApproval(step) ? this.#waitForPeople(run) : runStep({ ...run, deadline: this.#deadline }))
    }
    result = this.#passOn(step, result)
    this.#results.push(result)
    if (stop.aborted && result.state !== "succeeded") {
      // Nothing ran: the next agent asks again, and is told what came of it.
      this.#isLeft = isApproval(step) && (stop.reason as StopReason).kind === "agent-stopping"
      return stopped(this.#run, this.#results)
    }
    await context.journal.append(key, { type: "step-ended", result: withoutOutput(result) }, { volatile: true })
    return this.#judge(step, result)
  }

  /** The task's own time stands still meanwhile. Secrets come with the answer, for an agent that has lost them. */
  async #waitForPeople(run: Omit<StepRun, "deadline">): Promise<StepResult> {
    const { context, step } = run
    const { resumption } = this.#run
    const since = resumption?.step === run.index ? Math.max(0, context.clock.now() - resumption.since) : 0
    const begunAt = context.uptime()
    const perform: StepRun["perform"] = async (attempt) => {
      const tried = await run.perform(attempt)
      if (tried.secrets) this.#takeSecrets(tried.secrets)
      return tried
    }
    const result = await runStep({ ...run, perform, deadline: begunAt + Math.max(1, step.timeoutMilliseconds - since) })
    this.#deadline += context.uptime() - begunAt
    return result
  }

  #takeSecrets(secrets: StepInputs["secrets"]): void {
    this.#secrets = { ...this.#secrets, ...secrets }
    this.#mask = new SecretMask(Object.values(this.#secrets), this.#run.context.limits.maskPatternsMax)
  }

  /** Of an only step `started` has said it all. */
  #tellStep(step: number, { name }: StepOrder): void {
    const { context, key, order } = this.#run
    const stepsCount = order.steps.length
    if (stepsCount === 1) return
    const percent = Math.floor((step / stepsCount) * 100)
    context.send({ type: "progress", key, step, stepsCount, name, percent })
  }

  /** The result of a step that doesn't run: its condition is not met, or a text of it can't be filled. */
  async #resultBefore(step: StepOrder): Promise<StepResult | undefined> {
    try {
      const data = { facts: this.#run.order.facts, steps: this.#facts }
      if (step.when !== undefined && !(await isWanted(step.when, data))) return { ...notRun(step), state: "skipped" }
      requireTexts(step, this.#inputs())
      return undefined
    } catch (error) {
      return { ...notRun(step), state: "failed", message: this.#mask.text(errorText(error)).slice(0, 2000) }
    }
  }

  #inputs(): StepInputs {
    const outputs = Object.fromEntries(Object.entries(this.#facts).map(([id, facts]) => [id, facts.outputs]))
    return { secrets: this.#secrets, mask: this.#mask, outputs }
  }

  #passOn(step: StepOrder, result: StepResult): StepResult {
    if (step.id === undefined) return result
    this.#facts[step.id] = factsOf(result)
    try {
      checkTotalLength(this.#facts)
      return result
    } catch (error) {
      const { outputs: _outputs, ...rest } = result
      const failure: StepResult = { ...rest, state: "failed", message: errorText(error) }
      this.#facts[step.id] = factsOf(failure)
      return failure
    }
  }

  #judge(step: StepOrder, result: StepResult): TaskOutcome | undefined {
    const { context, order } = this.#run
    if (result.state === "succeeded" || result.state === "skipped") return undefined
    if (context.uptime() >= this.#deadline) return timedOut(order, this.#results)
    if (step.continueOnFailure) return undefined
    return failed(order, {
      class: result.denied ? "denied" : result.state === "timed-out" ? "timeout" : "command",
      message: `step "${step.name}" ${describe(result)}`,
      steps: this.#results,
    })
  }
}

function describe(result: StepResult): string {
  if (result.state === "timed-out") return "took longer than its timeout and was stopped"
  if (result.signal !== undefined) return `was ended by ${result.signal}`
  if (result.exitCode !== undefined && result.exitCode !== 0) return `exited with ${result.exitCode}`
  return `failed: ${result.message ?? "no reason given"}`.slice(0, 1800)
}

function timedOut(order: TaskOrder, steps: readonly StepResult[]): TaskOutcome {
  const message = `the task took longer than its ${order.timeoutMilliseconds} ms`
  return failed(order, { class: "timeout", message, steps })
}

export function refusedLate(order: TaskOrder, startBefore: number): TaskOutcome {
  const message = `the order came too late: it was to start before ${toInstant(startBefore)}`
  return failed(order, { class: "refused", message, steps: [] })
}

export function failed(
  order: TaskOrder,
  failure: { class: NonNullable<TaskOutcome["class"]>; message: string; steps: readonly StepResult[] },
): TaskOutcome {
  return {
    state: "failed",
    class: failure.class,
    message: failure.message.slice(0, 2000),
    steps: allSteps(order, failure.steps),
  }
}

function stopped(run: TaskRun, steps: readonly StepResult[]): TaskOutcome {
  const reason = run.stop.reason as StopReason
  const all = allSteps(run.order, steps)
  const message = reason.message.slice(0, 2000)
  if (reason.kind === "killed") return { state: "aborted", message, steps: all }
  return { state: "interrupted", class: "interrupted", message, steps: all }
}

/** What ran, and the rest as `not-run`. */
export function allSteps(order: TaskOrder, steps: readonly StepResult[]): StepResult[] {
  return [...steps, ...order.steps.slice(steps.length).map(notRun)]
}
