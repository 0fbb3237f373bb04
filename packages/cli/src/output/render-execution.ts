import type { Execution } from "../rollout/rollout-fold.ts"
import { countsText, resultsText } from "../rollout/counts-text.ts"
import { renderDetails } from "./details.ts"
import { paceText, parametersText, strategyLines } from "./strategy-text.ts"

/** A run in the words of `run` and its picture, with what to type next. */
export function renderExecution(execution: Execution, columns: number | undefined): string {
  const { workflow, targets, counts } = execution
  const waiting = counts.queued + counts.starting + counts.running
  const progress = [countsText(counts), ...(waiting > 0 ? [`${waiting} to go`] : [])].filter((part) => part !== "")
  return renderDetails(
    {
      execution: nameOf(execution),
      state: execution.state,
      reason: execution.reason,
      workflow: workflow.version === undefined ? `${workflow.name} (inline)` : `${workflow.name} v${workflow.version}`,
      parameters: parametersText(execution.parameters),
      targets: `${targets.text}: ${targets.count} ${targets.count === 1 ? "node" : "nodes"}`,
      pace: paceText(execution),
      strategy: strategyLines(execution.strategy).join("; ") || undefined,
      wave: execution.wave && `${execution.wave.number} of ${execution.wave.count}`,
      waitsFor: execution.waitsFor?.text,
      health: execution.health && healthText(execution.health),
      progress: progress.join(", "),
      results: execution.finishedAt === undefined ? undefined : resultsText(execution.results),
      rolledBackBy: execution.rolledBackBy?.join(", "),
      vanished: execution.vanished && `${execution.vanished.count}: ${execution.vanished.nodes.join(", ")}`,
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

/** A run about another one says so first: its counts are of retries, or of rollbacks. */
function nameOf({ id, retryOf, rollbackOf }: Execution): string {
  if (rollbackOf !== undefined) return `${id}, the rollback of ${rollbackOf}`
  return retryOf === undefined ? id : `${id}, a retry of ${retryOf}`
}

function healthText({ ok, message, checks, failures }: NonNullable<Execution["health"]>): string {
  const said = `${message} (${checks} ${checks === 1 ? "check" : "checks"})`
  return ok ? `well: ${said}` : `not well, ${failures} in a row: ${said}`
}
