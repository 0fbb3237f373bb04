/** What a run tells its nodes, and how their reports come to its tasks; a rollback run speaks of another run's attempts. */
import { formatAttemptKey } from "@signalbox/contracts/fleet/agent-protocol"
import type { EngineCommand, TaskOutcome } from "@signalbox/engine/types"
import type { ExecutorOrder, ExecutorReport } from "../../router/ports.ts"
import type { ClaimedExecution } from "./claimed-execution.ts"
import type { WindowEntry } from "./node-window.ts"
import { toQueued, type QueuedInput } from "./report-queue.ts"
import type { OrderBuilder } from "./task-order.ts"

const killReasons = {
  abort: "the execution was aborted",
  unreachable: "the order was not accepted in time",
  timeout: "the task ran out of time",
  stale: "the task has ended already",
} as const

export interface OrderContext {
  readonly claimed: Pick<ClaimedExecution, "id" | "rollbackOf">
  readonly builder: OrderBuilder
  /** Values of the secrets that nodes need; none where there are none. */
  readonly secrets: Readonly<Record<string, string>> | undefined
  readonly startTimeoutMilliseconds: number
  /** What the engine waits for the rollback of a task. */
  readonly rollbackWaitMilliseconds: number
  readonly now: number
}

/**
 * The order of a command; undefined where the node is told nothing.
 *
 * @throws workflows.invalid-template
 */
export function orderOf(context: OrderContext, command: EngineCommand, node: WindowEntry): ExecutorOrder | undefined {
  const { claimed, now } = context
  const secrets = context.secrets && { secrets: context.secrets }
  const startBefore = now + context.startTimeoutMilliseconds
  if (claimed.rollbackOf !== null) {
    // A rollback that is under way is never stopped: half of one is worse than either.
    if (command.type !== "start") return undefined
    const key = formatAttemptKey(claimed.rollbackOf, node.originOrdinal ?? 0, node.originAttempt ?? 0)
    return { type: "rollback", nodeId: node.runner ?? node.id, key, startBefore, ...secrets }
  }
  const at = { nodeId: node.runner ?? node.id, key: formatAttemptKey(claimed.id, command.ordinal, command.attempt) }
  if (command.type === "rollback")
    return { type: "rollback", ...at, until: now + context.rollbackWaitMilliseconds, ...secrets }
  if (command.type === "kill") return { type: "kill", ...at, reason: killReasons[command.reason] }
  return { type: "start", ...at, startBefore, order: context.builder.build(node), ...secrets }
}

/** A rollback run's task ends as the rollback did. */
const outcomes: Readonly<Record<string, TaskOutcome & { readonly message?: string }>> = {
  "rolled-back": { state: "succeeded" },
  "rollback-failed": { state: "failed", class: "command" },
  "not-reversible": { state: "failed", class: "refused" },
  unknown: { state: "interrupted" },
}

const usualMessages: Readonly<Record<string, string>> = {
  "rollback-failed": "the rollback failed",
  "not-reversible": "the node kept nothing to go back to",
  unknown: "the result of the rollback is unknown",
}

/** A report on a rollback, as the task of a rollback run takes it; undefined where it says nothing about one. */
export function toRollbackQueued(report: ExecutorReport, ordinal: number): QueuedInput | undefined {
  const at = { ordinal, attempt: 1 }
  const { nodeId, key } = report
  switch (report.type) {
    case "accepted":
    case "started":
      return report.phase === "rollback" ? toQueued({ ...report, phase: "task" }, at) : undefined
    case "vanished":
      return toQueued(report, at)
    case "rollback-finished": {
      const { state, message = usualMessages[state] } = report.outcome
      return {
        input: { type: "task-finished", ...at, outcome: outcomes[state] ?? { state: "interrupted" } },
        rollbackOutcome: JSON.stringify(report.outcome),
        acknowledgement: { nodeId, key, phase: "rollback" },
        ...(message !== undefined && { message }),
      }
    }
    default:
      return undefined
  }
}
