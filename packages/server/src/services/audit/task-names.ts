import type { OutputOf } from "@signalbox/contracts/operation"
import { limits } from "@signalbox/contracts/schemas"
import { tasksList } from "@signalbox/contracts/workflows/operations"
import { hasCode } from "@signalbox/kernel/app-error"
import { parseTaskId } from "@signalbox/kernel/id"
import type { ReadContext } from "../../router/handler.ts"
import type { OperationCaller } from "../../router/ports.ts"
import type { StoryEntry } from "./model.ts"

/** Executions whose tasks are looked up for one story. */
const executionsMax = 5

type Task = OutputOf<typeof tasksList>["items"][number]

/**
 * Puts nodes' names in the place of tasks' ids, and says why a task failed. Looks at one page of an execution's tasks
 * and one of those that failed; what is on neither keeps its id.
 */
export async function nameTasks(
  operations: OperationCaller,
  entries: readonly StoryEntry[],
  context: ReadContext,
): Promise<StoryEntry[]> {
  const executions = new Set(entries.flatMap(({ subject }) => parseTaskId(subject)?.executionId ?? []))
  const found = await Promise.all(
    [...executions].slice(0, executionsMax).map((execution) => findTasks(operations, execution, context)),
  )
  const tasks = new Map(found.flat().map((task) => [task.id, task]))
  return entries.map((entry) => {
    const task = tasks.get(entry.subject)
    return task ? { ...entry, text: textOf(entry, task) } : entry
  })
}

async function findTasks(operations: OperationCaller, execution: string, context: ReadContext): Promise<Task[]> {
  const { account, cause, depth } = context
  const as = { account, cause, depth: depth + 1, service: "audit", roles: ["viewer"] } as const
  const asked = { execution, limit: limits.pageItemsMax }
  try {
    const pages = await Promise.all([
      operations.call(tasksList, asked, as),
      operations.call(tasksList, { ...asked, state: "failed" }, as),
    ])
    return pages.flatMap(({ items }) => items)
  } catch (error) {
    // Events may outlive what they tell of.
    if (hasCode(error, "executions.not-found")) return []
    throw error
  }
}

function textOf(entry: StoryEntry, task: Task): string {
  const text = entry.text.replace(`task ${entry.subject}`, task.nodeName)
  const isFailure = entry.what === "task.finished" && entry.data?.["state"] !== "succeeded"
  return isFailure && task.message !== undefined ? `${text}: ${task.message}` : text
}
