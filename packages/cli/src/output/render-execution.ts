import type { Execution } from "../rollout/rollout-fold.ts"
import { countsText } from "../rollout/counts-text.ts"
import { renderDetails } from "./details.ts"

/** A run in the words of `run` and its picture, with what to type next. */
export function renderExecution(execution: Execution, columns: number | undefined): string {
  const { workflow, targets, counts } = execution
  const waiting = counts.queued + counts.starting + counts.running
  const progress = [countsText(counts), ...(waiting > 0 ? [`${waiting} to go`] : [])].filter((part) => part !== "")
  return renderDetails(
    {
      execution: execution.id,
      state: execution.state,
      reason: execution.reason,
      workflow: workflow.version === undefined ? `${workflow.name} (inline)` : `${workflow.name} v${workflow.version}`,
      parameters: Object.keys(execution.parameters).length > 0 ? execution.parameters : undefined,
      targets: `${targets.text}: ${targets.count} ${targets.count === 1 ? "node" : "nodes"}`,
      pace: `${execution.width} at once, ${execution.errorsMax} failures tolerated`,
      progress: progress.join(", "),
      note: execution.note,
      createdBy: execution.createdBy,
      createdAt: execution.createdAt,
      startedAt: execution.startedAt,
      finishedAt: execution.finishedAt,
      stopRequestedBy: execution.stopRequestedBy,
      watch: execution.finishedAt === undefined ? `signalbox executions watch ${execution.id}` : undefined,
    },
    columns,
  )
}
