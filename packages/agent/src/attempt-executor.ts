import { rm } from "node:fs/promises"
import {
  agentLimits,
  type AgentFrame,
  type AttemptPhase,
  type RollbackOutcome,
  type ServerFrame,
  type TaskOrder,
  type TaskOutcome,
} from "@signalbox/contracts/fleet/agent-protocol"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import { errorText } from "./agent-logger.ts"
import { type Attempt, deedsOf, findResumption, isOpen, isSettled, type JournalRecord } from "./attempt.ts"
import type { OrderToJudge } from "./approval-guard.ts"
import { type AttemptContext, savedDirectory } from "./attempt-context.ts"
import { AttemptLanes, type LaneItem } from "./attempt-lanes.ts"
import { fitResults } from "./outcome-size.ts"
import type { OrderRefusal } from "./policy-file.ts"
import { runRollback } from "./rollback-runner.ts"
import { allSteps, failed, refusedLate, runTask, type TaskRun } from "./task-runner.ts"

type StartFrame = Extract<ServerFrame, { type: "start" }>
type RollbackFrame = Extract<ServerFrame, { type: "rollback" }>
type Secrets = Readonly<Record<string, string>>
type Finished = Extract<JournalRecord, { type: "finished" }>

/** Room in a frame for what surrounds the results. */
const resultBytesMax = agentLimits.frameBytesMax - 64 * 1024

/**
 * Owns the node's attempts from their orders to their ends, and the secrets of those under way (in memory alone). Called
 * by the session for each order and by the agent at start and stop. Invariants: nothing runs that the journal doesn't
 * hold; a (key, phase) whose end is in the journal never runs again; every known (key, phase) is answered from the
 * journal; an order that was taken is not refused as late, however long it waits for its turn; what only waits for people
 * goes on after the agent's end.
 */
export class AttemptExecutor {
  readonly #context: AttemptContext
  readonly #lanes: AttemptLanes
  /** By key and phase. */
  readonly #secrets = new Map<string, Secrets>()
  /** What was taken a moment ago, by key: what waits is read from the journal when its turn comes. */
  readonly #ordersAtHand = new Map<string, TaskOrder>()
  /** Taken by an agent before this one, and past their time when this one began. */
  readonly #lateKeys = new Set<string>()
  #stopping = false
  /** Called when a task or a rollback has ended. */
  onFinished: () => void = () => undefined
  /** Asked just before a task begins: why the local policy refuses it, where it does. */
  refuses: (judged: OrderToJudge) => Promise<OrderRefusal | undefined> = () => Promise.resolve(undefined)

  constructor(context: AttemptContext) {
    this.#context = context
    this.#lanes = new AttemptLanes({
      besideMax: context.limits.besideMax,
      run: (item, stop) => this.#run(item, stop),
      onWaitedInVain: (item, busyWith) => {
        this.#waitedInVain(item.key, busyWith).catch((error: unknown) => {
          context.logger.error("an attempt could not be given up", { key: item.key, error: errorText(error) })
        })
      },
    })
  }

  /** Takes up again what was accepted before the agent ended; to be called once a phase, after recovery. */
  resume(phase: AttemptPhase): void {
    // What had begun has the lane before what waits for it.
    const begunFirst = (attempt: Attempt): number => (attempt.phases[phase] === "running" ? 0 : 1)
    for (const attempt of [...this.#context.journal.attempts()].toSorted((a, b) => begunFirst(a) - begunFirst(b))) {
      const state = attempt.phases[phase]
      if (state !== "accepted" && state !== "running") continue
      if (phase === "task" && state === "accepted" && this.#context.serverNow() > (attempt.startBefore ?? 0))
        this.#lateKeys.add(attempt.key)
      this.#enqueue(attempt, phase)
    }
  }

  /** What the server has not acknowledged, oldest first. */
  open(): Extract<AgentFrame, { type: "hello" }>["open"] {
    const open = [...this.#context.journal.attempts()]
      .toSorted((a, b) => a.changedAt - b.changedAt)
      .flatMap((attempt) =>
        (["task", "rollback"] as const).flatMap((phase) => {
          const state = attempt.phases[phase]
          return state !== "none" && isOpen(attempt, phase) ? [{ key: attempt.key, phase, state }] : []
        }),
      )
    return open.slice(0, 1000)
  }

  async start(frame: StartFrame): Promise<void> {
    const { journal, limits, serverNow } = this.#context
    const { key, order } = frame
    const known = journal.find(key)
    if (known && known.phases.task !== "none") {
      if (known.phases.task !== "finished") this.#keepSecrets(key, "task", frame.secrets)
      return await this.#answer(known, "task")
    }
    if (this.#stopping) return
    if (!known && this.#unsettledCount() >= limits.attemptsUnacknowledgedMax) {
      return this.#context.logger.error("order ignored: too many results wait for the server", { key })
    }
    const startBefore = Date.parse(frame.startBefore)
    assert(Number.isFinite(startBefore), "the session has checked startBefore")
    this.#keepSecrets(key, "task", frame.secrets)
    const accepted = await journal.append(key, { type: "accepted", phase: "task", startBefore, order })
    if (!this.#beginsAtOnce(accepted, order)) this.#context.send({ type: "accepted", key, phase: "task" })
    if (known?.damaged) return await this.#finishTask(key, damagedOutcome(order))
    if (accepted.killedReason !== undefined) {
      return await this.#finishTask(key, killedBefore(accepted.killedReason, order))
    }
    if (serverNow() > startBefore) return await this.#finishTask(key, refusedLate(order, startBefore))
    if (this.#lanes.waitingCount >= limits.queueMax) {
      const message = `${limits.queueMax} orders wait on this node already`
      return await this.#finishTask(key, failed(order, { class: "refused", message, steps: [] }))
    }
    this.#ordersAtHand.set(key, order)
    this.#enqueue(accepted, "task")
    this.#ordersAtHand.delete(key)
  }

  /** Then `started`, or the end, follows so soon that it says that the order has arrived. */
  #beginsAtOnce({ key, exclusive }: Attempt, { save, whole }: TaskOrder): boolean {
    return save.length === 0 && whole !== true && this.#lanes.hasRoomFor({ key, exclusive })
  }

  async rollback({ key, secrets }: RollbackFrame): Promise<void> {
    const { journal } = this.#context
    const known = journal.find(key)
    if (known?.phases.rollback === "finished") return await this.#answer(known, "rollback")
    if (!this.#stopping) this.#keepSecrets(key, "rollback", secrets)
    if (known && known.phases.rollback !== "none") return await this.#answer(known, "rollback")
    if (this.#stopping) return
    if (!known || known.phases.task === "none") {
      await journal.append(key, { type: "killed", reason: "a rollback of this attempt was ordered before its start" })
    }
    if (known?.phases.task === "accepted" && !this.#lanes.isRunning(key, "task")) {
      await this.kill(key, "a rollback of this attempt was ordered before its start")
    }
    const accepted = await journal.append(key, { type: "accepted", phase: "rollback" })
    this.#context.send({ type: "accepted", key, phase: "rollback" })
    const early = await this.#withoutOrder(key)
    if (early) return await this.#finishRollback(key, early)
    this.#enqueue(accepted, "rollback")
  }

  /** How the rollback of an attempt ends whose order never came. */
  async #withoutOrder(key: string): Promise<RollbackOutcome | undefined> {
    const { journal } = this.#context
    const attempt = journal.find(key)
    const nothing = { restored: 0, undone: [] }
    if (attempt?.phases.task === "none") {
      const message = "this node has no record of the attempt: it never arrived here, or its record was pruned"
      return { state: "unknown", message, ...nothing }
    }
    if (attempt?.phases.task !== "finished" || findOrder(await journal.read(key))) return undefined
    if (attempt.damaged) return { state: "unknown", message: "the journal of this attempt is damaged", ...nothing }
    return { state: "rolled-back", message: "the task had not begun, so nothing was changed", ...nothing }
  }

  async kill(key: string, reason: string): Promise<void> {
    const { journal } = this.#context
    const known = journal.find(key)
    if (known?.phases.task === "finished") return await this.#answer(known, "task")
    const attempt = await journal.append(key, { type: "killed", reason })
    if (this.#lanes.abort(key, "task", { kind: "killed", message: reason })) return
    const { task } = attempt.phases
    // It never came, and what comes later finds its end here.
    if (task === "none") return await this.#finishTask(key, attempt.damaged ? damagedOutcome() : killedBefore(reason))
    if (task !== "accepted") return
    this.#lanes.remove(key, "task")
    await this.#finishTask(key, killedBefore(reason, await this.#readOrder(key)))
  }

  async acknowledge(key: string, phase: AttemptPhase): Promise<void> {
    const { journal } = this.#context
    const known = journal.find(key)
    if (!known || known.acknowledged[phase] || known.phases[phase] !== "finished") return
    // Where it is lost, the result is sent once more, and acknowledged once more.
    const attempt = await journal.append(key, { type: "acknowledged", phase }, { volatile: true })
    if (attempt.phases.rollback === "finished" && isSettled(attempt)) {
      await rm(savedDirectory(this.#context, key), { recursive: true, force: true })
    }
  }

  /** Sends again what the server has for long not acknowledged; to a new session all that is open. */
  async resend(which: "late" | "all"): Promise<void> {
    const { journal, clock, limits } = this.#context
    for (const { key, phase, state } of this.open()) {
      const attempt = journal.find(key)
      if (!attempt || !isOpen(attempt, phase)) continue
      // The machine's time may have been set meanwhile.
      const isLate = Math.abs(clock.now() - attempt.changedAt) >= limits.resendIntervalMilliseconds
      if (which === "all" || (state === "finished" && isLate)) await this.#answer(attempt, phase)
    }
  }

  /** Stops what runs (a task is reported `interrupted`) and starts nothing more. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#lanes.stop({ kind: "agent-stopping", message: "the agent was stopped" })
  }

  #unsettledCount(): number {
    let count = 0
    for (const attempt of this.#context.journal.attempts()) if (!isSettled(attempt)) count++
    return count
  }

  #keepSecrets(key: string, phase: AttemptPhase, secrets: Secrets | undefined): void {
    if (secrets) this.#secrets.set(`${key} ${phase}`, secrets)
  }

  /** A task waits for its turn as long as it may run; a rollback as long as it takes, and has the lane to itself. */
  #enqueue({ key, exclusive, waitUntil }: Attempt, phase: AttemptPhase): void {
    if (phase === "rollback") return this.#lanes.add({ key, phase, exclusive: true })
    const waitMilliseconds = (waitUntil ?? 0) - this.#context.clock.now()
    this.#lanes.add({ key, phase, exclusive, waitMilliseconds })
  }

  async #waitedInVain(key: string, busyWith: string): Promise<void> {
    if (this.#context.journal.find(key)?.phases.task !== "accepted") return
    const message = `the node was busy with ${busyWith}`
    await this.#finishTask(key, failed(await this.#readOrder(key), { class: "refused", message, steps: [] }))
  }

  async #run({ key, phase }: LaneItem, stop: AbortSignal): Promise<void> {
    try {
      await (phase === "task" ? this.#runTask(key, stop) : this.#runRollback(key, stop))
    } catch (error) {
      this.#context.logger.error("an attempt could not be carried on", { key, phase, error: errorText(error) })
    } finally {
      this.onFinished()
    }
  }

  async #runTask(key: string, stop: AbortSignal): Promise<void> {
    const order = this.#ordersAtHand.get(key) ?? (await this.#readOrder(key))
    const attempt = this.#context.journal.find(key)
    if (attempt?.phases.task === "running") return await this.#resumeTask(key, { order, stop })
    if (attempt?.phases.task !== "accepted") return
    if (attempt.killedReason !== undefined)
      return await this.#finishTask(key, killedBefore(attempt.killedReason, order))
    if (this.#lateKeys.delete(key)) return await this.#finishTask(key, refusedLate(order, attempt.startBefore ?? 0))
    const refusal = await this.refuses({ key, order, startBefore: attempt.startBefore ?? 0, stop })
    // Where it was stopped meanwhile, that is why it doesn't run.
    if (refusal && !stop.aborted) return await this.#finishTask(key, failed(order, { ...refusal, steps: [] }))
    await this.#carryOut(key, { order, stop })
  }

  /** What an agent before this one began, and that only waited for people. */
  async #resumeTask(key: string, at: { readonly order: TaskOrder; readonly stop: AbortSignal }): Promise<void> {
    const { journal } = this.#context
    const resumption = findResumption(await journal.read(key), at.order)
    assert(resumption, `the recovery left only what can go on: ${key}`)
    const killedReason = journal.find(key)?.killedReason
    if (killedReason === undefined) return await this.#carryOut(key, { ...at, resumption })
    const steps = allSteps(at.order, resumption.results)
    await this.#finishTask(key, { state: "aborted", message: killedReason.slice(0, 2000), steps })
  }

  async #carryOut(key: string, run: Pick<TaskRun, "order" | "stop" | "resumption">): Promise<void> {
    const secrets = this.#secrets.get(`${key} task`) ?? {}
    const { order } = run
    let outcome: TaskOutcome | undefined
    try {
      outcome = await runTask({ context: this.#context, key, secrets, ...run })
    } catch (error) {
      const message = `the agent could not carry on: ${errorText(error)}`
      outcome = failed(order, {
        class: "system",
        message,
        steps: [...(this.#context.journal.find(key)?.stepResults ?? [])],
      })
    }
    if (outcome) await this.#finishTask(key, outcome)
  }

  async #runRollback(key: string, stop: AbortSignal): Promise<void> {
    const { journal, send, clock } = this.#context
    const attempt = journal.find(key)
    if (!attempt || attempt.phases.rollback === "finished") return
    const records = await journal.read(key)
    const order = orderIn(key, records)
    await journal.append(key, { type: "started", phase: "rollback" })
    send({ type: "started", key, phase: "rollback", at: toInstant(clock.now()) })
    const secrets = this.#secrets.get(`${key} rollback`) ?? {}
    const started = attempt.startedAt !== undefined
    const deeds = deedsOf(records, order)
    const outcome = await runRollback({ context: this.#context, key, order, started, deeds, secrets, stop })
    // Cut short by the agent's own end: the next start of the agent decides what is known.
    if (stop.aborted) return
    await this.#finishRollback(key, outcome)
  }

  async #finishTask(key: string, outcome: TaskOutcome): Promise<void> {
    const fitting = { ...outcome, steps: fitResults(outcome.steps, resultBytesMax) }
    await this.#finish(key, { type: "finished", phase: "task", outcome: fitting, at: 0 })
  }

  async #finishRollback(key: string, outcome: RollbackOutcome): Promise<void> {
    const fitting = { ...outcome, undone: fitResults(outcome.undone, resultBytesMax) }
    await this.#finish(key, { type: "finished", phase: "rollback", outcome: fitting, at: 0 })
  }

  async #finish(key: string, record: Finished): Promise<void> {
    await this.#context.journal.append(key, record)
    this.#secrets.delete(`${key} ${record.phase}`)
    this.#context.logger.info(`${record.phase} ${record.outcome.state}`, { key, message: record.outcome.message })
    this.#context.send(finishedFrame(key, record))
  }

  /** Answers a repeated order with what the journal holds. */
  async #answer(attempt: Attempt, phase: AttemptPhase): Promise<void> {
    const { journal, send } = this.#context
    const { key } = attempt
    const state = attempt.phases[phase]
    if (state === "accepted" || state === "running") send({ type: "accepted", key, phase })
    if (state === "running")
      send({ type: "started", key, phase, at: toInstant(attempt.startedAt ?? attempt.changedAt) })
    if (state !== "finished") return
    const records = await journal.read(key)
    const finished = records.find((record) => record.type === "finished" && record.phase === phase)
    assert(finished?.type === "finished", `the journal holds the end of ${key}`)
    send(finishedFrame(key, finished))
  }

  async #readOrder(key: string): Promise<TaskOrder> {
    return orderIn(key, await this.#context.journal.read(key))
  }
}

function orderIn(key: string, records: readonly JournalRecord[]): TaskOrder {
  const order = findOrder(records)
  if (!order) throw new Error(`the journal holds no order for ${key}`)
  return order
}

function findOrder(records: readonly JournalRecord[]): TaskOrder | undefined {
  for (const record of records) if (record.type === "accepted" && record.phase === "task") return record.order
  return undefined
}

function finishedFrame(key: string, { phase, outcome }: Finished): AgentFrame {
  if (phase === "task") return { type: "task-finished", key, outcome }
  return { type: "rollback-finished", key, outcome }
}

/** Without an order where it never came. */
function killedBefore(reason: string, order?: TaskOrder): TaskOutcome {
  return {
    state: "aborted",
    class: "refused",
    message: `not started: ${reason}`.slice(0, 2000),
    steps: order ? allSteps(order, []) : [],
  }
}

function damagedOutcome(order?: TaskOrder): TaskOutcome {
  const message = "the journal of this attempt is damaged: whether it ran is not known"
  return { state: "interrupted", class: "interrupted", message, steps: order ? allSteps(order, []) : [] }
}
