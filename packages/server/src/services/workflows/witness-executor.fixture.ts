/**
 * Nodes in this process that keep to the protocol and watch the server: whether what it says was durable when it was said,
 * and whether limits hold by what runs here. Owns a journal by attempt; every report comes twice, some late, one never.
 */
import { parseAttemptKey, type RollbackOutcome, type TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import type { ExecutorOrder, ExecutorReport } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { FixtureExecutor } from "./workflows.fixture.ts"

interface Entry {
  readonly ordinal: number
  readonly attempt: number
  outcome: TaskOutcome | undefined
  rollback: "none" | "running" | "rolled-back"
}

const lostOrdinal = 9
const stepMilliseconds = 10
const succeeded: TaskOutcome = { state: "succeeded", steps: [] }
const failed: TaskOutcome = { state: "failed", class: "command", message: "exit code 1", steps: [] }
const aborted: TaskOutcome = { state: "aborted", steps: [] }

/** Some fail once, some always. */
function outcomeOf({ ordinal, attempt }: Entry): TaskOutcome {
  if (ordinal % 7 === 2) return failed
  return ordinal % 5 === 1 && attempt === 1 ? failed : succeeded
}

export class WitnessExecutor extends FixtureExecutor {
  readonly faults: string[] = []
  readonly #sql: Sql
  readonly #entries = new Map<string, Entry>()
  readonly #looks = new Set<Promise<void>>()
  #hear: (report: ExecutorReport) => void = () => {}
  #width: number
  #closed = false
  endsCount = 0

  constructor(sql: Sql, width: number) {
    super()
    this.#sql = sql
    this.#width = width
  }

  /** From now on no target starts where the window is closed or the width is 0, which is that of a run that was aborted. */
  takeover(next: { readonly width: number; readonly closed: boolean }): void {
    this.#width = next.width
    this.#closed = next.closed
  }

  open(): void {
    this.#closed = false
  }

  /** Resolves once all that was said so far has been looked up. */
  async settled(): Promise<void> {
    while (this.#looks.size > 0) await Promise.all(this.#looks)
  }

  lastOf(ordinal: number): { readonly attempts: number; readonly outcome: string | undefined } {
    const entries = [...this.#entries.values()].filter((entry) => entry.ordinal === ordinal)
    return { attempts: entries.length, outcome: entries.at(-1)?.outcome?.state }
  }

  override listen(listener: (report: ExecutorReport) => void): void {
    this.#hear = listener
  }

  override report(report: ExecutorReport): void {
    this.#hear(report)
    this.#hear(report)
  }

  override dispatch(orders: readonly ExecutorOrder[]): void {
    for (const order of orders) {
      if (order.type === "start") this.#begin(order)
      else if (order.type === "rollback") this.#putBack(order)
    }
  }

  override acknowledge(reports: ReadonlyArray<{ key: string; phase: string }>): void {
    for (const { key, phase } of reports) if (phase === "task") this.#look(key, "was acknowledged")
  }

  #begin({ nodeId, key }: ExecutorOrder): void {
    const known = this.#entries.get(key)
    if (known) return known.outcome && this.#finished(nodeId, key, known.outcome)
    this.#look(key, "was sent")
    const { ordinal, attempt, executionId } = parseAttemptKey(key)
    const entry: Entry = { ordinal, attempt, outcome: undefined, rollback: "none" }
    this.#entries.set(key, entry)
    if (attempt === 1) this.#judgeStart(ordinal)
    if (attempt === 2) this.#finished(nodeId, `${executionId}/${ordinal}/1`, aborted)
    if (ordinal === lostOrdinal) return
    setTimeout(() => {
      entry.outcome = outcomeOf(entry)
      this.endsCount += 1
      this.#finished(nodeId, key, entry.outcome)
    }, stepMilliseconds)
  }

  #judgeStart(ordinal: number): void {
    const running = [...this.#entries.values()].filter((one) => !one.outcome).length
    if (this.#closed) this.faults.push(`task ${ordinal} started while the window was closed`)
    if (this.#width === 0) this.faults.push(`task ${ordinal} started after the abort`)
    else if (running > this.#width) this.faults.push(`${running} were in flight, the width is ${this.#width}`)
  }

  /** While it is put back, a node contradicts itself. */
  #putBack({ nodeId, key }: ExecutorOrder): void {
    const entry = this.#entries.get(key)
    if (!entry) return void this.faults.push(`${key} is rolled back and never began`)
    if (entry.rollback === "rolled-back") return this.#rolledBack(nodeId, key)
    if (entry.rollback === "running") return
    entry.rollback = "running"
    this.#finished(nodeId, key, succeeded)
    setTimeout(() => {
      entry.rollback = "rolled-back"
      this.#rolledBack(nodeId, key)
    }, stepMilliseconds)
  }

  #finished(nodeId: string, key: string, outcome: TaskOutcome): void {
    this.report({ type: "task-finished", nodeId, key, outcome })
  }

  #rolledBack(nodeId: string, key: string): void {
    const outcome: RollbackOutcome = { state: "rolled-back", restored: 0, undone: [] }
    this.report({ type: "rollback-finished", nodeId, key, outcome })
  }

  #look(key: string, said: "was sent" | "was acknowledged"): void {
    const look = this.#isDurable(key, said).then((durable) => {
      this.#looks.delete(look)
      if (!durable) this.faults.push(`${key} ${said} and is not durable`)
    })
    this.#looks.add(look)
  }

  async #isDurable(key: string, said: string): Promise<boolean> {
    const { executionId, ordinal, attempt } = parseAttemptKey(key)
    const [row] = await this.#sql.query<{ next: number; state: string | null; attempt: number | null }>(
      `select e.next_ordinal as next, t.state, t.attempt from executions e
       left join execution_tasks t on t.execution_id = e.id and t.ordinal = $2 where e.id = $1`,
      [executionId, ordinal],
    )
    if (!row) return false
    const last = row.attempt ?? (ordinal < row.next ? 1 : 0)
    if (said === "was sent" || last !== attempt) return last >= attempt
    return row.state !== null && row.state !== "starting" && row.state !== "running"
  }
}
