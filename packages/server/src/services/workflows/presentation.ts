/** Rows as callers see them. Pure. */
import type { execution, task, taskDetails, workflow } from "@signalbox/contracts/workflows/operations"
import { isExecutionEnded } from "@signalbox/engine/execution-machine"
import { isTaskEnded } from "@signalbox/engine/task-machine"
import { noClasses } from "@signalbox/engine/run-counts"
import type { ClassCounts, RollbackCounts, TaskCounts } from "@signalbox/engine/types"
import { toInstant } from "@signalbox/kernel/clock"
import { taskId } from "@signalbox/kernel/id"
import type { z } from "zod"
import type { ExecutionRow, TaskDetail, TaskRow } from "./execution-store.ts"
import type { WorkflowRow } from "./store.ts"
import { describeStrategy } from "./strategy-summary.ts"
import { reviveDocument } from "./workflow-text.ts"

export type Execution = z.output<typeof execution>
export type Task = z.output<typeof task>
export type TaskDetails = z.output<typeof taskDetails>
export type Workflow = z.output<typeof workflow>

export function toExecution(row: ExecutionRow): Execution {
  const approvals = toApprovals(row)
  return {
    id: row.id,
    state: row.shown,
    ...(row.reason === null ? {} : { reason: row.reason }),
    workflow: { name: row.workflowName, ...(row.workflowVersion === null ? {} : { version: row.workflowVersion }) },
    parameters: row.parameters,
    targets: {
      text: row.targetsText,
      count: row.targetsCount,
      ...(row.targetsDigest === null ? {} : { digest: row.targetsDigest }),
    },
    concurrency: row.concurrency,
    width: row.width,
    errorLimit: row.errorLimit,
    errorsMax: row.errorsMax,
    inFlight: row.inFlight,
    ...(row.shown === "pausing" || row.shown === "aborting" ? { draining: row.inFlight } : {}),
    counts: toCounts(row.counts, row.rollbacks),
    ...(row.classes === null ? {} : { classes: { ...noClasses, ...row.classes } }),
    results: toResults(row.counts, row.rollbacks, row.classes),
    strategy: describeStrategy(row),
    ...(row.wavesCount > 1 ? { wave: { number: row.wave, count: row.wavesCount } } : {}),
    ...toWaiting(row),
    ...(approvals.length === 0 ? {} : { approvals }),
    ...(row.health === null ? {} : { health: { ...row.health, at: toInstant(row.health.at) } }),
    kind: row.rollbackOf !== null ? "rollback" : row.retryOf !== null ? "retry" : "run",
    ...(row.retryOf === null ? {} : { retryOf: row.retryOf }),
    ...(row.rollbackOf === null ? {} : { rollbackOf: row.rollbackOf }),
    ...(row.rolledBackBy.length === 0 ? {} : { rolledBackBy: [...row.rolledBackBy] }),
    ...(row.vanished === null ? {} : { vanished: { ...row.vanished, nodes: [...row.vanished.nodes] } }),
    ...(row.note === null ? {} : { note: row.note }),
    cause: row.cause,
    createdAt: toInstant(row.createdAt),
    createdBy: row.createdBy,
    ...(row.startedAt === null ? {} : { startedAt: toInstant(row.startedAt) }),
    ...(row.finishedAt === null ? {} : { finishedAt: toInstant(row.finishedAt) }),
    ...(row.wish.startsWith("abort") && row.wishBy !== null ? { stopRequestedBy: row.wishBy } : {}),
  }
}

function toCounts(counts: TaskCounts, rollbacks: RollbackCounts): Execution["counts"] {
  const { "never-started": neverStarted, ...states } = counts
  return {
    ...states,
    neverStarted,
    rollbackPending: rollbacks.pending,
    rollbackRunning: rollbacks.running,
    rolledBack: rollbacks["rolled-back"],
    rollbackFailed: rollbacks["rollback-failed"],
    notReversible: rollbacks["not-reversible"],
    rollbackUnknown: rollbacks.unknown,
  }
}

/** What became of the targets, as far as it is known (W7). */
function toResults(counts: TaskCounts, rollbacks: RollbackCounts, classes: ClassCounts | null): Execution["results"] {
  const bad = counts.failed + counts.aborted + counts.interrupted + counts.unreachable
  const open = rollbacks.pending + rollbacks.running
  const answered =
    rollbacks["rolled-back"] + rollbacks["rollback-failed"] + rollbacks["not-reversible"] + rollbacks.unknown
  const leftOut = counts.skipped + counts["never-started"]
  const shared = {
    ok: counts.succeeded,
    rolledBack: rollbacks["rolled-back"],
    rollbackFailed: rollbacks["rollback-failed"],
    notReversible: rollbacks["not-reversible"],
  }
  // A run either asks each touched target to go back or none: what it never asked it never touched.
  if (answered + open > 0)
    return { ...shared, failed: 0, unknown: rollbacks.unknown, untouched: leftOut + bad - answered - open }
  const refused = classes?.refused ?? 0
  return {
    ...shared,
    failed: counts.failed + counts.aborted - refused,
    unknown: counts.interrupted,
    untouched: leftOut + counts.unreachable + refused,
  }
}

function toApprovals({ approvals }: ExecutionRow): NonNullable<Execution["approvals"]> {
  return (approvals ?? []).map(({ request, step, name, node }) => ({
    ...{ request, step: name ?? `step ${step + 1}` },
    ...(node === null ? {} : { node }),
  }))
}

function toWaiting(row: ExecutionRow): Pick<Execution, "waitsFor"> {
  const { shown: state, inFlight, width, hold, bakeUntil } = row
  const waits = (what: NonNullable<Execution["waitsFor"]>): Pick<Execution, "waitsFor"> => ({ waitsFor: what })
  if (isExecutionEnded(state) || state === "paused") return {}
  if (state === "planning") return waits({ for: "plan", text: "the targets are being resolved" })
  if (state !== "running") return waits({ for: "drain", text: `${nodesText(inFlight)} in flight must end first` })
  const [approval] = toApprovals(row)
  if (approval) return waits({ for: "approval", text: approvalText(approval, row.approvals?.length ?? 0) })
  if (row.counts.queued === 0) return {}
  if (hold !== null) {
    const until = hold.until === null ? {} : { until: toInstant(hold.until) }
    return waits({ for: "hold", text: hold.reason, ...until })
  }
  if (bakeUntil !== null) {
    const until = toInstant(bakeUntil)
    return waits({ for: "bake", text: `wave ${row.wave} of ${row.wavesCount} bakes until ${until}`, until })
  }
  if (inFlight >= width)
    return waits({ for: "width", text: `${nodesText(inFlight)} in flight, ${width} allowed at once` })
  return row.wavesCount > 1 ? waits({ for: "wave", text: `wave ${row.wave} of ${row.wavesCount} is under way` }) : {}
}

function approvalText({ request, step }: NonNullable<Execution["approvals"]>[number], count: number): string {
  return `waits for approval ${request} (${step})${count > 1 ? ` and ${count - 1} more` : ""}`
}

const nodesText = (count: number): string => (count === 1 ? "1 node" : `${count} nodes`)

/** What became of a target; undefined while its task or rollback is under way. */
function toResult({ state, rollback, class: failureClass, attempt }: TaskRow): Task["result"] {
  if (!isTaskEnded(state) || rollback === "pending" || rollback === "running") return undefined
  if (rollback !== "none") return rollback
  switch (state) {
    case "succeeded":
      return "ok"
    case "interrupted":
      return "unknown"
    case "failed":
    case "aborted":
      return failureClass === "refused" || failureClass === "unapproved" ? "untouched" : "failed"
    case "unreachable":
      return attempt > 1 ? "unknown" : "untouched"
    default:
      return "untouched"
  }
}

export function toTask(executionId: string, row: TaskRow): Task {
  return {
    id: taskId(executionId, row.ordinal),
    execution: executionId,
    ordinal: row.ordinal,
    node: row.nodeId,
    nodeName: row.nodeName,
    state: row.state,
    rollback: row.rollback,
    ...(row.class === null ? {} : { class: row.class }),
    attempt: row.attempt,
    ...withResult(toResult(row)),
    ...(row.rolledBackBy === null ? {} : { rolledBackBy: row.rolledBackBy }),
    ...(row.message === null ? {} : { message: row.message }),
    ...(row.startedAt === null ? {} : { startedAt: toInstant(row.startedAt) }),
    ...(row.finishedAt === null ? {} : { finishedAt: toInstant(row.finishedAt) }),
  }
}

/** With the outcomes, where the row was read with them. */
export function toTaskDetails(executionId: string, row: TaskDetail): TaskDetails {
  const { outcome, rollbackOutcome } = row
  return { ...toTask(executionId, row), ...(outcome && { outcome }), ...(rollbackOutcome && { rollbackOutcome }) }
}

const withResult = (result: Task["result"]): Pick<Task, "result"> => (result === undefined ? {} : { result })

export function toWorkflow(row: WorkflowRow): Workflow {
  const definition = reviveDocument(row.definition)
  return {
    ...toWorkflowSummary(row),
    document: row.document,
    parameters: Object.entries(definition.parameters).map(([name, declaration]) => ({
      name,
      type: declaration.type,
      required: declaration.default === undefined && declaration.required !== false,
      ...(declaration.default === undefined ? {} : { default: declaration.default }),
      ...(declaration.description === undefined ? {} : { description: declaration.description }),
    })),
    steps: definition.steps.map((step, index) => step.name ?? `step ${index + 1}`),
  }
}

export function toWorkflowSummary(row: WorkflowRow): Omit<Workflow, "document" | "parameters" | "steps"> {
  return {
    name: row.name,
    version: row.version,
    ...(row.description === null ? {} : { description: row.description }),
    digest: row.digest,
    createdAt: toInstant(row.createdAt),
    createdBy: row.createdBy,
  }
}
