/** What is approved of a run beside its plan: what each node does, so that a node knows an order that nobody approved. Pure. */
import { leafHash, MerkleTree } from "@signalbox/attestation/merkle-tree"
import { bracketsFor, placeholderNode } from "@signalbox/attestation/order-template"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import { signatureLimits, type EachNodePlan, type ProvenTarget } from "@signalbox/contracts/approvals/signed-votes"
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import type { ParameterValues } from "../../parameters/parameter-values.ts"
import type { FrozenParts } from "./frozen-parts.ts"
import { pickTags, type TagChoice } from "./planning.ts"
import { orderBuilderOf } from "./run-plan.ts"
import type { RunStrategy } from "./strategy-model.ts"
import { orderById } from "./target-order.ts"
import type { ResolvedNode } from "./target-source.ts"

export interface ApprovedRun {
  readonly document: WorkflowDocument
  readonly parameters: ParameterValues
  readonly parts: FrozenParts
  readonly strategy: RunStrategy
  readonly nodes: readonly ResolvedNode[]
}

export function eachNodePlanOf({ document, parameters, parts, strategy, nodes }: ApprovedRun): EachNodePlan {
  const builder = orderBuilderOf(document, { parameters, parts, strategy })
  const brackets = bracketsFor(JSON.stringify({ document, parameters, parts }))
  const order = builder.build(placeholderNode(brackets, [...builder.tagKeys, ...builder.optionalTagKeys]))
  const isSpelled = Buffer.byteLength(JSON.stringify(order)) <= signatureLimits.spelledOrderBytesMax
  const { run, on } = strategy.health ?? {}
  return {
    ...(isSpelled && { order }),
    brackets,
    attemptsMax: document.retry?.attempts ?? 1,
    ...(nodes.length <= signatureLimits.provenTargetsMax && { targetsRoot: targetTree(nodes, builder).root }),
    targetsCount: nodes.length,
    ...(run !== undefined && on !== undefined && { probe: { on, command: run } }),
  }
}

/** For the operation's name and what surrounds it. */
const contentMarginBytes = 4 * 1024

/** Without the order where a content that has `beside` would be too large with it: that is no reason to hold no call. */
export function fitting({ order, ...plan }: EachNodePlan, beside: unknown): EachNodePlan {
  const bytes = Buffer.byteLength(JSON.stringify([order, plan, beside]))
  return order && bytes <= approvalLimits.contentBytesMax - contentMarginBytes ? { ...plan, order } : plan
}

function targetTree(nodes: readonly ResolvedNode[], choice: TagChoice): MerkleTree {
  const targets = orderById(nodes).map((node) => provenTargetOf({ ...node, tags: pickTags(node, choice) ?? null }))
  return new MerkleTree(targets.map(leafHash))
}

/** A target as the tree has it, with the tags that the run keeps of it. */
export function provenTargetOf(node: {
  readonly id: string
  readonly name: string
  readonly tags: Readonly<Record<string, string>> | null
  readonly runner?: string | null | undefined
}): ProvenTarget {
  const { id, name, tags, runner } = node
  return { id, name, tags: { ...tags }, ...(runner ? { runner } : {}) }
}
