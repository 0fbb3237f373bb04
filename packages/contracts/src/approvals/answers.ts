import type { ErrorCode } from "@signalbox/kernel/error-catalogue"
import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { approvalRequest, comment, digest, requestId } from "./request-shapes.ts"
import { envelopeText } from "./vote-keys.ts"

/** What any answer can be refused with: the same codes by API, link and delegate. */
export const answerErrors = [
  "approvals.request-not-found",
  "approvals.request-ended",
  "approvals.request-unmatched",
  "approvals.not-a-member",
  "approvals.level-not-open",
  "approvals.level-closed",
  "approvals.member-removed",
  "approvals.self-approval",
  "approvals.same-team",
  "approvals.content-changed",
  "approvals.already-voted",
  "approvals.member-has-voted",
  "approvals.limit-reached",
  "approvals.signature-required",
] as const satisfies readonly ErrorCode[]

const level = z
  .int()
  .min(1)
  .optional()
  .describe("The level that was open when the caller looked, from 1: a second click never counts for the next one")
const voteInput = {
  request: requestId,
  digest,
  level,
  comment: comment.optional(),
  signature: envelopeText
    .optional()
    .describe("The same vote, signed with a registered key of the caller's: a DSSE envelope in JSON; names the level"),
}

export const approvalRequestsApprove = defineOperation({
  name: "approval-requests.approve",
  service: "approvals",
  summary: "Approve a request with exactly this content",
  description: "Counts for each seat that the caller holds at the open level, as a member or as a delegate.",
  method: "POST",
  path: "/v1/approval-requests/{request}:approve",
  effect: "change",
  permission: "approvals.answer",
  gateable: false,
  input: z.strictObject(voteInput),
  output: approvalRequest,
  errors: [...answerErrors, "approvals.signature-refused"],
})

export const approvalRequestsDeny = defineOperation({
  name: "approval-requests.deny",
  service: "approvals",
  summary: "Deny a request",
  method: "POST",
  path: "/v1/approval-requests/{request}:deny",
  effect: "change",
  permission: "approvals.answer",
  gateable: false,
  input: z.strictObject(voteInput),
  output: approvalRequest,
  errors: [...answerErrors, "approvals.signature-refused"],
})

export const approvalRequestsAbstain = defineOperation({
  name: "approval-requests.abstain",
  service: "approvals",
  summary: "Abstain from a request",
  method: "POST",
  path: "/v1/approval-requests/{request}:abstain",
  effect: "change",
  permission: "approvals.answer",
  gateable: false,
  input: z.strictObject(voteInput),
  output: approvalRequest,
  errors: [...answerErrors, "approvals.signature-refused", "approvals.abstention-refused"],
})

export const approvalRequestsAsk = defineOperation({
  name: "approval-requests.ask",
  service: "approvals",
  summary: "Ask the requester a question; the level's clocks stand still until the answer",
  method: "POST",
  path: "/v1/approval-requests/{request}:ask",
  effect: "change",
  permission: "approvals.answer",
  gateable: false,
  input: z.strictObject({ request: requestId, digest, level, question: comment.min(1) }),
  output: approvalRequest,
  errors: [...answerErrors, "approvals.question-open"],
})

export const approvalRequestsAnswer = defineOperation({
  name: "approval-requests.answer",
  service: "approvals",
  summary: "Answer the question that was asked; the level's clocks go on",
  method: "POST",
  path: "/v1/approval-requests/{request}:answer",
  effect: "change",
  permission: "approvals.submit",
  gateable: false,
  input: z.strictObject({ request: requestId, answer: comment.min(1) }),
  output: approvalRequest,
  errors: [
    "approvals.request-not-found",
    "approvals.request-ended",
    "approvals.not-the-requester",
    "approvals.no-question",
  ],
})

export const approvalRequestsDelegate = defineOperation({
  name: "approval-requests.delegate",
  service: "approvals",
  summary: "Let somebody else answer this request in the caller's place",
  method: "POST",
  path: "/v1/approval-requests/{request}:delegate",
  effect: "change",
  permission: "approvals.answer",
  gateable: false,
  input: z.strictObject({
    request: requestId,
    to: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .describe("A user, a service account or an API key, by id or name; left out, the caller takes the seat back"),
  }),
  output: approvalRequest,
  errors: [...answerErrors, "approvals.delegate-refused"],
})

export const answersOperations = [
  approvalRequestsApprove,
  approvalRequestsDeny,
  approvalRequestsAbstain,
  approvalRequestsAsk,
  approvalRequestsAnswer,
  approvalRequestsDelegate,
] as const
