/**
 * Reports of tasks that have ended, or whose execution has: they change nothing, but their nodes repeat them until they
 * are acknowledged. Owns a bounded list that is looked up in batches; what is dropped from it comes again.
 */
import { setTimeout as delay } from "node:timers/promises"
import type { Executor, ExecutorReport } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { readLateTasks } from "./batch-store.ts"

export interface LateReport {
  readonly report: ExecutorReport
  readonly executionId: string
  readonly ordinal: number
  /** The execution is owned here, so the task has ended though the execution may not have. */
  readonly owned: boolean
}

export const lateReportsMax = 10_000
const lateReportsBatch = 1_000
const gatherMilliseconds = 50

export interface LateReportsOptions {
  readonly sql: Sql
  readonly executor: Executor
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
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = undefined
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
    })
    for (const { number, known, ended, node } of rows) {
      const late = batch[number - 1]
      if (!late) continue
      const { report } = late
      if (known && node !== report.nodeId) onForeign(report)
      // Not ended and not owned here: its owner acknowledges. Removed by retention: nobody ever will, so we do.
      if (!ended && !late.owned) continue
      if (report.type === "task-finished" || report.type === "rollback-finished") {
        const phase = report.type === "task-finished" ? "task" : "rollback"
        executor.acknowledge([{ nodeId: report.nodeId, key: report.key, phase }])
      } else if (known && node === report.nodeId && "phase" in report && report.phase === "task") {
        executor.dispatch([
          { type: "kill", nodeId: report.nodeId, key: report.key, reason: "the task has ended already" },
        ])
      }
    }
  }
}
