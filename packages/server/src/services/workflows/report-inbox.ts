/**
 * Carries nodes' reports from the server that holds the session to the one that owns the execution. Owns the reports that
 * wait to be written, and the look for those that came. It is a wire, not a keeper: the node is acknowledged once the
 * owner has committed, and repeats its result until then; what is not acknowledged (`accepted`, `started`) is lost only
 * with a server, and whoever takes over asks again.
 */
import { parseAttemptKey } from "@signalbox/contracts/fleet/agent-protocol"
import type { ExecutorReport } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import type { Notifier } from "../../storage/notifier.ts"
import { Poller } from "../../storage/poller.ts"
import { WriteBatches } from "../../storage/write-batches.ts"
import { findReports, removeReports, writeReports, type FoundReport, type WrittenReport } from "./report-inbox-store.ts"

export const inboxLimits = {
  /** Rows of one statement, and the characters of the reports in it. */
  batchMax: 500,
  batchLengthMax: 16 * 1024 * 1024,
  /** Reports that wait for the database; results that are dropped come again. */
  waitingMax: 20_000,
  pollMilliseconds: 500,
} as const

export interface ReportInboxOptions {
  readonly sql: Sql
  readonly notifier: Pick<Notifier, "notify" | "subscribe">
  readonly onError: (error: unknown) => void
}

/** What the owner of executions does with reports. */
export interface InboxOwner {
  /** The executions that are run here. */
  executions(): readonly string[]
  /** A report came; false where its run can't take it yet. */
  hear(report: ExecutorReport): boolean
  /** No run waits for this report: its task, or its execution, has ended. */
  late(report: ExecutorReport): void
}

const channel = "agent_reports"

type Carried = Exclude<ExecutorReport, { type: "progress" | "output" | "step-request" }>

export class ReportInbox {
  readonly #options: ReportInboxOptions
  readonly #outgoing: WriteBatches<Carried>
  readonly #poller: Poller
  #owner: InboxOwner | undefined
  #unsubscribe: () => void = () => undefined

  constructor(options: ReportInboxOptions) {
    this.#options = options
    this.#outgoing = new WriteBatches({
      batchMax: inboxLimits.batchMax,
      waitingMax: inboxLimits.waitingMax,
      write: (reports) => this.#write(reports),
      onError: options.onError,
    })
    this.#poller = new Poller({
      everyMilliseconds: inboxLimits.pollMilliseconds,
      look: () => this.#look(),
      onError: options.onError,
    })
  }

  start(owner: InboxOwner): void {
    this.#owner = owner
    this.#unsubscribe = this.#options.notifier.subscribe(channel, (executions) => {
      const own = new Set(owner.executions())
      if (executions === "missed" || executions.some((execution) => own.has(execution))) this.#poller.hint()
    })
    this.#poller.start()
  }

  async stop(): Promise<void> {
    this.#unsubscribe()
    await this.#poller.stop()
    await this.#outgoing.stop()
  }

  /** A report of a node whose session is here, for whoever owns its execution. */
  send(report: ExecutorReport): void {
    if (report.type === "progress" || report.type === "output" || report.type === "step-request") return
    this.#outgoing.add(report)
  }

  async #look(): Promise<void> {
    const { sql } = this.#options
    const executions = this.#owner?.executions() ?? []
    if (executions.length === 0) return
    let found: FoundReport[]
    let taken: FoundReport[]
    do {
      found = await findReports(sql, executions, inboxLimits.batchMax)
      taken = found.filter(({ report }) => this.#owner?.hear(report) ?? false)
      // The run's queue has them now: if this process ends here, the next owner asks the nodes again.
      if (taken.length > 0) await removeReports(sql, taken)
    } while (found.length === inboxLimits.batchMax && taken.length > 0)
  }

  async #write(reports: readonly Carried[]): Promise<void> {
    const { sql, notifier } = this.#options
    const latest = withoutImplied(reports)
    for (const part of partsOf(latest)) {
      const routed = await writeReports(
        sql,
        part.map(({ row }) => row),
      )
      for (const execution of new Set(routed.map((one) => one.execution))) notifier.notify(channel, execution)
      const waitedFor = new Set(routed.map(({ number }) => number))
      for (const [index, { report }] of part.entries()) if (!waitedFor.has(index + 1)) this.#owner?.late(report)
    }
  }
}

/** The end of an attempt says that it began. */
function withoutImplied(reports: readonly Carried[]): Carried[] {
  const ended = new Set(reports.flatMap((report) => (isEnd(report) ? [`${phaseOf(report)} ${report.key}`] : [])))
  return reports.filter((report) => isEnd(report) || !ended.has(`${phaseOf(report)} ${report.key}`))
}

const isEnd = ({ type }: Carried): boolean => type === "task-finished" || type === "rollback-finished"

function phaseOf(report: Carried): "task" | "rollback" {
  if ("phase" in report) return report.phase
  // A node can only have vanished from a rollback once the execution itself has ended; then the run that puts it back waits.
  return report.type === "rollback-finished" ? "rollback" : "task"
}

interface Outgoing {
  readonly report: Carried
  readonly row: WrittenReport
}

/** Lists that are short enough for one statement each. */
function partsOf(reports: readonly Carried[]): Outgoing[][] {
  const parts: Outgoing[][] = []
  let length = Infinity
  for (const report of reports) {
    const { executionId: execution, ordinal } = parseAttemptKey(report.key)
    const text = JSON.stringify(report)
    length += text.length
    if (length > inboxLimits.batchLengthMax) {
      parts.push([])
      length = text.length
    }
    const { nodeId, key, type } = report
    const row = { execution, ordinal, nodeId, key, type, phase: phaseOf(report), report: text }
    parts.at(-1)?.push({ report, row })
  }
  return parts
}
