/** executions.create: everything that can be wrong is refused before anything is written; the plan then follows. */
import { nodesResolve } from "@signalbox/contracts/fleet/operations"
import { executionsCreate } from "@signalbox/contracts/workflows/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import { rollbackStates } from "@signalbox/engine/rollback-machine"
import { taskStates } from "@signalbox/engine/task-machine"
import type { RollbackCounts, TaskCounts } from "@signalbox/engine/types"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { newId } from "@signalbox/kernel/id"
import { onChange, type Handler, type ReadContext } from "../../router/handler.ts"
import { findExecution, insertExecution } from "./execution-store.ts"
import { blastRadiusDefault, chooseLimits, describeTargets } from "./model.ts"
import { resolveParameters, type ParameterValues } from "./parameters.ts"
import { pickTags, resolveTargets, type ResolveCall } from "./planning.ts"
import { toExecution } from "./presentation.ts"
import type { WorkflowsContext } from "./handler-context.ts"
import { getStoredWorkflow } from "./store.ts"
import { createOrderBuilder } from "./task-order.ts"
import { getWorkflow, reviveDocument } from "./workflow-text.ts"

type Input = InputOf<typeof executionsCreate>

interface Prepared {
  readonly document: WorkflowDocument
  readonly canonical: string
  readonly version: number | undefined
  readonly parameters: ParameterValues
  readonly targetsCount: number
  readonly targetsMax: number
}

export function createHandlers(context: WorkflowsContext): Handler[] {
  // What `prepare` found out, for the transaction of the same call.
  const prepared = new WeakMap<Input, Prepared>()
  return [
    onChange(
      executionsCreate,
      async (input, ctx) => {
        const run = prepared.get(input)
        assert(run, "executions.create is prepared before its transaction")
        const { document, targetsCount } = run
        const id = newId("execution", context.clock, context.random)
        const limits = chooseLimits(input, document, targetsCount)
        await insertExecution(ctx.tx, {
          id,
          account: ctx.account,
          workflowName: document.name,
          workflowVersion: run.version,
          canonical: run.canonical,
          parameters: run.parameters,
          targets: input.targets,
          targetsText: describeTargets(input.targets),
          targetsCount,
          targetsMax: run.targetsMax,
          ...limits,
          ...initialCounts(targetsCount),
          note: input.note,
          cause: ctx.cause,
          causedBy: ctx.requestId,
          depth: ctx.depth,
          createdBy: ctx.caller.principal,
        })
        ctx.emit({
          aggregate: id,
          type: "execution.created",
          subject: id,
          version: 1,
          data: {
            workflow: document.name,
            ...(run.version === undefined ? {} : { version: run.version }),
            targets: describeTargets(input.targets),
            targetsCount,
          },
        })
        ctx.afterCommit(() => context.hint())
        const row = await findExecution(ctx.tx, ctx.account, id)
        assert(row, "what a transaction inserted it can read")
        return toExecution(row)
      },
      { prepare: async (input, ctx) => void prepared.set(input, await prepareRun(context, input, ctx)) },
    ),
  ]
}

async function prepareRun(context: WorkflowsContext, input: Input, ctx: ReadContext): Promise<Prepared> {
  const chosen = await chooseDocument(input, ctx)
  const parameters = resolveParameters(chosen.document.parameters, input.parameters)
  const { tagKeys } = createOrderBuilder(chosen.document, parameters)
  const targetsMax = input.targetsMax ?? blastRadiusDefault
  const call = { account: ctx.account, cause: ctx.cause, causedBy: ctx.requestId, depth: ctx.depth + 1 }
  const targetsCount = await countTargets(context, input, { tagKeys, targetsMax, call })
  if (targetsCount === 0)
    throw new AppError("executions.no-targets", `no node matches ${describeTargets(input.targets)}`)
  return { ...chosen, parameters, targetsCount, targetsMax }
}

/** The nodes are walked only where each has to be looked at: a list may name unknown ones, a template a missing tag. */
async function countTargets(
  { operations }: WorkflowsContext,
  input: Input,
  run: { readonly tagKeys: readonly string[]; readonly targetsMax: number; readonly call: ResolveCall },
): Promise<number> {
  const { tagKeys, targetsMax, call } = run
  let count = 0
  if (input.targets.nodes === undefined && tagKeys.length === 0) {
    const as = { ...call, service: "workflows", roles: ["viewer"] } as const
    count = (await operations.call(nodesResolve, { ...input.targets, limit: 1, count: true }, as)).count ?? 0
  } else {
    for await (const nodes of resolveTargets(operations, input.targets, call)) {
      for (const node of nodes) pickTags(node, tagKeys)
      count += nodes.length
      if (count > targetsMax) break
    }
  }
  if (count > targetsMax) throw overBlastRadius(input, targetsMax)
  return count
}

function overBlastRadius(input: Input, targetsMax: number): AppError {
  const given =
    input.targetsMax === undefined ? "is what a run may touch without targetsMax" : "is the given targetsMax"
  return new AppError(
    "executions.blast-radius",
    `${describeTargets(input.targets)} are more than ${targetsMax} nodes, which ${given}`,
    { details: { targetsMax } },
  )
}

async function chooseDocument(
  input: Input,
  ctx: ReadContext,
): Promise<Pick<Prepared, "document" | "canonical" | "version">> {
  if ((input.workflow === undefined) === (input.document === undefined))
    throw new AppError("request.invalid-input", "give either the name of a workflow or a document", {
      issues: [{ path: "workflow", message: "give exactly one of workflow and document" }],
    })
  if (input.document !== undefined) {
    if (input.version !== undefined)
      throw new AppError("request.invalid-input", "a version goes with the name of a workflow, not with a document", {
        issues: [{ path: "version", message: "is for stored workflows" }],
      })
    const { document, canonical } = getWorkflow(input.document)
    return { document, canonical, version: undefined }
  }
  const row = await getStoredWorkflow(ctx.sql, {
    account: ctx.account,
    name: input.workflow ?? "",
    version: input.version,
  })
  return { document: reviveDocument(row.definition), canonical: JSON.stringify(row.definition), version: row.version }
}

function initialCounts(targetsCount: number): { counts: TaskCounts; rollbacks: RollbackCounts } {
  const counts = Object.fromEntries(taskStates.map((state) => [state, 0])) as Record<keyof TaskCounts, number>
  const rollbacks = Object.fromEntries(rollbackStates.map((state) => [state, 0])) as Record<
    keyof RollbackCounts,
    number
  >
  return { counts: { ...counts, queued: targetsCount }, rollbacks: { ...rollbacks, none: targetsCount } }
}
