import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { pageInput, pageOf } from "../schemas.ts"
import { approvalLimits } from "./approval-limits.ts"
import { approvalRequest, requestId, requestStates } from "./request-shapes.ts"

/** What backends see of approvals: their own requests, and nothing of anybody else's. */

export const approvalResultsList = defineOperation({
  name: "approval-results.list",
  service: "approvals",
  summary: "List the approval requests that the caller submitted, the newest first",
  method: "GET",
  path: "/v1/approval-results",
  effect: "read",
  permission: "approvals.submit",
  input: z.strictObject({ ...pageInput, state: z.enum(requestStates).optional() }),
  output: pageOf(approvalRequest),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "state", "type", "title", "outcome.result", "outcome.reason", "decidedAt"] },
})

export const approvalResultsGet = defineOperation({
  name: "approval-results.get",
  service: "approvals",
  summary: "Show an approval request that the caller submitted, and its result",
  method: "GET",
  path: "/v1/approval-results/{request}",
  effect: "read",
  permission: "approvals.submit",
  input: z.strictObject({ request: requestId }),
  output: approvalRequest,
  errors: ["approvals.request-not-found"],
})

export const approvalResultsWait = defineOperation({
  name: "approval-results.wait",
  service: "approvals",
  summary: "Wait for the result of an approval request that the caller submitted",
  description: "Answers with the request as it is when it has ended or when the time is over; ask again then.",
  method: "GET",
  path: "/v1/approval-results/{request}:wait",
  effect: "read",
  permission: "approvals.submit",
  input: z.strictObject({
    request: requestId,
    seconds: z.coerce.number().int().min(1).max(approvalLimits.waitSecondsMax).default(30),
    version: z.coerce
      .number()
      .int()
      .min(1)
      .optional()
      .describe("Wait for another version than this one; left out, for the end"),
  }),
  output: approvalRequest,
  errors: ["approvals.request-not-found", "approvals.too-many-waiting"],
})

export const resultsOperations = [approvalResultsList, approvalResultsGet, approvalResultsWait] as const
