/** executions.pause, .resume and .abort: they write what a person wishes; the owner of the execution carries it out. */
import { executionsAbort, executionsPause, executionsResume } from "@signalbox/contracts/workflows/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { onChange, type ChangeContext, type Handler } from "../../router/handler.ts"
import { findExecution, lockExecution, updateWish } from "./execution-store.ts"
import { decideWish, type Control } from "./model.ts"
import { toExecution, type Execution } from "./presentation.ts"
import type { WorkflowsContext } from "./handler-context.ts"

export function controlHandlers(context: WorkflowsContext): Handler[] {
  return [
    onChange(executionsPause, (input, ctx) => carry(context, ctx, { ...input, control: "pause" })),
    onChange(executionsResume, (input, ctx) => carry(context, ctx, { ...input, control: "resume" })),
    onChange(executionsAbort, ({ mode, ...input }, ctx) => carry(context, ctx, { ...input, control: `abort-${mode}` })),
  ]
}

interface ControlCall {
  readonly execution: string
  readonly control: Control
  readonly reason?: string | undefined
}

async function carry(context: WorkflowsContext, ctx: ChangeContext, call: ControlCall): Promise<Execution> {
  const row = await lockExecution(ctx.tx, ctx.account, call.execution)
  if (!row) throw new AppError("executions.not-found", `there is no execution "${call.execution}" in this account`)
  const wish = decideWish(row, call.control)
  if (wish === undefined) return toExecution(row)
  const by = ctx.caller.principal
  const version = await updateWish(ctx.tx, { account: ctx.account, id: row.id, wish, by, reason: call.reason })
  const mode = wish === "abort-kill" ? "kill" : wish === "abort-finish" ? "finish" : undefined
  ctx.emit({
    aggregate: row.id,
    type: `execution.${call.control.startsWith("abort") ? "abort" : call.control}-requested`,
    subject: row.id,
    version,
    data: {
      by,
      ...(mode === undefined ? {} : { mode }),
      ...(call.reason === undefined ? {} : { reason: call.reason }),
    },
  })
  ctx.afterCommit(() => context.hint())
  const changed = await findExecution(ctx.tx, ctx.account, row.id)
  assert(changed, "a locked execution can be read")
  return toExecution(changed)
}
