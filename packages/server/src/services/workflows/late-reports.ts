/**
 * Reports of tasks that have ended, or whose execution has: they change nothing, but their nodes repeat them until they
 * are acknowledged. A node whose task was given up without its word, and which did begin, is told to go back, and
 * repeats itself until it has: so no crash can lose that. Owns a bounded list that is looked up in batches; what is
 * dropped from it comes again.
 */
import { setTimeout as delay } from "node:timers/promises"
import { isAppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type { Executor, ExecutorOrder, ExecutorReport, SecretReader } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { readFrozenSecrets } from "./frozen-parts.ts"
import { readLateTasks, readPlans, type LateTask } from "./late-report-store.ts"
import type { Acknowledgement } from "./report-queue.ts"
import { openRunPlan } from "./run-plan.ts"

export interface LateReport {
  readonly report: ExecutorReport
  readonly executionId: string
  readonly ordinal: number
  readonly attempt: number
  /** The execution is owned here, so the task has ended though the execution may not have. */
  readonly owned: boolean
}

type Secrets = Readonly<Record<string, string>>

/** A report that is answered here, with what is on record of its task. */
interface Settled extends LateReport {
  readonly row: LateTask
}

export const lateReportsMax = 10_000
const lateReportsBatch = 1_000
const gatherMilliseconds = 50
/** How long an order to go back waits for its node to say that it has it; a node that reports again is told again. */
const rollbackWaitMilliseconds = 3_600_000

export interface LateReportsOptions {
  readonly sql: Sql
  readonly executor: Executor
  readonly secrets: SecretReader
  readonly clock: Clock
  readonly onForeign: (report: ExecutorReport) => void
  readonly onError: (error: unknown) => void
}

export class LateReports {
  readonly #options: LateReportsOptions
  #waiting: LateReport[] = []
  #flushing: Promise<void> | undefined

  constructor(options: LateReportsOptions) {
    this.#options = options
  }

  add(late: LateReport): void {
    const { type } = late.report
    if (type === "progress" || type === "output" || type === "vanished" || this.#waiting.length >= lateReportsMax)
      return
    this.#waiting.push(late)
    this.#begin()
  }

  #begin(): void {
    if (this.#flushing || this.#waiting.length === 0) return
    this.#flushing = this.#flush().finally(() => {
      this.#flushing = undefined
      // What came after the last look and before this.
      this.#begin()
    })
  }

  /** Resolves when nothing is being looked up. */
  async idle(): Promise<void> {
    await this.#flushing
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      await delay(gatherMilliseconds)
      const batch = this.#waiting.splice(0, lateReportsBatch)
      try {
        await this.#settle(batch)
      } catch (error) {
        this.#options.onError(error)
      }
    }
  }

  async #settle(batch: readonly LateReport[]): Promise<void> {
    const { sql, executor, onForeign } = this.#options
    const rows = await readLateTasks(sql, {
      executions: batch.map(({ executionId }) => executionId),
      ordinals: batch.map(({ ordinal }) => ordinal),
      attempts: batch.map(({ attempt }) => attempt),
    })
    const settled: Settled[] = []
    for (const row of rows) {
      const late = batch[row.number - 1]
      if (!late) continue
      const { report, owned } = late
      if (row.known && row.node !== report.nodeId) onForeign(report)
      // Not ended and not owned here: its owner acknowledges. Removed by retention: nobody ever will, so we do.
      if (row.ended || owned) settled.push({ ...late, row })
    }
    const backIn = new Set(settled.filter(({ report, row }) => mustGoBack(report, row)).map((one) => one.executionId))
    const secrets = await this.#readSecrets([...backIn])
    const until = this.#options.clock.now() + rollbackWaitMilliseconds
    const acknowledged = settled.flatMap(({ report, row }) => acknowledgementsOf(report, row))
    const orders = settled.flatMap((one) => ordersOf(one, { until, secrets: secrets.get(one.executionId) }))
    if (acknowledged.length > 0) executor.acknowledge(acknowledged)
    if (orders.length > 0) executor.dispatch(orders)
  }

  /**
   * The values that undo steps need, by execution, in the versions that its plan fixed. Where a version is no longer kept
   * the node goes back without it, as in a run: files are put back, and the undo that lacks its secret fails and says so.
   */
  async #readSecrets(executions: readonly string[]): Promise<ReadonlyMap<string, Secrets>> {
    const found = new Map<string, Secrets>()
    if (executions.length === 0) return found
    for (const plan of await readPlans(this.#options.sql, executions)) {
      const names = openRunPlan({ id: plan.id, rollbackOf: null }, plan).builder.secretNames
      if (names.length === 0) continue
      try {
        const wanted = { parts: plan.parts, names }
        found.set(plan.id, await readFrozenSecrets(this.#options.secrets, plan.account, wanted))
      } catch (error) {
        if (!isAppError(error) || error.entry.retryable) throw error
        this.#options.onError(error)
      }
    }
    return found
  }
}

/** The node has changed something, or may have, and is told as one that never answered. */
function mustGoBack(report: ExecutorReport, { known, node, givenUp }: LateTask): boolean {
  if (!known || node !== report.nodeId || !givenUp) return false
  if (report.type === "task-finished")
    return report.outcome.class !== "refused" && report.outcome.class !== "unapproved"
  return "phase" in report && report.phase === "task"
}

function acknowledgementsOf(report: ExecutorReport, row: LateTask): Acknowledgement[] {
  const { nodeId, key } = report
  if (report.type === "task-finished" && !mustGoBack(report, row)) return [{ nodeId, key, phase: "task" }]
  if (report.type !== "rollback-finished") return []
  const rollback = { nodeId, key, phase: "rollback" } as const
  return row.givenUp ? [rollback, { nodeId, key, phase: "task" }] : [rollback]
}

function ordersOf(
  { report, row }: Settled,
  { until, secrets }: { readonly until: number; readonly secrets: Secrets | undefined },
): ExecutorOrder[] {
  const { nodeId, key } = report
  const isAtWork = row.known && row.node === nodeId && "phase" in report && report.phase === "task"
  const kill = { type: "kill", nodeId, key, reason: "the task has ended already" } as const
  const rollback = { type: "rollback", nodeId, key, until, ...(secrets && { secrets }) } as const
  return [...(isAtWork ? [kill] : []), ...(mustGoBack(report, row) ? [rollback] : [])]
}
