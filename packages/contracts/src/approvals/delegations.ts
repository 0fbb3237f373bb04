import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, instantInput, pageInput, pageOf } from "../schemas.ts"
import { note, person } from "./request-shapes.ts"

export const delegation = z
  .object({
    id: z.string(),
    member: person.describe("Whose seats these are"),
    to: person.optional().describe("Who answers meanwhile; absent of an absence"),
    from: instant,
    until: instant,
    note: note.optional(),
    version: z.int(),
    createdAt: instant,
    createdBy: z.string(),
    endedAt: instant.optional(),
  })
  .describe("A time in which somebody else answers for a member, or nobody does")

export const delegationsCreate = defineOperation({
  name: "delegations.create",
  service: "approvals",
  summary: "Say who answers in the caller's place for a time, or that nobody does",
  description:
    "Holds for levels that open in that time. The seat stays the member's, who may still answer. Administrators may do so for others.",
  method: "POST",
  path: "/v1/delegations",
  effect: "change",
  permission: "approvals.answer",
  input: z.strictObject({
    member: z.string().min(1).max(300).optional().describe("For whom, by key; the caller where left out"),
    to: z.string().min(1).max(128).optional().describe("A principal who answers; left out, the member is absent"),
    from: instantInput.optional().describe("Now where left out"),
    until: instantInput,
    note: note.optional(),
  }),
  output: delegation,
  errors: ["approvals.delegate-refused", "approvals.invalid-delegation", "approvals.too-many"],
})

export const delegationsList = defineOperation({
  name: "delegations.list",
  service: "approvals",
  summary: "List delegations and absences that have not ended",
  method: "GET",
  path: "/v1/delegations",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ ...pageInput, mine: z.enum(["true", "false"]).optional() }),
  output: pageOf(delegation),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "member.key", "to.key", "from", "until", "note"] },
})

export const delegationsRemove = defineOperation({
  name: "delegations.remove",
  service: "approvals",
  summary: "End a delegation or an absence",
  method: "DELETE",
  path: "/v1/delegations/{delegation}",
  effect: "change",
  permission: "approvals.answer",
  input: z.strictObject({ delegation: z.string().max(64) }),
  output: delegation,
  errors: ["approvals.delegation-not-found"],
})

export const delegationsOperations = [delegationsCreate, delegationsList, delegationsRemove] as const
