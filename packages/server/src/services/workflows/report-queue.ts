/** What waits for the next step of an execution: reports of nodes and findings of the runner, in the order they came. */
import type { EngineInput } from "@signalbox/engine/types"
import type { ExecutorReport } from "../../router/ports.ts"

export interface Acknowledgement {
  readonly nodeId: string
  readonly key: string
  readonly phase: "task" | "rollback"
}

/** Where content is in the blob store. */
export interface KeptBlob {
  readonly digest: string
  readonly bytes: number
}

export interface QueuedInput {
  readonly input: EngineInput
  /** JSON text of the outcome, as it is stored. */
  readonly outcome?: string
  /** The same of a rollback that is a task of its own. */
  readonly rollbackOutcome?: string
  /** Where the whole outcome is, of one that was too long for its row. */
  readonly blob?: KeptBlob
  readonly message?: string
  /** Present where the report is to be acknowledged once it is durable. */
  readonly acknowledgement?: Acknowledgement
}

/** More than this waits only where a node floods; what is dropped was never acknowledged and comes again. */
export const queuedInputsMax = 100_000
/** Inputs of one commit, and the characters of outcomes in it: what a statement can carry in a few milliseconds. */
export const batchInputsMax = 2_000
export const batchOutcomeLengthMax = 16 * 1024 * 1024

export class ReportQueue {
  #items: QueuedInput[] = []
  #next = 0

  get size(): number {
    return this.#items.length - this.#next
  }

  /** False where the queue is full. */
  push(item: QueuedInput): boolean {
    if (this.size >= queuedInputsMax) return false
    this.#items.push(item)
    return true
  }

  /** The first inputs that fit a batch of at most `countMax`, removed. */
  take(countMax: number): QueuedInput[] {
    let length = 0
    let end = this.#next
    while (end < this.#items.length && end - this.#next < countMax) {
      length += this.#items[end]?.outcome?.length ?? 0
      if (length > batchOutcomeLengthMax && end > this.#next) break
      end += 1
    }
    const taken = this.#items.slice(this.#next, end)
    this.#next = end
    if (this.#next === this.#items.length) {
      this.#items = []
      this.#next = 0
    } else if (this.#next > queuedInputsMax) {
      this.#items = this.#items.slice(this.#next)
      this.#next = 0
    }
    return taken
  }
}

/** A report as the engine takes it; undefined where it changes nothing that is kept. */
export function toQueued(
  report: ExecutorReport,
  attempt: { readonly ordinal: number; readonly attempt: number },
): QueuedInput | undefined {
  const at = { ordinal: attempt.ordinal, attempt: attempt.attempt }
  const { nodeId, key } = report
  switch (report.type) {
    case "accepted":
      return report.phase === "task" ? { input: { type: "task-accepted", ...at } } : undefined
    case "started":
      return { input: { type: report.phase === "task" ? "task-started" : "rollback-started", ...at } }
    case "task-finished": {
      const { state, class: failureClass, message } = report.outcome
      const outcome = { state, ...(failureClass && { class: failureClass }) }
      return {
        input: { type: "task-finished", ...at, outcome },
        outcome: JSON.stringify(report.outcome),
        acknowledgement: { nodeId, key, phase: "task" },
        ...(message !== undefined && { message }),
      }
    }
    case "rollback-finished":
      return {
        input: { type: "rollback-finished", ...at, outcome: report.outcome.state },
        outcome: JSON.stringify(report.outcome),
        acknowledgement: { nodeId, key, phase: "rollback" },
      }
    case "vanished":
      return {
        input: { type: "task-finished", ...at, outcome: { state: "skipped" } },
        message: "the node was removed after the plan was made",
      }
    case "progress":
    case "output":
    case "step-request":
      return undefined
  }
}
