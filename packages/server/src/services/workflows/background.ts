/**
 * Owns the executions that this server runs: claims those that nobody owns, renews their leases, passes on reports and
 * wishes, and hands everything back when the server stops. The database decides who owns what; this only keeps to it.
 */
import { setTimeout as delay } from "node:timers/promises"
import { parseAttemptKey } from "@signalbox/contracts/fleet/agent-protocol"
import { newId } from "@signalbox/kernel/id"
import type { ExecutorReport } from "../../router/ports.ts"
import { claimExecutions, readWishes, releaseExecution, renewLeases } from "./lease-store.ts"
import { ExecutionRunner, type Offered, type RunnerDependencies } from "./execution-runner.ts"
import { LateReports } from "./late-reports.ts"
import type { LiveRelay, LiveReport } from "./live-relay.ts"
import type { ReportInbox } from "./report-inbox.ts"
import type { ServerSteps } from "./server-steps.ts"

export interface OwnerSettings {
  /** How long an owner that says nothing keeps its executions; the longest time to a takeover is this and a scan. */
  readonly leaseMilliseconds: number
  readonly renewMilliseconds: number
  readonly scanMilliseconds: number
  readonly executionsMax: number
}

export const ownerSettings: OwnerSettings = {
  leaseMilliseconds: 8_000,
  renewMilliseconds: 2_000,
  scanMilliseconds: 500,
  executionsMax: 200,
}

export interface OwnerOptions extends Omit<RunnerDependencies, "onCommit"> {
  readonly serverId: string
  readonly settings?: Partial<OwnerSettings>
  /** Progress and output of running tasks, for those who follow an execution here. */
  readonly onLive: (executionId: string, ordinal: number, report: LiveReport) => void
  readonly onCommit: (executionId: string) => void
  /** The last of an execution is committed. */
  readonly onEnd: (executionId: string) => void
  readonly steps: ServerSteps
  /** Carry reports between servers; left out where there is no other. */
  readonly inbox?: ReportInbox
  readonly live?: Pick<LiveRelay, "report">
}

const claimsPerScan = 50
/** A runner that failed is taken up again no sooner. */
const retryMilliseconds = 1_000

const isLive = (report: ExecutorReport): report is LiveReport => report.type === "progress" || report.type === "output"

/** Without a phase; a node can only have vanished from a rollback once the execution itself has ended. */
const rollbackReports: ReadonlySet<string> = new Set(["rollback-finished", "vanished"])

export class ExecutionOwner {
  /** This process of the server: one that starts after a crash is another. */
  readonly name: string
  readonly #options: OwnerOptions
  readonly #settings: OwnerSettings
  readonly #runners = new Map<string, ExecutionRunner>()
  /** The runners of rollbacks, by the execution that each puts back. */
  readonly #rollbacks = new Map<string, ExecutionRunner>()
  readonly #runs = new Set<Promise<void>>()
  readonly #late: LateReports
  readonly #stop = new AbortController()
  #loops: Promise<unknown> | undefined
  #scanning: Promise<void> | undefined
  #scanAgain = false
  #foreignCount = 0

  constructor(options: OwnerOptions) {
    this.#options = options
    this.#settings = { ...ownerSettings, ...options.settings }
    this.name = `${options.serverId}/${newId("server", options.clock, options.random)}`
    this.#late = new LateReports({
      sql: options.database,
      executor: options.executor,
      secrets: options.secrets,
      clock: options.clock,
      onForeign: (report) => this.#countForeign(report),
      onError: (error) => options.logger.warn({ err: error }, "looking up late reports failed"),
    })
  }

  /** Reports of tasks that their node was never given (fleet.unknown-task), since the start. */
  get foreignCount(): number {
    return this.#foreignCount
  }

  async start(): Promise<void> {
    this.#options.executor.listen((report) => this.#hear(report))
    this.#options.inbox?.start({
      executions: () => [...this.#runners.keys()],
      hear: (report) => this.#hearRelayed(report),
      late: (report) => this.#late.add({ report, ...parseAttemptKey(report.key), owned: false }),
    })
    await this.#claim(`${this.#options.serverId}/`)
    this.#loops = Promise.all([
      this.#every(this.#settings.scanMilliseconds, () => this.scan()),
      this.#every(this.#settings.renewMilliseconds, () => this.#renew()),
    ])
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#loops
    await this.#scanning
    for (const runner of this.#runners.values()) runner.end("stopped")
    await Promise.all(this.#runs)
    await this.#options.inbox?.stop()
    await this.#late.idle()
    await this.#options.steps.idle()
  }

  /** Ends without giving anything back, as a process does that is killed. For tests of the takeover. */
  async abandon(): Promise<void> {
    this.#stop.abort()
    for (const runner of this.#runners.values()) runner.end("lost")
    await this.#loops
    await Promise.all(this.#runs)
    await this.#options.inbox?.stop()
  }

  owns(executionId: string): boolean {
    return this.#runners.has(executionId)
  }

  /** A hint that there is something to claim or a wish to read; the regular scan finds it too. */
  hint(): void {
    this.scan().catch((error: unknown) => this.#warn(error))
  }

  /** Claims what can be claimed and reads wishes. Calls during a scan are answered by one more scan. */
  scan(): Promise<void> {
    if (this.#scanning) {
      this.#scanAgain = true
      return this.#scanning
    }
    this.#scanning = this.#scanOnce().finally(() => {
      this.#scanning = undefined
      if (!this.#scanAgain) return
      this.#scanAgain = false
      this.hint()
    })
    return this.#scanning
  }

  async #scanOnce(): Promise<void> {
    // A server that serves no executions yet, or no longer, leaves hints to the others.
    if (!this.#loops || this.#stop.signal.aborted) return
    if (this.#runners.size > 0) {
      const wishes = await readWishes(this.#options.database, this.name, [...this.#runners.keys()])
      for (const wished of wishes) this.#runners.get(wished.id)?.hearWish(wished)
    }
    await this.#claim()
  }

  async #claim(predecessors?: string): Promise<void> {
    const room = this.#settings.executionsMax - this.#runners.size
    if (room <= 0 || this.#stop.signal.aborted) return
    const claimed = await claimExecutions(this.#options.database, {
      owner: this.name,
      leaseMilliseconds: this.#settings.leaseMilliseconds,
      limit: Math.min(room, claimsPerScan),
      except: [...this.#runners.keys()],
      ...(predecessors === undefined ? {} : { predecessors }),
    })
    for (const execution of claimed) {
      const runner = new ExecutionRunner(execution, this.#options)
      this.#runners.set(execution.id, runner)
      if (execution.rollbackOf !== null) this.#rollbacks.set(execution.rollbackOf, runner)
      const run = this.#run(runner).finally(() => this.#runs.delete(run))
      this.#runs.add(run)
    }
  }

  async #run(runner: ExecutionRunner): Promise<void> {
    const { claimed } = runner
    const end = await runner.run()
    try {
      if (end === "ended") this.#options.onEnd(claimed.id)
      if (end === "stopped") await releaseExecution(this.#options.database, claimed)
      // Kept in the map meanwhile, so that it is not claimed again at once.
      if (end === "failed") await delay(retryMilliseconds, undefined, { signal: this.#stop.signal }).catch(() => {})
      if (end === "lost") {
        this.#options.executor.forget(claimed.id)
        this.#options.logger.warn({ execution: claimed.id }, "another server runs this execution now")
      }
    } catch (error) {
      this.#warn(error)
    } finally {
      this.#runners.delete(claimed.id)
      const { rollbackOf } = claimed
      if (rollbackOf !== null && this.#rollbacks.get(rollbackOf) === runner) this.#rollbacks.delete(rollbackOf)
    }
  }

  async #renew(): Promise<void> {
    if (this.#runners.size === 0) return
    const executions = [...this.#runners.values()].map(({ claimed }) => claimed)
    const kept = new Set(
      await renewLeases(this.#options.database, {
        owner: this.name,
        leaseMilliseconds: this.#settings.leaseMilliseconds,
        executions,
      }),
    )
    for (const claimed of executions) {
      const runner = this.#runners.get(claimed.id)
      // An execution that has just ended is not renewed either; its runner knows.
      if (runner?.claimed === claimed && !kept.has(claimed.id)) runner.end("lost")
    }
  }

  #hear(report: ExecutorReport): void {
    if (report.type === "step-request") return this.#performStep(report)
    const { inbox } = this.#options
    const attempt = parseAttemptKey(report.key)
    const runner = this.#findRunner(report, attempt.executionId)
    if (runner) this.#offer(runner, report, attempt)
    else if (isLive(report)) this.#options.live?.report(attempt.executionId, attempt.ordinal, report)
    else if (inbox) inbox.send(report)
    else this.#late.add({ report, ...attempt, owned: false })
  }

  /** Progress or output that came over another server. */
  hearLive(report: LiveReport): void {
    const attempt = parseAttemptKey(report.key)
    const runner = this.#findRunner(report, attempt.executionId)
    if (runner) this.#offer(runner, report, attempt)
  }

  /** A report that came over another server; false where its run is not open yet. */
  #hearRelayed(report: ExecutorReport): boolean {
    const attempt = parseAttemptKey(report.key)
    const runner = this.#findRunner(report, attempt.executionId)
    if (runner) return this.#offer(runner, report, attempt) !== "early"
    this.#late.add({ report, ...attempt, owned: false })
    return true
  }

  #offer(runner: ExecutionRunner, report: ExecutorReport, attempt: ReturnType<typeof parseAttemptKey>): Offered {
    const offered = runner.offer(report, attempt)
    if (offered === "foreign") this.#countForeign(report)
    if (offered === "late") this.#late.add({ report, ...attempt, owned: true })
    if (offered === "taken" && isLive(report)) this.#options.onLive(attempt.executionId, attempt.ordinal, report)
    return offered
  }

  /** An execution's own runner, or that of the execution which rolls it back. */
  #findRunner(report: ExecutorReport, executionId: string): ExecutionRunner | undefined {
    const ofRollback = "phase" in report ? report.phase === "rollback" : rollbackReports.has(report.type)
    return (ofRollback ? this.#rollbacks.get(executionId) : undefined) ?? this.#runners.get(executionId)
  }

  /** Whoever has the node's session performs its steps, whichever server owns the execution. */
  #performStep({ nodeId, ...request }: Extract<ExecutorReport, { type: "step-request" }>): void {
    const { steps, executor } = this.#options
    steps.perform(nodeId, request).then(
      (answer) => answer && executor.answer(nodeId, answer),
      (error: unknown) => this.#warn(error),
    )
  }

  #countForeign(report: ExecutorReport): void {
    this.#foreignCount += 1
    // A node that lies may lie often: the first of each hundred is logged.
    if (this.#foreignCount % 100 !== 1) return
    this.#options.logger.warn(
      { code: "fleet.unknown-task", node: report.nodeId, key: report.key, report: report.type },
      "a node reported a task that it was never given; the report was dropped",
    )
  }

  async #every(milliseconds: number, work: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await delay(milliseconds, undefined, { signal }).catch(() => {})
      if (!signal.aborted) await work().catch((error: unknown) => this.#warn(error))
    }
  }

  #warn(error: unknown): void {
    this.#options.logger.warn({ err: error }, "looking after executions failed; it is tried again")
  }
}
