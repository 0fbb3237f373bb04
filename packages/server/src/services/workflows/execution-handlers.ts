import { nodesGet } from "@signalbox/contracts/fleet/operations"
import {
  executionsGet,
  executionsList,
  executionsWatch,
  tasksGet,
  tasksList,
  tasksOutput,
} from "@signalbox/contracts/workflows/operations"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { parseTaskId } from "@signalbox/kernel/id"
import { onRead, onStream, type Handler, type ReadContext } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import { findExecution, findTask, listExecutions, listTasks, type ExecutionRow } from "./execution-store.ts"
import { toExecution, toTask, toTaskDetails } from "./presentation.ts"
import type { WorkflowsContext } from "./handler-context.ts"
import { isWithinReach, requireReach } from "./node-reach.ts"
import { pageOutput, readWhole } from "./task-output.ts"

export function executionHandlers(context: WorkflowsContext): Handler[] {
  return [
    onRead(executionsList, async (input, ctx) => {
      const before = input.cursor === undefined ? undefined : String(decodeCursor(input.cursor, 1)[0])
      const { state, workflow, window, limit } = input
      const node = input.node === undefined ? undefined : await findNode(context, ctx, input.node)
      const page = { account: ctx.account, before, state, workflow, node, window, limit: limit + 1 }
      const rows = await listExecutions(ctx.sql, page)
      const shown = rows.slice(0, limit)
      const last = shown.at(-1)
      const items = (await withinReach(context, ctx, shown)).map(toExecution)
      return { items, ...(rows.length > limit && last ? { nextCursor: encodeCursor([last.id]) } : {}) }
    }),
    onRead(executionsGet, async (input, ctx) => toExecution(await getExecution(context, ctx, input.execution))),
    onStream(executionsWatch, (input, ctx) => {
      const messages = context.watches.follow({
        sql: ctx.sql,
        account: ctx.account,
        execution: input.execution,
        withOutput: input.output === "true",
        withOutcomes: input.outcomes === "true",
        signal: ctx.signal,
      })
      return ctx.caller.nodes === undefined ? messages : keptToReach(context, ctx, { messages, ...input })
    }),
    ...taskHandlers(context),
    outputHandler(context),
  ]
}

/** A node by what it is called; of one that was removed only its name is left, in the plans. */
async function findNode(
  { operations }: WorkflowsContext,
  ctx: ReadContext,
  reference: string,
): Promise<{ id: string | undefined; name: string }> {
  const { account, cause, depth } = ctx
  try {
    const as = { account, cause, depth: depth + 1, service: "workflows", roles: ["viewer"] } as const
    const { id, name } = await operations.call(nodesGet, { node: reference }, as)
    return { id, name }
  } catch (error) {
    if (!hasCode(error, "fleet.node-not-found")) throw error
    return { id: undefined, name: reference }
  }
}

function taskHandlers(context: WorkflowsContext): Handler[] {
  return [
    onRead(tasksList, async (input, ctx) => {
      const { id } = await getExecution(context, ctx, input.execution)
      const after = input.cursor === undefined ? -1 : readOrdinal(input.cursor)
      const page = { account: ctx.account, execution: id, after, state: input.state, limit: input.limit + 1 }
      const rows = await listTasks(ctx.sql, page)
      const items = rows.slice(0, input.limit).map((row) => toTask(id, row))
      const last = items.at(-1)
      return { items, ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.ordinal]) } : {}) }
    }),
    onRead(tasksGet, async (input, ctx) => {
      const { id } = await getExecution(context, ctx, input.execution)
      const row = await findTask(ctx.sql, { account: ctx.account, execution: id, ...readTask(id, input.task) })
      if (!row) throw new AppError("executions.task-not-found", `execution ${id} has no task "${input.task}"`)
      return toTaskDetails(id, row)
    }),
  ]
}

function outputHandler(context: WorkflowsContext): Handler {
  const { blobs } = context
  return onRead(tasksOutput, async (input, ctx) => {
    const { id } = await getExecution(context, ctx, input.execution)
    const row = await findTask(ctx.sql, { account: ctx.account, execution: id, ...readTask(id, input.task) })
    if (!row) throw new AppError("executions.task-not-found", `execution ${id} has no task "${input.task}"`)
    const outcome = input.phase === "task" ? row.outcome : row.rollbackOutcome
    return !outcome ? { items: [] } : pageOutput(await readWhole(outcome, blobs), input.cursor)
  })
}

function readOrdinal(cursor: string): number {
  const [ordinal] = decodeCursor(cursor, 1)
  if (Number.isInteger(ordinal)) return Number(ordinal)
  throw new AppError("request.invalid-cursor", "the cursor is not one of this list")
}

/** A task's number, its id, or the name or id of its node. A node named like a number is found by its id. */
function readTask(executionId: string, text: string): { ordinal: number } | { node: string } {
  if (/^\d{1,9}$/.test(text)) return { ordinal: Number(text) }
  const id = parseTaskId(text)
  if (!id) return { node: text }
  return { ordinal: id.executionId === executionId ? id.ordinal : -1 }
}

/** Of a caller that is narrowed: those that it started, as far as their targets are its own still. */
async function withinReach(
  context: WorkflowsContext,
  ctx: ReadContext,
  rows: readonly ExecutionRow[],
): Promise<readonly ExecutionRow[]> {
  const { caller } = ctx
  if (caller.nodes === undefined) return rows
  const kept: ExecutionRow[] = []
  for (const row of rows) {
    if (row.createdBy === caller.principal && (await isWithinReach(context, ctx, row.id))) kept.push(row)
  }
  return kept
}

/** Looked at before each message: a node that is tagged out of the caller's reach is seen no more. */
async function* keptToReach<T>(
  context: WorkflowsContext,
  ctx: ReadContext,
  of: { readonly messages: AsyncIterable<T>; readonly execution: string },
): AsyncGenerator<T> {
  await requireReach(context, ctx, of.execution)
  for await (const message of of.messages) {
    await requireReach(context, ctx, of.execution)
    yield message
  }
}

/** @throws executions.not-found */
async function getExecution(context: WorkflowsContext, ctx: ReadContext, id: string): Promise<ExecutionRow> {
  const { sql, account } = ctx
  const row = await findExecution(sql, account, id)
  if (row) await requireReach(context, ctx, id)
  if (!row) throw new AppError("executions.not-found", `there is no execution "${id}" in this account`)
  return row
}
