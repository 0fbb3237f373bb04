import { z } from "zod"
import { approvalBundle, targetProof } from "../approvals/signed-votes.ts"
import { defineOperation } from "../operation.ts"

/** How a node learns whether a run was approved, and that it is one of the nodes it was approved for. */
export const executionsEvidence = defineOperation({
  name: "executions.evidence",
  service: "workflows",
  summary: "Show a node the approval of a run that it is to take part in",
  description:
    "For agents whose local policy wants signed approvals. Only the run's own targets, the node that its health check " +
    "asks, and what stands in for a target get it.",
  method: "GET",
  path: "/v1/executions/{execution}/evidence",
  effect: "read",
  permission: "executions.evidence",
  input: z.strictObject({
    execution: z.string().max(64),
    ordinal: z.coerce.number().int().min(0).optional().describe("The target's number; left out for a health check"),
  }),
  output: z.object({
    approval: approvalBundle,
    proof: targetProof
      .optional()
      .describe("Absent where the plan has no tree of its targets, or no target is asked for"),
  }),
  errors: ["executions.not-found", "executions.not-approved", "approvals.request-not-found"],
})

/** Where an agent asks. */
export function executionEvidencePath(execution: string, ordinal: number | undefined): string {
  return `/v1/executions/${execution}/evidence${ordinal === undefined ? "" : `?ordinal=${ordinal}`}`
}
