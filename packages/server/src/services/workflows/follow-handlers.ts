/** executions.retry and executions.rollback: new executions about the tasks of one that has ended. */
import type { InputOf } from "@signalbox/contracts/operation"
import { executionsRetry, executionsRollback } from "@signalbox/contracts/workflows/operations"
import { isExecutionEnded } from "@signalbox/engine/execution-machine"
import { AppError } from "@signalbox/kernel/app-error"
import { newId } from "@signalbox/kernel/id"
import {
  onChange,
  type ChangeContext,
  type GateAttributes,
  type Handler,
  type ReadContext,
} from "../../router/handler.ts"
import { begin, inlineWorkflow } from "./create-handler.ts"
import { findExecution, lockExecution, type ExecutionRow } from "./execution-store.ts"
import { initialCounts, newRollback, rollbackStatesOf } from "./follow-model.ts"
import type { WorkflowsContext } from "./handler-context.ts"
import { chooseLimits } from "./limit-choice.ts"
import {
  countFollowed,
  findRunningRollback,
  getRunSource,
  type NewExecution,
  type RunSource,
} from "./new-execution-store.ts"
import type { Execution } from "./presentation.ts"
import { requireReach } from "./node-reach.ts"
import { chooseStrategy, type RunStrategy } from "./strategy-model.ts"
import type { FollowSource } from "./follow-source.ts"
import { reviveDocument } from "./workflow-text.ts"

export function followHandlers(context: WorkflowsContext): Handler[] {
  const options = {
    prepare: (input: { readonly execution: string }, ctx: ReadContext) => requireReach(context, ctx, input.execution),
    gateAttributes: (input: { readonly execution: string }, ctx: ReadContext) => workflowOf(ctx, input.execution),
  }
  return [
    onChange(executionsRetry, (input, ctx) => retry(context, ctx, input), options),
    onChange(executionsRollback, (input, ctx) => rollBack(context, ctx, input), options),
  ]
}

/** What holds runs of a workflow holds what follows on one too. */
async function workflowOf({ sql, account }: ReadContext, execution: string): Promise<GateAttributes> {
  const row = await findExecution(sql, account, execution)
  return row ? { workflow: row.workflowVersion === null ? inlineWorkflow : row.workflowName } : {}
}

interface Ended {
  readonly row: ExecutionRow
  readonly source: RunSource
  readonly strategy: RunStrategy
}

/** @throws executions.not-found, executions.not-finished, executions.invalid-transition */
async function getEnded(ctx: ChangeContext, id: string): Promise<Ended> {
  const row = await lockExecution(ctx.tx, ctx.account, id)
  if (!row) throw new AppError("executions.not-found", `there is no execution "${id}" in this account`)
  if (!isExecutionEnded(row.state))
    throw new AppError("executions.not-finished", `execution ${id} has not ended: it is ${row.shown}`)
  if (row.rollbackOf !== null)
    throw new AppError(
      "executions.invalid-transition",
      `execution ${id} is a rollback; roll ${row.rollbackOf} back again instead, what is left of it`,
    )
  const source = await getRunSource(ctx.tx, ctx.account, id)
  const strategy = row.strategy ?? chooseStrategy({}, reviveDocument(source.definition))
  return { row, source, strategy }
}

async function retry(
  context: WorkflowsContext,
  ctx: ChangeContext,
  input: InputOf<typeof executionsRetry>,
): Promise<Execution> {
  const { row, source, strategy } = await getEnded(ctx, input.execution)
  const { states, classes, nodes, concurrency = strategy.concurrency, errorLimit = strategy.errorLimit } = input
  const follow: FollowSource = { kind: "retry", execution: row.id, states, classes, nodes }
  const targetsCount = await countFollowed(ctx.tx, ctx.account, follow)
  if (targetsCount === 0)
    throw new AppError("executions.no-targets", `execution ${row.id} has no task that is ${states.join(" or ")}`)
  const next: NewExecution = {
    ...sharedOf(context, ctx, row),
    canonical: JSON.stringify(source.definition),
    parts: source.parts,
    strategy: { ...strategy, ...withLimits(concurrency, errorLimit) },
    targets: { follow },
    targetsText: `${states.join(", ")} tasks of ${row.id}`,
    targetsCount,
    targetsMax: source.targetsMax,
    expectedDigest: undefined,
    ...chooseLimits({ concurrency, errorLimit }, targetsCount),
    ...initialCounts(targetsCount),
    retryOf: row.id,
    rollbackOf: undefined,
    note: input.note,
  }
  return begin(context, ctx, next)
}

type LimitGiven = RunStrategy["concurrency"]

function withLimits(concurrency: LimitGiven, errorLimit: LimitGiven): Pick<RunStrategy, "concurrency" | "errorLimit"> {
  return {
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(errorLimit === undefined ? {} : { errorLimit }),
  }
}

async function rollBack(
  context: WorkflowsContext,
  ctx: ChangeContext,
  input: InputOf<typeof executionsRollback>,
): Promise<Execution> {
  const { row, source, strategy } = await getEnded(ctx, input.execution)
  const running = await findRunningRollback(ctx.tx, ctx.account, row.id)
  if (running !== undefined)
    throw new AppError("executions.rollback-running", `execution ${running} is rolling ${row.id} back already`)
  const { include, note } = input
  const targetsCount = await countFollowed(ctx.tx, ctx.account, {
    kind: "rollback",
    execution: row.id,
    states: rollbackStatesOf[include],
  })
  if (targetsCount === 0)
    throw new AppError("executions.no-targets", `execution ${row.id} has no such target that is not yet rolled back`)
  return begin(
    context,
    ctx,
    newRollback({
      ...sharedOf(context, ctx, row),
      of: row,
      definition: JSON.stringify(source.definition),
      parts: source.parts,
      strategy,
      targetsMax: source.targetsMax,
      targetsCount,
      include,
      concurrency: input.concurrency ?? strategy.rollbackConcurrency ?? row.concurrency,
      errorLimit: input.errorLimit ?? "100%",
      note,
    }),
  )
}

function sharedOf({ clock, random }: WorkflowsContext, ctx: ChangeContext, row: ExecutionRow) {
  return {
    id: newId("execution", clock, random),
    account: ctx.account,
    workflowName: row.workflowName,
    workflowVersion: row.workflowVersion ?? undefined,
    parameters: row.parameters,
    cause: ctx.cause,
    causedBy: ctx.requestId,
    depth: ctx.depth,
    createdBy: ctx.caller.principal,
    author: ctx.caller.author,
    scope: ctx.caller.nodes,
  }
}
