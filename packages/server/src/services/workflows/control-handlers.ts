/** executions.pause, .resume, .abort and .resize: they write what a person wishes; the owner of the execution carries it out. */
import {
  executionsAbort,
  executionsPause,
  executionsResize,
  executionsResume,
} from "@signalbox/contracts/workflows/operations"
import { resolveWidth } from "@signalbox/engine/limits"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { onChange, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { findExecution, lockExecution, updateWish, type ExecutionRow } from "./execution-store.ts"
import { toLimit } from "./limit-choice.ts"
import { checkResizable, decideWish, type Control } from "./model.ts"
import { requireReach } from "./node-reach.ts"
import { toExecution, type Execution } from "./presentation.ts"
import type { WorkflowsContext } from "./handler-context.ts"

export function controlHandlers(context: WorkflowsContext): Handler[] {
  const options = {
    prepare: (input: { readonly execution: string }, ctx: ReadContext) => requireReach(context, ctx, input.execution),
  }
  return [
    onChange(executionsPause, (input, ctx) => carry(context, ctx, { ...input, control: "pause" }), options),
    onChange(executionsResume, (input, ctx) => carry(context, ctx, { ...input, control: "resume" }), options),
    onChange(
      executionsAbort,
      ({ mode, ...input }, ctx) => carry(context, ctx, { ...input, control: `abort-${mode}` }),
      options,
    ),
    onChange(executionsResize, (input, ctx) => resize(context, ctx, input), options),
  ]
}

async function resize(
  context: WorkflowsContext,
  ctx: ChangeContext,
  input: InputOf<typeof executionsResize>,
): Promise<Execution> {
  const row = await getLocked(ctx, input.execution)
  checkResizable(row)
  const width = resolveWidth(toLimit(input.concurrency), row.targetsCount)
  if (width === (row.wishWidth ?? row.width)) return toExecution(row)
  const by = ctx.caller.principal
  const { reason } = input
  const wish = { account: ctx.account, id: row.id, wish: row.wish, by, reason, width, rollback: false }
  const version = await updateWish(ctx.tx, wish)
  const data = { by, width, before: row.wishWidth ?? row.width, ...(reason === undefined ? {} : { reason }) }
  ctx.emit({ aggregate: row.id, type: "execution.resize-requested", subject: row.id, version, data })
  // The owner goes over to it at its next step; who asked should not read the old one.
  return { ...(await finish(context, ctx, row.id)), width }
}

/** @throws executions.not-found */
async function getLocked(ctx: ChangeContext, id: string): Promise<ExecutionRow> {
  const row = await lockExecution(ctx.tx, ctx.account, id)
  if (!row) throw new AppError("executions.not-found", `there is no execution "${id}" in this account`)
  return row
}

async function finish(context: WorkflowsContext, ctx: ChangeContext, id: string): Promise<Execution> {
  ctx.afterCommit(() => context.hint())
  const changed = await findExecution(ctx.tx, ctx.account, id)
  assert(changed, "a locked execution can be read")
  return toExecution(changed)
}

interface ControlCall {
  readonly execution: string
  readonly control: Control
  readonly reason?: string | undefined
  /** Of an abort: all targets are put back afterwards. */
  readonly rollback?: boolean | undefined
}

async function carry(context: WorkflowsContext, ctx: ChangeContext, call: ControlCall): Promise<Execution> {
  const row = await getLocked(ctx, call.execution)
  const rollback = call.rollback === true
  if (rollback && row.rollbackOf !== null)
    throw new AppError("executions.invalid-transition", `execution ${row.id} is a rollback and can't be rolled back`)
  const wish = decideWish(row, call.control) ?? (rollback ? row.wish : undefined)
  if (wish === undefined) return toExecution(row)
  const by = ctx.caller.principal
  const { reason } = call
  const version = await updateWish(ctx.tx, {
    account: ctx.account,
    id: row.id,
    wish,
    by,
    reason,
    width: null,
    rollback,
  })
  const mode = wish === "abort-kill" ? "kill" : wish === "abort-finish" ? "finish" : undefined
  ctx.emit({
    aggregate: row.id,
    type: `execution.${call.control.startsWith("abort") ? "abort" : call.control}-requested`,
    subject: row.id,
    version,
    data: {
      by,
      ...(mode === undefined ? {} : { mode }),
      ...(rollback ? { rollback } : {}),
      ...(reason === undefined ? {} : { reason }),
    },
  })
  return finish(context, ctx, row.id)
}
