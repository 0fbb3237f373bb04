import type { OutputOf } from "@signalbox/contracts/operation"
import { executionsList, tasksGet } from "@signalbox/contracts/workflows/operations"
import type { ReadContext } from "../../router/handler.ts"
import type { OperationCaller } from "../../router/ports.ts"
import type { StoryEntry } from "./model.ts"

/** The latest runs that a node's story tells of. */
const executionsMax = 20

type Execution = OutputOf<typeof executionsList>["items"][number]
type Task = OutputOf<typeof tasksGet>

/** What runs did to a node, the latest ones only. */
export async function findNodeTasks(
  operations: OperationCaller,
  node: { readonly id: string; readonly name: string },
  context: ReadContext,
): Promise<StoryEntry[]> {
  const { account, cause, depth } = context
  const as = { account, cause, depth: depth + 1, service: "audit", roles: ["viewer"] } as const
  const { items } = await operations.call(executionsList, { node: node.id, limit: executionsMax }, as)
  return Promise.all(
    items.map(async (execution) => {
      const task = await operations.call(tasksGet, { execution: execution.id, task: node.name }, as)
      return toEntry(execution, task)
    }),
  )
}

function toEntry(execution: Execution, task: Task): StoryEntry {
  const { name, version } = execution.workflow
  const workflow = version === undefined ? name : `${name} v${version}`
  const rollback = task.rollback === "none" ? "" : `, ${task.rollback.replaceAll("-", " ")}`
  const message = task.message === undefined ? "" : `: ${task.message}`
  return {
    time: Date.parse(task.startedAt ?? execution.createdAt),
    kind: "task",
    id: task.id,
    what: `task.${task.state}`,
    subject: execution.id,
    principal: execution.createdBy,
    depth: 1,
    text: `${execution.createdBy} ran ${workflow} here: ${task.state.replaceAll("-", " ")}${rollback}${message}`,
    data: { execution: execution.id, cause: execution.cause, state: task.state, rollback: task.rollback },
  }
}
