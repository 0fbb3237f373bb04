import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { duration, instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { approvalLimits } from "./approval-limits.ts"

const percent = z.number().gt(0).max(100)
const votes = z.int().min(1).max(approvalLimits.votesNeededMax)
const expression = z.string().min(1).max(approvalLimits.expressionLengthMax)

export const votingStrategy = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("first-response") }),
    z.strictObject({ kind: z.literal("any") }),
    z.strictObject({ kind: z.literal("all") }),
    z.strictObject({ kind: z.literal("quorum"), count: votes }),
    z.strictObject({ kind: z.literal("percentage"), percent }),
    z.strictObject({ kind: z.literal("majority") }),
  ])
  .describe("What approves a level; weights count in quorum, percentage and majority")

export const levelRule = z.strictObject({
  name: resourceName,
  group: resourceName.describe("The approval group whose members answer"),
  strategy: votingStrategy,
  reject: z
    .union([z.strictObject({ count: votes }), z.strictObject({ percent })])
    .optional()
    .describe("What denies the level; left out, it is denied when approval can't be reached any more"),
  veto: z.enum(["none", "marked", "any"]).default("none").describe("Whose denial alone ends the request"),
  selfApproval: z.boolean().default(false).describe("Whether the requester may answer"),
  sameTeam: z
    .enum(["allowed", "barred"])
    .default("allowed")
    .describe("Whether those may answer who share a team with the requester"),
  abstention: z.boolean().default(true).describe("Whether members may abstain"),
  signedVotes: z
    .enum(["accepted", "required"])
    .default("accepted")
    .describe("Whether votes count only with a signature by the member's own key"),
  preNotice: z.boolean().optional().describe("Tell the members when the request begins; from level 2 on by default"),
  reminders: z
    .strictObject({ every: duration, max: z.int().min(1).max(approvalLimits.remindersMax).default(3) })
    .optional(),
  escalation: z
    .strictObject({
      after: duration,
      group: resourceName.optional().describe("Whose members join the level"),
      jump: z.boolean().optional().describe("Go on to the next level instead of waiting"),
    })
    .optional(),
  expiresAfter: duration.default("7d").describe("30 days at most"),
})

/** What a person writes of a template. */
export const templateFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  levels: z.array(levelRule).min(1).max(approvalLimits.levelsMax).describe("One after the other"),
  approveWhen: expression.optional().describe("CEL over `request`, `calendar` and `now`: true approves at once"),
  denyWhen: expression.optional().describe("Likewise: true denies at once, before `approveWhen` is asked"),
  onExpiry: z.enum(["deny", "approve"]).default("deny").describe("What a level that nobody decided comes to"),
  keepVotesWhen: expression
    .optional()
    .describe("CEL over the contents `before` and `after` an edit: true keeps the votes"),
  linkLogin: z.boolean().default(false).describe("Whether those who answer by a link have to log in too"),
}

const templateInput = z.strictObject(templateFields)

export const approvalTemplate = z
  .object({
    id: z.string(),
    ...templateFields,
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("Who has to say yes, in which order. Requests under way keep the version that they began with")

export const templatesApply = defineOperation({
  name: "templates.apply",
  service: "approvals",
  summary: "Create or change an approval template",
  description: "One that its groups can never satisfy is refused. Requests under way keep their version.",
  method: "PUT",
  path: "/v1/approval-templates/{name}",
  effect: "change",
  permission: "approvals.write",
  input: templateInput,
  output: approvalTemplate.extend({
    changed: z.boolean(),
    warnings: z.array(z.object({ path: z.string(), message: z.string() })).describe("Worth knowing all the same"),
  }),
  errors: ["approvals.group-not-found", "approvals.unreachable", "approvals.too-many", "expressions.invalid"],
})

export const templatesList = defineOperation({
  name: "templates.list",
  service: "approvals",
  summary: "List approval templates",
  method: "GET",
  path: "/v1/approval-templates",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(approvalTemplate),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "version", "onExpiry", "changedBy", "changedAt"] },
})

export const templatesGet = defineOperation({
  name: "templates.get",
  service: "approvals",
  summary: "Show an approval template, as it is or as it was",
  method: "GET",
  path: "/v1/approval-templates/{name}",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ name: resourceName, version: z.coerce.number().int().min(1).optional() }),
  output: approvalTemplate,
  errors: ["approvals.template-not-found"],
})

export const templatesVersions = defineOperation({
  name: "templates.versions",
  service: "approvals",
  summary: "List the versions of an approval template, the newest first",
  method: "GET",
  path: "/v1/approval-templates/{name}/versions",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ name: resourceName, ...pageInput }),
  output: pageOf(z.object({ version: z.int(), changedAt: instant, changedBy: z.string() })),
  errors: ["approvals.template-not-found", "request.invalid-cursor"],
  table: { rows: "items", columns: ["version", "changedBy", "changedAt"] },
})

export const templatesPreview = defineOperation({
  name: "templates.preview",
  service: "approvals",
  summary: "Show whom an approval template would ask now",
  description: "Refuses what could never be approved: a level that nobody may answer, a group that isn't there.",
  method: "POST",
  path: "/v1/approval-templates/{name}:preview",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({
    name: resourceName,
    groups: z.record(resourceName, resourceName).default({}).describe("By level name: another group"),
    requester: z.string().min(1).max(128).optional().describe("A principal: with those who may not answer it barred"),
  }),
  output: z.object({
    name: z.string(),
    version: z.int(),
    levels: z.array(
      z.object({
        name: z.string(),
        group: z.string(),
        strategy: z.string(),
        members: z.array(z.object({ name: z.string(), barred: z.string().optional() })),
      }),
    ),
  }),
  errors: ["approvals.template-not-found", "approvals.group-not-found", "approvals.unreachable"],
  table: { rows: "levels", columns: ["name", "group", "strategy", "members"] },
})

export const templatesRemove = defineOperation({
  name: "templates.remove",
  service: "approvals",
  summary: "Remove an approval template that no association uses",
  method: "DELETE",
  path: "/v1/approval-templates/{name}",
  effect: "change",
  permission: "approvals.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["approvals.template-not-found", "approvals.template-in-use"],
})

export const templatesOperations = [
  templatesApply,
  templatesList,
  templatesGet,
  templatesVersions,
  templatesPreview,
  templatesRemove,
] as const
