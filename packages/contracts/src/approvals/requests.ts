import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instantInput, pageInput, pageOf, resourceName } from "../schemas.ts"
import { approvalLimits } from "./approval-limits.ts"
import {
  approvalRequest,
  approvalRequestDetails,
  comment,
  requestAttributes,
  requestId,
  requestStates,
  title,
} from "./request-shapes.ts"
import { approvalBundle } from "./signed-votes.ts"

export const approvalRequestsSubmit = defineOperation({
  name: "approval-requests.submit",
  service: "approvals",
  summary: "Ask for an approval",
  description:
    "The most specific association decides by which template. The Idempotency-Key makes it one request. The result comes by the callback channel, by `approval-requests.wait` or as an event.",
  method: "POST",
  path: "/v1/approval-requests",
  effect: "change",
  permission: "approvals.submit",
  gateable: false,
  input: z.strictObject({
    type: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,62}$/, "use a-z, 0-9 and dash, beginning with a letter")
      .refine((type) => type !== "operation", "`operation` is the type of calls that this installation holds itself")
      .describe("What kind of thing is asked for: deployment, purchase, access"),
    title,
    attributes: requestAttributes.default({}),
    content: z.unknown().describe(`Any JSON, ${approvalLimits.contentBytesMax / 1024} KiB at most: what is approved`),
    requester: z
      .strictObject({
        principal: z.string().min(1).max(128).optional(),
        name: z.string().min(1).max(128).optional(),
        mail: z.email().max(254).optional(),
        teams: z.array(z.string().min(1).max(128)).max(50).optional(),
      })
      .refine(({ principal, mail }) => principal !== undefined || mail !== undefined, "give a principal or a mail")
      .optional()
      .describe("The person for whom the caller asks; the caller where left out. Neither may approve it"),
    unmatched: z
      .enum(["refuse", "wait", "approve"])
      .default("refuse")
      .describe("What becomes of it where no association matches"),
    callback: resourceName.optional().describe("A webhook channel that gets the result, signed"),
    notBefore: instantInput.optional().describe("When what was approved is to be done"),
  }),
  output: approvalRequest,
  errors: ["approvals.content-too-large", "approvals.callback-refused"],
})

export const approvalRequestsList = defineOperation({
  name: "approval-requests.list",
  service: "approvals",
  summary: "List approval requests, the newest first",
  method: "GET",
  path: "/v1/approval-requests",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({
    ...pageInput,
    state: z.enum(requestStates).optional(),
    mine: z.enum(["true", "false"]).optional().describe("Only those that wait for the caller's answer"),
    requester: z.string().min(1).max(300).optional().describe("By the requester's key: a principal's id, mailto:…"),
  }),
  output: pageOf(approvalRequest),
  errors: ["request.invalid-cursor"],
  table: {
    rows: "items",
    columns: ["id", "state", "type", "title", "requester.name", "template.name", "level.name", "expiresAt"],
  },
})

export const inboxLimits = { shownMax: 200 } as const

export const approvalRequestsInbox = defineOperation({
  name: "approval-requests.inbox",
  service: "approvals",
  summary: "Show what waits for the caller: answers to give, questions to answer, results of own requests",
  description: "Each list has the newest first, cut off at `limit`; `counts` say how many there are, up to 200.",
  method: "GET",
  path: "/v1/approval-requests:inbox",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({
    limit: z.coerce.number().int().min(1).max(inboxLimits.shownMax).default(20),
    since: instantInput.optional().describe("Also own requests that ended since then"),
  }),
  output: z.object({
    decide: z.array(approvalRequest).describe("The caller's answer is waited for"),
    questions: z.array(approvalRequest).describe("The caller asked for approval, and a member asks something"),
    ended: z.array(approvalRequest).describe("Own requests that have ended since the given time"),
    counts: z.object({ decide: z.int(), questions: z.int(), ended: z.int() }),
  }),
  errors: [],
})

export const approvalRequestsGet = defineOperation({
  name: "approval-requests.get",
  service: "approvals",
  summary: "Show an approval request with its content, its levels and its votes",
  method: "GET",
  path: "/v1/approval-requests/{request}",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ request: requestId }),
  output: approvalRequestDetails,
  errors: ["approvals.request-not-found"],
})

export const approvalRequestsExport = defineOperation({
  name: "approval-requests.export",
  service: "approvals",
  summary: "Export an approval with all that proves it",
  description:
    "The content, every vote with its signatures, and the result: `signalbox approvals verify` checks it anywhere, without a server.",
  method: "GET",
  path: "/v1/approval-requests/{request}/export",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ request: requestId }),
  output: approvalBundle,
  errors: ["approvals.request-not-found", "approvals.not-decided"],
})

export const approvalRequestsWait = defineOperation({
  name: "approval-requests.wait",
  service: "approvals",
  summary: "Wait until an approval request has ended, or has changed",
  description: "Answers with the request as it is when that happens or when the time is over; ask again then.",
  method: "GET",
  path: "/v1/approval-requests/{request}:wait",
  effect: "read",
  permission: "approvals.read",
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

export const approvalRequestsEdit = defineOperation({
  name: "approval-requests.edit",
  service: "approvals",
  summary: "Change what an approval request is about; its votes are void unless the template keeps them",
  method: "POST",
  path: "/v1/approval-requests/{request}:edit",
  effect: "change",
  permission: "approvals.submit",
  gateable: false,
  input: z.strictObject({
    request: requestId,
    revision: z.int().min(1).describe("The revision that was changed: nobody's edit gets lost"),
    title: title.optional(),
    content: z.unknown(),
    notBefore: instantInput.optional(),
  }),
  output: approvalRequest,
  errors: [
    "approvals.request-not-found",
    "approvals.request-ended",
    "approvals.not-the-requester",
    "approvals.edit-conflict",
    "approvals.content-too-large",
    "approvals.held-operation",
    "approvals.limit-reached",
  ],
})

export const approvalRequestsCancel = defineOperation({
  name: "approval-requests.cancel",
  service: "approvals",
  summary: "Withdraw an approval request; the requester and administrators may",
  method: "POST",
  path: "/v1/approval-requests/{request}:cancel",
  effect: "change",
  permission: "approvals.submit",
  gateable: false,
  input: z.strictObject({ request: requestId, comment: comment.optional() }),
  output: approvalRequest,
  errors: ["approvals.request-not-found", "approvals.request-ended", "approvals.not-the-requester"],
})

export const approvalRequestsMatch = defineOperation({
  name: "approval-requests.match",
  service: "approvals",
  summary: "Give a request that nothing matched a template",
  method: "POST",
  path: "/v1/approval-requests/{request}:match",
  effect: "change",
  permission: "approvals.write",
  input: z.strictObject({
    request: requestId,
    template: resourceName,
    groups: z
      .record(resourceName, resourceName)
      .default({})
      .describe("By level name: another group than the template's"),
  }),
  output: approvalRequest,
  errors: [
    "approvals.request-not-found",
    "approvals.request-ended",
    "approvals.already-matched",
    "approvals.template-not-found",
    "approvals.unreachable",
  ],
})

export const requestsOperations = [
  approvalRequestsSubmit,
  approvalRequestsList,
  approvalRequestsInbox,
  approvalRequestsGet,
  approvalRequestsExport,
  approvalRequestsWait,
  approvalRequestsEdit,
  approvalRequestsCancel,
  approvalRequestsMatch,
] as const
