/** Rows as callers see them. Pure. */
import type { execution, task, workflow } from "@signalbox/contracts/workflows/operations"
import type { RollbackCounts, TaskCounts } from "@signalbox/engine/types"
import { toInstant } from "@signalbox/kernel/clock"
import { taskId } from "@signalbox/kernel/id"
import type { z } from "zod"
import type { ExecutionRow, TaskRow } from "./execution-store.ts"
import type { WorkflowRow } from "./store.ts"
import { reviveDocument } from "./workflow-text.ts"

export type Execution = z.output<typeof execution>
export type Task = z.output<typeof task>
export type Workflow = z.output<typeof workflow>

export function toExecution(row: ExecutionRow): Execution {
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
    counts: toCounts(row.counts, row.rollbacks),
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
    ...(row.message === null ? {} : { message: row.message }),
    ...(row.startedAt === null ? {} : { startedAt: toInstant(row.startedAt) }),
    ...(row.finishedAt === null ? {} : { finishedAt: toInstant(row.finishedAt) }),
  }
}

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
