/** Whom the approval steps of a document would ask: refused beforehand where nobody could say yes. */
import { templatesPreview } from "@signalbox/contracts/approvals/templates"
import type { OutputOf } from "@signalbox/contracts/operation"
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import type { ApprovalAsk } from "@signalbox/contracts/workflows/steps"
import type { OperationCaller } from "../../router/ports.ts"
import type { ResolveCall } from "./target-source.ts"

export interface PlannedApproval {
  readonly step: string
  readonly approval: ApprovalAsk
  readonly preview: OutputOf<typeof templatesPreview>
}

/**
 * @param requester who would start the run; left out, for anybody
 * @throws approvals.template-not-found, approvals.group-not-found, approvals.unreachable
 */
export async function planApprovals(
  operations: OperationCaller,
  document: WorkflowDocument,
  of: { readonly call: ResolveCall; readonly requester?: string },
): Promise<PlannedApproval[]> {
  const as = { ...of.call, service: "workflows", roles: ["viewer"] } as const
  const planned: PlannedApproval[] = []
  for (const [index, step] of document.steps.entries()) {
    const { approval } = step
    if (approval === undefined) continue
    const { template: name, groups } = approval
    const requester = of.requester === undefined ? {} : { requester: of.requester }
    const preview = await operations.call(templatesPreview, { name, groups, ...requester }, as)
    planned.push({ step: step.name ?? `step ${index + 1}`, approval, preview })
  }
  return planned
}
