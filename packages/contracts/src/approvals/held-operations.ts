import { z } from "zod"
import { roles, type RoleName } from "../identity/roles.ts"
import { defineOperation } from "../operation.ts"
import { instant, resourceName } from "../schemas.ts"
import { approvalLimits } from "./approval-limits.ts"
import { askingRule, digest, requestId, title } from "./request-shapes.ts"

/**
 * `waiting` for its approval; `approved`, and waits for its time or its window; `done`; `failed`: approved, and refused
 * when it ran; `outcome-unknown`: sent to a service outside, and nobody knows what came of it; `discarded`: not approved. The
 * last four are terminal.
 */
export const heldStates = ["waiting", "approved", "done", "failed", "outcome-unknown", "discarded"] as const

const heldOperationFields = {
  request: z.string().describe("The approval request that it waits for"),
  requestUrl: z.string(),
  operation: z.string(),
  state: z.enum(heldStates),
  principal: z.string().describe("In whose name it runs, with the authority that this principal has then"),
  digest,
  revision: z.int(),
  notBefore: instant.optional().describe("It runs no earlier"),
  window: resourceName.optional().describe("It runs while this maintenance window is open"),
  ranAt: instant.optional(),
  result: z
    .unknown()
    .optional()
    .describe(
      "What the operation replied, and what a service outside refused it with; members that are shown once are left out",
    ),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
}

export const heldOperation = z
  .object(heldOperationFields)
  .describe("A changing call that a gate holds until its request is approved")

export const heldOperationsKeep = defineOperation({
  name: "held-operations.keep",
  service: "approvals",
  summary: "Keep a call until it is approved; for the router's gate stage",
  method: "POST",
  path: "/v1/held-operations",
  effect: "change",
  permission: "approvals.hold",
  gateable: false,
  input: z.strictObject({
    operation: z.string().max(200),
    title,
    attributes: z.record(z.string(), z.string()),
    content: z.record(z.string(), z.unknown()),
    sealed: z.string().describe("The input, encrypted"),
    principal: z.string().max(200),
    author: z.string().max(200).optional(),
    nodes: z.string().max(1000).optional().describe("The tag query that the caller is narrowed to"),
    roles: z.array(z.enum(Object.keys(roles) as [RoleName, ...RoleName[]])).max(20),
    key: z.string().max(128).describe("The caller's Idempotency-Key"),
    bodyHash: z.string().max(64),
    cause: z.string().max(64),
    causedBy: z.string().max(64),
    depth: z.int().min(0),
    notBefore: z.number().optional().describe("Milliseconds"),
    window: resourceName.optional(),
    freezes: z
      .array(z.strictObject({ calendar: resourceName, template: resourceName.nullable() }))
      .max(100)
      .default([])
      .describe("Closed calendars, and whose approval each of them wants besides; null where it is skipped"),
    templates: z.array(resourceName).max(approvalLimits.ruleTemplatesMax).default([]).describe("Wanted by rules"),
    rules: z.array(askingRule).max(approvalLimits.askingRulesMax).default([]).describe("That have a part in the call"),
    breakGlass: z.string().max(approvalLimits.commentLengthMax).optional(),
  }),
  output: z.object({ request: z.string(), requestUrl: z.string() }),
  errors: ["approvals.content-too-large", "approvals.unreachable", "approvals.too-many"],
})

export const heldOperationsGet = defineOperation({
  name: "held-operations.get",
  service: "approvals",
  summary: "Show a call that waits for approval, or what came of it",
  description: "Its caller may, and whoever may read approval requests.",
  method: "GET",
  path: "/v1/held-operations/{request}",
  effect: "read",
  permission: "auth.read",
  input: z.strictObject({ request: requestId }),
  output: heldOperation,
  errors: ["approvals.request-not-found"],
})

export const heldOperationsWait = defineOperation({
  name: "held-operations.wait",
  service: "approvals",
  summary: "Wait until a call that needs approval has run, or will not",
  description: "Answers when that happens or when the time is over; ask again then.",
  method: "GET",
  path: "/v1/held-operations/{request}:wait",
  effect: "read",
  permission: "auth.read",
  input: z.strictObject({
    request: requestId,
    seconds: z.coerce.number().int().min(1).max(approvalLimits.waitSecondsMax).default(30),
  }),
  output: heldOperation,
  errors: ["approvals.request-not-found", "approvals.too-many-waiting"],
})

export const heldOperationsEdit = defineOperation({
  name: "held-operations.edit",
  service: "approvals",
  summary: "Change the input of a call that waits for approval; votes for what it was are void",
  description: "Planned and checked like a new call. Only its caller may. A template may say which changes keep votes.",
  method: "POST",
  path: "/v1/held-operations/{request}:edit",
  effect: "change",
  permission: "auth.read",
  gateable: false,
  input: z.strictObject({
    request: requestId,
    revision: z.int().min(1).describe("The revision that was changed: nobody's edit gets lost"),
    newInput: z.record(z.string(), z.unknown()).describe("The operation's whole input"),
  }),
  output: heldOperation,
  errors: [
    "approvals.request-not-found",
    "approvals.request-ended",
    "approvals.not-the-requester",
    "approvals.edit-conflict",
    "approvals.content-too-large",
    "approvals.unreachable",
  ],
})

export const heldOperationsWithdraw = defineOperation({
  name: "held-operations.withdraw",
  service: "approvals",
  summary: "Withdraw a call whose rule is gone; for actions",
  description: "Nobody is asked any more, and where it was approved already it does not run. One that runs goes on.",
  method: "POST",
  path: "/v1/held-operations/{request}:withdraw",
  effect: "change",
  permission: "approvals.hold",
  gateable: false,
  input: z.strictObject({ request: requestId, reason: z.string().min(1).max(approvalLimits.commentLengthMax) }),
  output: z.object({ request: z.string(), withdrawn: z.boolean() }),
  errors: ["approvals.request-not-found"],
})

export const heldOperationsOperations = [
  heldOperationsKeep,
  heldOperationsGet,
  heldOperationsWait,
  heldOperationsEdit,
  heldOperationsWithdraw,
] as const
