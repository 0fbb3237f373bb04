import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { resourceName } from "../schemas.ts"
import { approvalLimits } from "./approval-limits.ts"
import { comment, outcomeReasons, requestId, title } from "./request-shapes.ts"

/** Approvals that a step of a running workflow waits for. Asked by executions; nobody else may. */
export const stepApprovalsAsk = defineOperation({
  name: "step-approvals.ask",
  service: "approvals",
  summary: "Ask for the approval that a workflow's step waits for; for executions",
  description: "The id makes it one request, however often and however late it is asked for again.",
  method: "POST",
  path: "/v1/step-approvals",
  effect: "change",
  permission: "approvals.hold",
  gateable: false,
  input: z.strictObject({
    request: requestId.describe("The id that it has, or gets"),
    template: resourceName,
    groups: z.record(resourceName, resourceName).default({}),
    workflow: z.string().max(approvalLimits.attributeLengthMax),
    title,
    content: z.record(z.string(), z.unknown()).describe("What is approved"),
    principal: z.string().max(200).describe("For whom it is asked: who started the run, and may not answer"),
  }),
  output: z.object({
    request: z.string(),
    requestUrl: z.string(),
    ended: z
      .object({ result: z.enum(["approved", "denied", "cancelled"]), reason: z.enum(outcomeReasons) })
      .optional()
      .describe("Where it has ended already"),
  }),
  errors: ["approvals.template-not-found", "approvals.content-too-large", "approvals.unreachable"],
})

export const stepApprovalsCancel = defineOperation({
  name: "step-approvals.cancel",
  service: "approvals",
  summary: "Withdraw what no task waits for any more; for executions",
  method: "POST",
  path: "/v1/step-approvals/{request}:cancel",
  effect: "change",
  permission: "approvals.hold",
  gateable: false,
  input: z.strictObject({ request: requestId, comment }),
  output: z.object({ request: z.string() }),
  errors: ["approvals.request-not-found", "approvals.request-ended"],
})

export const stepApprovalsOperations = [stepApprovalsAsk, stepApprovalsCancel] as const
