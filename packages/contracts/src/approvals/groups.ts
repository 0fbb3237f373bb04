import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { approvalLimits } from "./approval-limits.ts"

export const memberRule = z
  .strictObject({
    principal: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .describe("A user, a service account or an API key, by id: answers after login"),
    name: z.string().min(1).max(128).optional().describe("How the member is called in messages"),
    mail: z.email().max(254).optional().describe("Where mail for the member goes"),
    channel: resourceName.optional().describe("A notification channel that reaches the member"),
    weight: z.int().min(1).max(approvalLimits.weightMax).default(1),
    veto: z.boolean().default(false).describe("Whether the member's denial ends the request, where `veto` is marked"),
  })
  .refine(
    ({ principal, mail, channel }) => principal !== undefined || mail !== undefined || channel !== undefined,
    "a member has a principal, a mail address or a channel",
  )

/** What a person writes of an approval group. */
export const approvalGroupFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  members: z.array(memberRule).min(1).max(approvalLimits.membersMax),
}

export const approvalGroup = z
  .object({
    id: z.string(),
    ...approvalGroupFields,
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("Who answers at a level. Its members are pinned to a request when the level opens")

export const approvalGroupsApply = defineOperation({
  name: "approval-groups.apply",
  service: "approvals",
  summary: "Create or change an approval group",
  description: "Refused where it would leave a template in use that nobody could satisfy any more.",
  method: "PUT",
  path: "/v1/approval-groups/{name}",
  effect: "change",
  permission: "approvals.write",
  input: z.strictObject(approvalGroupFields),
  output: approvalGroup.extend({ changed: z.boolean() }),
  errors: ["approvals.unreachable", "approvals.invalid-group", "approvals.too-many"],
})

export const approvalGroupsList = defineOperation({
  name: "approval-groups.list",
  service: "approvals",
  summary: "List approval groups",
  method: "GET",
  path: "/v1/approval-groups",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(approvalGroup),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "description", "version", "changedBy", "changedAt"] },
})

export const approvalGroupsGet = defineOperation({
  name: "approval-groups.get",
  service: "approvals",
  summary: "Show an approval group",
  method: "GET",
  path: "/v1/approval-groups/{name}",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ name: resourceName }),
  output: approvalGroup,
  errors: ["approvals.group-not-found"],
})

export const approvalGroupsRemove = defineOperation({
  name: "approval-groups.remove",
  service: "approvals",
  summary: "Remove an approval group that no template and no association names",
  method: "DELETE",
  path: "/v1/approval-groups/{name}",
  effect: "change",
  permission: "approvals.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["approvals.group-not-found", "approvals.group-in-use"],
})

export const approvalGroupsOperations = [
  approvalGroupsApply,
  approvalGroupsList,
  approvalGroupsGet,
  approvalGroupsRemove,
] as const
