/**
 * What executions.create and executions.plan find out before anything is written: which document, parameters, strategy
 * and how many targets. Everything that can be wrong is refused here.
 */
import { nodesGet, nodesResolve } from "@signalbox/contracts/fleet/operations"
import { windowsGet } from "@signalbox/contracts/calendars/windows"
import type { InputOf } from "@signalbox/contracts/operation"
import type { executionsPlan } from "@signalbox/contracts/workflows/operations"
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import { AppError } from "@signalbox/kernel/app-error"
import type { ReadContext } from "../../router/handler.ts"
import { freezeParts, type FrozenParts } from "./frozen-parts.ts"
import { healthSecrets } from "./health-texts.ts"
import { blastRadiusDefault, describeTargets } from "./model.ts"
import type { ParameterValues } from "../../parameters/parameter-values.ts"
import { resolveParameters } from "./parameters.ts"
import { findOutside, outsideScope, reachLimits } from "./node-reach.ts"
import { pickTags, type TagChoice } from "./planning.ts"
import { planApprovals, type PlannedApproval } from "./planned-approvals.ts"
import { orderById } from "./target-order.ts"
import { resolveTargets, type ResolveCall, type TargetNode } from "./target-source.ts"
import type { WorkflowsContext } from "./handler-context.ts"
import { getStoredWorkflow } from "./store.ts"
import { checkStrategy, chooseStrategy, type RunStrategy } from "./strategy-model.ts"
import { createOrderBuilder, type OrderBuilder } from "./task-order.ts"
import { getWorkflow, reviveDocument } from "./workflow-text.ts"

export type RunInput = Omit<InputOf<typeof executionsPlan>, "sample">

export interface Prepared {
  readonly document: WorkflowDocument
  readonly canonical: string
  readonly digest: string
  readonly version: number | undefined
  readonly parameters: ParameterValues
  readonly parts: FrozenParts
  readonly strategy: RunStrategy
  readonly builder: OrderBuilder
  readonly approvals: readonly PlannedApproval[]
  readonly targetsCount: number
  readonly targetsMax: number
  /** By node id; absent where only their number had to be known. */
  readonly nodes?: readonly TargetNode[]
}

export interface PreparationOptions {
  /** With all the nodes, for a plan or to compare with one. */
  readonly withNodes: boolean
  /** Whether a run over more nodes than allowed is refused here. */
  readonly refusesWide: boolean
}

/** No plan looks at more nodes than this. */
const plannedNodesMax = 1_000_000

export async function prepareRun(
  context: WorkflowsContext,
  call: { readonly input: RunInput; readonly ctx: ReadContext },
  options: PreparationOptions,
): Promise<Prepared> {
  const { input, ctx } = call
  const chosen = await chooseDocument(input, ctx)
  const { document } = chosen
  const strategy = chooseStrategy(input, document)
  checkStrategy(strategy)
  await checkNames(context, strategy, ctx)
  const parameters = resolveParameters(document.parameters, input.parameters)
  const parts = await freezeParts(context, ctx.account, {
    ...{ document, parameters },
    secretNames: healthSecrets(strategy.health),
  })
  const builder = createOrderBuilder(document, parameters, { artifacts: parts.artifacts })
  const requester = ctx.caller.author ?? ctx.caller.principal
  const approvals = await planApprovals(context.operations, document, { call: callOf(ctx), requester })
  const targetsMax = input.targetsMax ?? blastRadiusDefault
  const found = await findTargets(context, { input, ctx }, { ...options, targetsMax, tags: builder })
  if (found.targetsCount === 0)
    throw new AppError("executions.no-targets", `no node matches ${describeTargets(input.targets)}`)
  return { ...chosen, strategy, builder, parameters, parts, approvals, targetsMax, ...found }
}

const callOf = (ctx: ReadContext): ResolveCall => ({
  account: ctx.account,
  cause: ctx.cause,
  causedBy: ctx.requestId,
  depth: ctx.depth + 1,
})

/** Windows and nodes that a strategy names. @throws calendars.window-not-found, fleet.node-not-found */
async function checkNames({ operations }: WorkflowsContext, strategy: RunStrategy, ctx: ReadContext): Promise<void> {
  const as = { ...callOf(ctx), service: "workflows", roles: ["viewer"] } as const
  for (const name of strategy.windows ?? []) await operations.call(windowsGet, { name }, as)
  const node = strategy.health?.on
  if (node === undefined) return
  const { name, tags } = await operations.call(nodesGet, { node }, as)
  const scope = ctx.caller.nodes
  if (scope !== undefined && findOutside(scope, [{ name, tags }]).length > 0) throw outsideScope(scope, [name], true)
}

interface FindOptions extends PreparationOptions {
  readonly targetsMax: number
  readonly tags: TagChoice
}

/** The nodes are walked only where each has to be looked at: a list may name unknown ones, a template a missing tag. */
async function findTargets(
  { operations }: WorkflowsContext,
  { input, ctx }: { readonly input: RunInput; readonly ctx: ReadContext },
  { tags, targetsMax, withNodes, refusesWide }: FindOptions,
): Promise<Pick<Prepared, "targetsCount" | "nodes">> {
  const call = callOf(ctx)
  const scope = ctx.caller.nodes
  const outside: string[] = []
  if (!withNodes && input.targets.nodes === undefined && tags.tagKeys.length === 0 && scope === undefined) {
    const as = { ...call, service: "workflows", roles: ["viewer"] } as const
    const count = (await operations.call(nodesResolve, { ...input.targets, limit: 1, count: true }, as)).count ?? 0
    if (refusesWide && count > targetsMax) throw overBlastRadius(input, targetsMax)
    return { targetsCount: count }
  }
  let targetsCount = 0
  const kept: TargetNode[] = []
  for await (const nodes of resolveTargets(operations, input.targets, call)) {
    for (const node of nodes) {
      pickTags(node, tags)
      if (withNodes) kept.push(node)
    }
    if (scope !== undefined) outside.push(...findOutside(scope, nodes))
    if (scope !== undefined && outside.length >= reachLimits.namesKeptMax) throw outsideScope(scope, outside, false)
    targetsCount += nodes.length
    if (targetsCount > (refusesWide ? targetsMax : plannedNodesMax)) throw overBlastRadius(input, targetsMax)
  }
  if (scope !== undefined && outside.length > 0) throw outsideScope(scope, outside, true)
  return { targetsCount, ...(withNodes && { nodes: orderById(kept) }) }
}

function overBlastRadius(input: RunInput, targetsMax: number): AppError {
  const given =
    input.targetsMax === undefined ? "is what a run may touch without targetsMax" : "is the given targetsMax"
  return new AppError(
    "executions.blast-radius",
    `${describeTargets(input.targets)} are more than ${targetsMax} nodes, which ${given}`,
    { details: { targetsMax } },
  )
}

async function chooseDocument(
  input: RunInput,
  ctx: ReadContext,
): Promise<Pick<Prepared, "document" | "canonical" | "digest" | "version">> {
  if ((input.workflow === undefined) === (input.document === undefined))
    throw new AppError("request.invalid-input", "give either the name of a workflow or a document", {
      issues: [{ path: "workflow", message: "give exactly one of workflow and document" }],
    })
  if (input.document !== undefined) {
    if (input.version !== undefined)
      throw new AppError("request.invalid-input", "a version goes with the name of a workflow, not with a document", {
        issues: [{ path: "version", message: "is for stored workflows" }],
      })
    return { ...getWorkflow(input.document), version: undefined }
  }
  const row = await getStoredWorkflow(ctx.sql, {
    account: ctx.account,
    name: input.workflow ?? "",
    version: input.version,
  })
  const { definition, version, digest } = row
  return { document: reviveDocument(definition), canonical: JSON.stringify(definition), digest, version }
}
