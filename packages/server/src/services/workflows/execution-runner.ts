/**
 * Runs one execution on behalf of its owner. Owns the engine's state, the queue of reports and the window of nodes.
 * One turn: take what has come in, step, commit in one statement, and only then acknowledge and send orders. While a
 * commit is on its way the next one is made, and sent where it is full. A commit that finds another owner, or fails, ends
 * the runner without a trace of it and of those behind it: everything that counts is in the rows, and reports that were
 * not acknowledged come again.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import type { HealthCheck } from "@signalbox/contracts/workflows/strategy"
import { isExecutionEnded } from "@signalbox/engine/execution-machine"
import { step } from "@signalbox/engine/scheduler"
import type { EngineCommand, EngineState, StepResult } from "@signalbox/engine/types"
import { isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type {
  Executor,
  ExecutorOrder,
  ExecutorReport,
  OperationCaller,
  SecretReader,
  WindowState,
} from "../../router/ports.ts"
import type { Blobs } from "../../storage/blobs.ts"
import type { Database, Tx } from "../../storage/database.ts"
import { makeBatch } from "./batch.ts"
import { keepHealth, type Batch } from "./batch-store.ts"
import type { ClaimedExecution, Wished } from "./claimed-execution.ts"
import { automaticRollback } from "./automatic-rollback.ts"
import { CommitLine, type LineBatch } from "./commit-line.ts"
import { HealthWatch, type HealthResult } from "./health-watch.ts"
import { isLong, shorten } from "./long-outcome.ts"
import { insertFollow } from "./new-execution-store.ts"
import type { NodeWindow } from "./node-window.ts"
import { batchInputsMax, ReportQueue, toQueued, type QueuedInput } from "./report-queue.ts"
import { orderOf, toRollbackQueued } from "./run-orders.ts"
import { openRun, type OpenedRun } from "./run-opening.ts"
import { RunSettings, windowsPollMilliseconds } from "./run-settings.ts"

/** Why a runner ended: with the execution, because another owns it, because it was told to, or by a failure. */
export type RunnerEnd = "ended" | "lost" | "stopped" | "failed"

export interface RunnerDependencies {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly operations: OperationCaller
  readonly executor: Executor
  readonly windows: WindowState
  readonly secrets: SecretReader
  readonly blobs: Blobs
  readonly askHealth: (check: HealthCheck, run: ClaimedExecution, signal: AbortSignal) => Promise<HealthResult>
  /** Called after each commit. */
  readonly onCommit: (executionId: string) => void
}

/** `late`: of a task that ended before; `foreign`: of one that this node was never given; `early`: not open yet. */
export type Offered = "taken" | "late" | "foreign" | "early"

/** A step whose commit is on its way, and which is carried out once that is durable. */
interface Taken {
  readonly result: StepResult
  readonly inputs: readonly QueuedInput[]
}

export class ExecutionRunner {
  readonly claimed: ClaimedExecution
  readonly #deps: RunnerDependencies
  readonly #queue = new ReportQueue()
  #state: EngineState | undefined
  #run: OpenedRun | undefined
  #window: NodeWindow | undefined
  #health: HealthWatch | undefined
  readonly #settings: RunSettings
  #wakeAt: number | undefined
  #stopping: "lost" | "stopped" | undefined
  #wake: (() => void) | undefined
  readonly #line: CommitLine<Taken>

  constructor(claimed: ClaimedExecution, deps: RunnerDependencies) {
    this.claimed = claimed
    this.#deps = deps
    this.#settings = new RunSettings({ account: claimed.account, windows: deps.windows, wished: claimed })
    this.#line = new CommitLine({
      database: deps.database,
      claimed,
      onAnswer: (wished) => {
        if (wished) this.#settings.hear(wished)
        this.#signal()
      },
    })
  }

  async run(): Promise<RunnerEnd> {
    try {
      const opened = await this.#open()
      if (opened !== "open") return opened
      return await this.#loop()
    } catch (error) {
      this.#deps.logger.error(
        { err: error, execution: this.claimed.id },
        "running an execution failed; it is taken up again",
      )
      return "failed"
    } finally {
      await this.#health?.stop()
      await this.#line.rest()
    }
  }

  /** A node's report. Taken reports are acknowledged once they are durable. */
  offer(report: ExecutorReport, attempt: { readonly ordinal: number; readonly attempt: number }): Offered {
    const state = this.#state
    if (!state) return "early"
    if (this.claimed.rollbackOf !== null) return this.#offerRollback(report, attempt)
    if (attempt.ordinal >= state.plan.targetsCount) return "foreign"
    const node = this.#window?.get(attempt.ordinal)
    if (!node || attempt.ordinal >= state.nextOrdinal) return attempt.ordinal < state.nextOrdinal ? "late" : "foreign"
    if ((node.runner ?? node.id) !== report.nodeId) return "foreign"
    return this.#take(toQueued(report, attempt))
  }

  /** A report on an attempt of the execution that this one rolls back. */
  #offerRollback(report: ExecutorReport, attempt: { readonly ordinal: number; readonly attempt: number }): Offered {
    const node = this.#window?.findByOrigin(attempt.ordinal)
    if (!node || node.originAttempt !== attempt.attempt) return "late"
    if ((node.runner ?? node.id) !== report.nodeId) return "foreign"
    return this.#take(toRollbackQueued(report, node.ordinal))
  }

  #take(queued: QueuedInput | undefined): Offered {
    if (queued && isLong(queued)) void this.#takeLong(queued)
    else if (queued && this.#queue.push(queued)) this.#signal()
    return "taken"
  }

  /** Its report is acknowledged only with the commit, so one that is lost here comes again. */
  async #takeLong(queued: QueuedInput): Promise<void> {
    const { blobs, logger } = this.#deps
    const short = await shorten(queued, blobs, (error) =>
      logger.warn(
        { err: error, execution: this.claimed.id },
        "keeping a long output failed; its head and tail are kept",
      ),
    )
    if (this.#queue.push(short)) this.#signal()
  }

  /** What people wish, as last read from the row. */
  hearWish(wished: Wished): void {
    if (this.#settings.hear(wished)) this.#signal()
  }

  /** Ends the runner: at once where the lease is lost, else after the commit that is on its way. */
  end(why: "lost" | "stopped"): void {
    this.#stopping ??= why
    this.#signal()
  }

  async #open(): Promise<"open" | RunnerEnd> {
    const opened = await openRun(this.#deps, this.claimed, this.#settings)
    if (opened.kind === "ended") this.#deps.onCommit(this.claimed.id)
    if (opened.kind !== "open") return opened.kind
    this.#run = opened
    this.#window = opened.window
    if (!(await this.#send(opened.before, opened.result, []))) return "lost"
    this.#watchHealth(opened)
    return "open"
  }

  #watchHealth({ health: check }: OpenedRun): void {
    const { database, askHealth, clock, logger } = this.#deps
    if (!check || this.#state === undefined || isExecutionEnded(this.#state.execution)) return
    this.#health = new HealthWatch({
      check,
      clock,
      before: this.claimed.health,
      ask: (asked, signal) => askHealth(asked, this.claimed, signal),
      keep: (row) => keepHealth(database, this.claimed, row),
      onFailure: (message) => void this.#take({ input: { type: "health", ok: false, message } }),
      onError: (error) => logger.warn({ err: error, execution: this.claimed.id }, "keeping a health check failed"),
    })
  }

  async #loop(): Promise<RunnerEnd> {
    for (;;) {
      const state = this.#state
      assert(state && this.#window, "an open runner has its state and window")
      const ended = isExecutionEnded(state.execution)
      if (this.#stopping || ended) {
        while (this.#line.size > 0) if (!(await this.#settle())) return "lost"
        return ended ? "ended" : (this.#stopping ?? "stopped")
      }
      if (this.#line.hasAnswer && !(await this.#settle())) return "lost"
      if (!(await this.#hasWork(state))) continue
      // The step may widen the window before it starts anything.
      await this.#window.prepare(state.nextOrdinal, Math.max(state.width, this.#settings.wished.wishWidth ?? 0))
      const inputs = this.#queue.take(this.#batchMax(state))
      const now = this.#deps.clock.now()
      const outside = this.#settings.inputs(state, now)
      const result = step(state, [...outside, ...inputs.map(({ input }) => input)], now)
      if (!(await this.#send(state, result, inputs))) return "lost"
    }
  }

  /** Half of the window at most, so that one half is worked on here while the database writes the other. */
  #batchMax({ width }: EngineState): number {
    return Math.min(batchInputsMax, Math.max(1, Math.ceil(width / 2)))
  }

  /** Waits until there is something to do; false where that is only a commit that has come back. */
  async #hasWork(state: EngineState): Promise<boolean> {
    const { clock } = this.#deps
    const hasInputs = (): boolean => this.#queue.size > 0 || this.#settings.inputs(state, clock.now()).length > 0
    const isDue = (): boolean => this.#wakeAt !== undefined && this.#wakeAt <= clock.now()
    if (this.#line.size === 0 && !hasInputs() && !isDue()) await this.#line.rest()
    // What came while this runner was busy has signalled already, and does so once.
    if (!hasInputs() && !isDue() && !this.#line.hasAnswer && !this.#stopping) {
      const delay = this.#wakeAt === undefined ? timerMillisecondsMax : this.#wakeAt - clock.now()
      const delayMax = this.#settings.hasWindows ? windowsPollMilliseconds : timerMillisecondsMax
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(delay, delayMax))
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
    }
    // One turn of the event loop, so that reports which arrive together are committed together.
    await nextTurn()
    return !this.#stopping && (hasInputs() || isDue())
  }

  #signal(): void {
    this.#wake?.()
  }

  /**
   * Sends the commit of a step as soon as there is room for it, and only then carries an earlier one out that is durable,
   * so that the database is never waited for twice. The state goes ahead of the rows: if a commit fails, so does the
   * runner, and what it had in mind is forgotten. False where the lease is lost.
   */
  async #send(before: EngineState | undefined, result: StepResult, inputs: readonly QueuedInput[]): Promise<boolean> {
    const { clock, random } = this.#deps
    const batch = makeBatch({
      before,
      result,
      inputs,
      now: clock.now(),
      sentAt: (ordinal) => this.#window?.get(ordinal)?.sentAt,
      takesFirstRow: (ordinal) => this.#takesFirstRow(ordinal),
      newEventId: () => newId("event", clock, random),
      run: { ...this.claimed, ...this.#settings.wished },
    })
    this.#state = result.state
    this.#wakeAt = result.wakeAt
    const sent = batch && this.#accompanied(batch, result.state)
    // One that is not full waits for those on their way: meanwhile the next report may come.
    const full = before !== undefined && inputs.length >= this.#batchMax(before)
    const othersMax = full ? this.#line.othersMax(sent) : 0
    while (this.#line.size > othersMax + 1) if (!(await this.#settle())) return false
    const previous = this.#line.size > othersMax ? await this.#line.next() : "none"
    if (!previous) return false
    if (full) await this.#line.speedUp()
    this.#line.send(sent, { result, inputs })
    if (previous !== "none") {
      // The statement leaves for the database first.
      await nextTurn()
      this.#carryOut(previous)
    }
    return true
  }

  #takesFirstRow(ordinal: number): boolean {
    const node = this.#window?.get(ordinal)
    if (!node || node.written) return false
    node.written = true
    return true
  }

  /** What else the batch's transaction writes: the rollback of a run that ends, and where long outcomes are. */
  #accompanied(batch: Batch, state: EngineState): LineBatch {
    const { clock, random, blobs } = this.#deps
    const { id: aggregate, account } = this.claimed
    const end = { claimed: this.claimed, state, wished: this.#settings.wished }
    const follow = batch.ended && this.#run ? automaticRollback(this.#run, end) : undefined
    if (!follow && batch.blobs.length === 0) return batch
    const accompany = async (tx: Tx): Promise<void> => {
      for (const blob of batch.blobs) await blobs.reference(tx, { account, aggregate, ...blob })
      if (follow) await insertFollow(tx, follow, newId("event", clock, random))
    }
    return { ...batch, accompany }
  }

  /** Waits for the oldest commit on its way and carries it out. False where the lease is lost. */
  async #settle(): Promise<boolean> {
    const durable = await this.#line.next()
    if (durable) this.#carryOut(durable)
    return durable !== undefined
  }

  /** Makes known what is durable, never before. */
  #carryOut({ step: { result, inputs }, written }: { readonly step: Taken; readonly written: boolean }): void {
    // The end of a task that had ended already is looked at once more when it comes again: perhaps it must go back.
    const late = new Set<unknown>(result.ignored.filter(({ why }) => why === "ended").map(({ input }) => input))
    const acknowledged = inputs.flatMap(({ acknowledgement: one, input }) => (one && !late.has(input) ? [one] : []))
    if (acknowledged.length > 0) this.#deps.executor.acknowledge(acknowledged)
    this.#dispatch(result.commands)
    for (const { ordinal } of result.taskChanges) {
      if (!result.state.slots.get(ordinal)) this.#window?.drop(ordinal)
    }
    if (written) this.#deps.onCommit(this.claimed.id)
  }

  #dispatch(commands: readonly EngineCommand[]): void {
    const orders: ExecutorOrder[] = []
    for (const command of commands) {
      const order = this.#toOrder(command)
      if (order) orders.push(order)
    }
    if (orders.length > 0) this.#deps.executor.dispatch(orders)
  }

  #toOrder(command: EngineCommand): ExecutorOrder | undefined {
    const node = this.#window?.get(command.ordinal)
    // Only a stray report of a task that ended can ask for this: its node is told by the acknowledgement.
    if (!node) return undefined
    assert(this.#run && this.#state, "an open runner has its orders")
    const now = this.#deps.clock.now()
    if (command.type === "start") {
      node.sentAt ??= now
      if (this.#run.secretsFault !== undefined) {
        this.#refuse(command, this.#run.secretsFault)
        return undefined
      }
    }
    const { startTimeoutMilliseconds, rollbackTimeoutMilliseconds, graceMilliseconds } = this.#state.plan
    try {
      return orderOf(
        {
          claimed: this.claimed,
          builder: this.#run.builder,
          secrets: this.#run.secrets,
          startTimeoutMilliseconds,
          rollbackWaitMilliseconds: rollbackTimeoutMilliseconds + graceMilliseconds,
          now,
        },
        command,
        node,
      )
    } catch (error) {
      if (!isAppError(error)) throw error
      this.#refuse(command, error.message)
      return undefined
    }
  }

  /** A task that ends here, without its node. */
  #refuse({ ordinal, attempt }: EngineCommand, message: string): void {
    const outcome = { state: "failed", class: "refused" } as const
    this.#queue.push({ input: { type: "task-finished", ordinal, attempt, outcome }, message })
    this.#signal()
  }
}

/** The longest delay that a timer takes. */
const timerMillisecondsMax = 2_000_000_000
