/** executions.create and executions.plan: everything that can be wrong is refused before anything is written. */
import { executionsCreate, executionsPlan } from "@signalbox/contracts/workflows/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { idPrefixes, newId } from "@signalbox/kernel/id"
import {
  onChange,
  onRead,
  type CallPlan,
  type ChangeContext,
  type Handler,
  type ReadContext,
} from "../../router/handler.ts"
import { eachNodePlanOf, fitting } from "./approved-plan.ts"
import { noteApproval } from "./evidence-store.ts"
import { findExecution } from "./execution-store.ts"
import { initialCounts } from "./follow-model.ts"
import { chooseLimits } from "./limit-choice.ts"
import { describeTargets } from "./model.ts"
import { createdData, insertExecution, type NewExecution } from "./new-execution-store.ts"
import { toExecution, type Execution } from "./presentation.ts"
import type { WorkflowsContext } from "./handler-context.ts"
import { planRun, type PlannedRun } from "./run-forecast.ts"
import { prepareRun, type Prepared } from "./run-preparation.ts"

type Input = InputOf<typeof executionsCreate>

export function createHandlers(context: WorkflowsContext): Handler[] {
  // What `prepare` found out, for the transaction of the same call.
  const prepared = new WeakMap<Input, Checked>()
  return [
    onRead(executionsPlan, async (input, ctx) => {
      const run = await prepareRun(context, { input, ctx }, { withNodes: true, refusesWide: false })
      return forecast(context, { run, ctx, input })
    }),
    onChange(
      executionsCreate,
      async (input, ctx) => {
        const checked = prepared.get(input)
        assert(checked, "executions.create is prepared before its transaction")
        const row = newExecution(context, ctx, { input, ...checked })
        const execution = await begin(context, ctx, row)
        if (isApproval(ctx.causedBy)) await noteApproval(ctx.tx, row.id, ctx.causedBy)
        return execution
      },
      {
        prepare: async (input, ctx) => void prepared.set(input, await check(context, input, ctx)),
        plan: (input, ctx) => planCall(context, input, ctx),
        gateAttributes: (input) => Promise.resolve(input.document === undefined ? {} : { workflow: inlineWorkflow }),
      },
    ),
  ]
}

/** Whether a call is carried out since a request for it was approved. */
const isApproval = (cause: string | undefined): cause is string =>
  cause?.startsWith(`${idPrefixes.approvalRequest}_`) === true

/** What associations and calendars select a run by that brings its own document, whatever the document is named. */
export const inlineWorkflow = "inline"

/** Targets that a plan spells out for those who approve it. */
const approvedSample = 3

/** For approvers: what would run, without what changes by itself, and the input that runs this or nothing. */
async function planCall(context: WorkflowsContext, input: Input, ctx: ReadContext): Promise<CallPlan> {
  const run = await prepareRun(context, { input, ctx }, { withNodes: true, refusesWide: true })
  const {
    windows: _,
    asked: __,
    ...plan
  } = forecast(context, { run, ctx, input: { ...input, sample: approvedSample } })
  const { count, text } = plan.targets
  const title = `Run ${plan.workflow.name} on ${count} ${count === 1 ? "node" : "nodes"}: ${text}`
  const made = { input: { ...input, planDigest: plan.planDigest }, title, facts: factsOf(plan) }
  const onEachNode = fitting(eachNodePlanOf({ ...run, nodes: run.nodes ?? [] }), { ...made, plan })
  return { ...made, plan: { ...plan, onEachNode } }
}

function factsOf(plan: Omit<PlannedRun, "windows" | "asked">): Array<[string, string]> {
  const { workflow, targets, width, errorsMax, steps, approvals, rollback } = plan
  return [
    ["Workflow", workflow.version === undefined ? workflow.name : `${workflow.name}, version ${workflow.version}`],
    ["Targets", `${targets.count}: ${targets.text}`],
    ["At once", `${width}; stops after more than ${errorsMax} errors`],
    ["Steps", steps.map(({ name }) => name).join(", ")],
    ...approvals.map(({ step, template }): [string, string] => ["Asks again", `${template}, at ${step}`]),
    ["Rollback", rollback.when],
  ]
}

interface Checked {
  readonly run: Prepared
  readonly expectedDigest: string | undefined
}

async function check(context: WorkflowsContext, input: Input, ctx: ReadContext): Promise<Checked> {
  const { planDigest } = input
  const withNodes = planDigest !== undefined
  const run = await prepareRun(context, { input, ctx }, { withNodes, refusesWide: true })
  if (planDigest === undefined) return { run, expectedDigest: undefined }
  const plan = forecast(context, { run, ctx, input: { ...input, sample: 0 } })
  if (plan.planDigest !== planDigest)
    throw new AppError("executions.plan-changed", "what would run now is not what was planned", {
      details: { planDigest: plan.planDigest },
    })
  return { run, expectedDigest: plan.targets.digest }
}

function forecast(
  { windows }: WorkflowsContext,
  {
    run,
    ctx,
    input,
  }: {
    readonly run: Prepared
    readonly ctx: ReadContext
    readonly input: Pick<Input, "targets"> & { readonly sample: number }
  },
): PlannedRun {
  const names = run.strategy.windows
  return planRun({
    run,
    targetsText: describeTargets(input.targets),
    sample: input.sample,
    windows: names && windows.stateOf(ctx.account, names, ctx.now),
  })
}

function newExecution(
  context: WorkflowsContext,
  ctx: ChangeContext,
  { input, run, expectedDigest }: Checked & { readonly input: Input },
): NewExecution {
  const { document, targetsCount, strategy } = run
  return {
    id: newId("execution", context.clock, context.random),
    account: ctx.account,
    workflowName: document.name,
    workflowVersion: run.version,
    canonical: run.canonical,
    parts: run.parts,
    parameters: run.parameters,
    strategy,
    targets: input.targets,
    targetsText: describeTargets(input.targets),
    targetsCount,
    targetsMax: run.targetsMax,
    expectedDigest,
    ...chooseLimits(strategy, targetsCount),
    ...initialCounts(targetsCount),
    retryOf: undefined,
    rollbackOf: undefined,
    note: input.note,
    cause: ctx.cause,
    causedBy: ctx.requestId,
    depth: ctx.depth,
    createdBy: ctx.caller.principal,
    author: ctx.caller.author,
    scope: ctx.caller.nodes,
  }
}

/** Writes a new execution with its event; its owner then plans and runs it. */
export async function begin(context: WorkflowsContext, ctx: ChangeContext, row: NewExecution): Promise<Execution> {
  await insertExecution(ctx.tx, row)
  ctx.emit({ aggregate: row.id, type: "execution.created", subject: row.id, version: 1, data: createdData(row) })
  ctx.afterCommit(() => context.hint())
  const inserted = await findExecution(ctx.tx, ctx.account, row.id)
  assert(inserted, "what a transaction inserted it can read")
  return toExecution(inserted)
}
