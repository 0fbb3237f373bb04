/** executions.evidence: shows a node why it may believe an order. What it says proves itself; the node believes no more. */
import { approvalRequestsExport } from "@signalbox/contracts/approvals/requests"
import { findEachNodePlan } from "@signalbox/attestation/approval-bundle"
import { nodesGet } from "@signalbox/contracts/fleet/operations"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { executionsEvidence } from "@signalbox/contracts/workflows/execution-evidence"
import { AppError } from "@signalbox/kernel/app-error"
import { onRead, type Handler, type ReadContext } from "../../router/handler.ts"
import { findApproval, findTarget } from "./evidence-store.ts"
import type { WorkflowsContext } from "./handler-context.ts"
import { TargetTrees } from "./target-trees.ts"

type Evidence = OutputOf<typeof executionsEvidence>

export function evidenceHandlers(context: WorkflowsContext): Handler[] {
  const trees = new TargetTrees()
  return [onRead(executionsEvidence, (input, ctx) => show(context, trees, { input, ctx }))]
}

async function show(
  context: WorkflowsContext,
  trees: TargetTrees,
  { input, ctx }: { readonly input: InputOf<typeof executionsEvidence>; readonly ctx: ReadContext },
): Promise<Evidence> {
  const { execution, ordinal } = input
  const approval = await findApproval(ctx.sql, ctx.account, execution)
  if (approval === undefined) throw notFound(execution)
  if (approval === null) throw new AppError("executions.not-approved", `${execution} was started without an approval`)
  const { account, cause, requestId: causedBy, depth } = ctx
  const as = { account, cause, causedBy, depth: depth + 1, service: "workflows", roles: ["viewer"] } as const
  if (ordinal === undefined) {
    const bundle = await context.operations.call(approvalRequestsExport, { request: approval }, as)
    const probed = findEachNodePlan(bundle.content)?.probe?.on
    const node = probed && (await context.operations.call(nodesGet, { node: probed }, as))
    if (!node || !isNode(ctx, node.id)) throw notFound(execution)
    return { approval: bundle }
  }
  const target = await findTarget(ctx.sql, account, { execution, ordinal })
  if (!target || !isNode(ctx, target.runner ?? target.id)) throw notFound(execution)
  const [bundle, proof] = await Promise.all([
    context.operations.call(approvalRequestsExport, { request: approval }, as),
    trees.prove(ctx.sql, execution, target),
  ])
  return { approval: bundle, ...(proof && { proof }) }
}

const isNode = ({ caller }: ReadContext, id: string): boolean => caller.principal === `node:${id}`

const notFound = (execution: string): AppError =>
  new AppError("executions.not-found", `there is no execution "${execution}" that this node takes part in`)
