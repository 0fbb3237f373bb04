import { mapBounded } from "@signalbox/kernel/map-bounded"
import type { OutputOf } from "@signalbox/contracts/operation"
import { executionsList, tasksGet } from "@signalbox/contracts/workflows/operations"
import type { ReadContext } from "../../router/handler.ts"
import type { OperationCaller } from "../../router/ports.ts"
import type { StoryEntry } from "./model.ts"

/** The latest runs that a node's story tells of. */
const executionsMax = 20

export type Execution = OutputOf<typeof executionsList>["items"][number]
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
  return (await findTasks(operations, { node, executions: items, context })).map(toEntry)
}

/** What one run did to a node. */
export interface NodeRun {
  readonly execution: Execution
  readonly task: Task
}

const callsAtOnce = 5

/** The node's task in each of these runs. */
export async function findTasks(
  operations: OperationCaller,
  of: {
    readonly node: { readonly id: string }
    readonly executions: readonly Execution[]
    readonly context: ReadContext
  },
): Promise<NodeRun[]> {
  const { account, cause, depth } = of.context
  const as = { account, cause, depth: depth + 1, service: "audit", roles: ["viewer"] } as const
  return await mapBounded(of.executions, callsAtOnce, async (execution) => {
    return { execution, task: await operations.call(tasksGet, { execution: execution.id, task: of.node.id }, as) }
  })
}

export function workflowText({ workflow: { name, version } }: Execution): string {
  return version === undefined ? name : `${name} v${version}`
}

/** Who ran what here, and how it ended. */
export function runText({ execution, task }: NodeRun): string {
  const rollback = task.rollback === "none" ? "" : `, ${task.rollback.replaceAll("-", " ")}`
  const message = task.message === undefined ? "" : `: ${task.message}`
  return `${execution.createdBy} ran ${workflowText(execution)} here: ${task.state.replaceAll("-", " ")}${rollback}${message}`
}

function toEntry(run: NodeRun): StoryEntry {
  const { execution, task } = run
  return {
    time: Date.parse(task.startedAt ?? execution.createdAt),
    kind: "task",
    id: task.id,
    what: `task.${task.state}`,
    subject: execution.id,
    principal: execution.createdBy,
    depth: 1,
    text: runText(run),
    data: { execution: execution.id, cause: execution.cause, state: task.state, rollback: task.rollback },
  }
}
