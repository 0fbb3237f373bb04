import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { approvalLimits } from "./approval-limits.ts"

const attribute = z.string().min(1).max(approvalLimits.attributeLengthMax)

/** The order of the members is the order of specificity, the most specific first. */
export const associationSelector = z
  .strictObject({
    request: attribute.optional().describe("One request, by its id or its key"),
    product: attribute.optional(),
    portfolio: attribute.optional(),
    project: attribute.optional(),
    action: attribute.optional(),
    topic: attribute.optional().describe("A message's topic"),
    workflow: attribute.optional(),
    type: attribute.optional().describe("A request's type; `operation` for calls of this installation"),
    operation: z
      .string()
      .regex(
        /^(?:\*|[a-z]+(?:-[a-z]+)*\.(?:\*|[a-z]+(?:-[a-z]+)*)|ext\.[a-zA-Z0-9_.-]{1,180}\*?)$/,
        "write executions.create, executions.* or *",
      )
      .optional()
      .describe("An operation by name, executions.*, or *"),
  })
  .refine((selector) => Object.values(selector).some((each) => each !== undefined), "give at least one field")

/** What a person writes of an association. */
export const associationFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  template: resourceName,
  groups: z
    .record(resourceName, resourceName)
    .refine(
      (groups) => Object.keys(groups).length <= approvalLimits.groupOverridesMax,
      `at most ${approvalLimits.groupOverridesMax} levels`,
    )
    .default({})
    .describe("By level name: the group that answers there instead of the template's"),
  selector: associationSelector,
  bind: z
    .enum(["targets", "query"])
    .default("targets")
    .describe("What is approved of a run: the resolved targets, or whatever the query finds later"),
}

export const association = z
  .object({
    id: z.string(),
    ...associationFields,
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("Which requests, and which calls, need which template. The most specific wins; there are no ties")

export const associationsApply = defineOperation({
  name: "associations.apply",
  service: "approvals",
  summary: "Create or change an association: which requests and calls need which template",
  description: "Two that could match one request equally well are refused when the second is made.",
  method: "PUT",
  path: "/v1/associations/{name}",
  effect: "change",
  permission: "approvals.write",
  input: z.strictObject(associationFields),
  output: association.extend({ changed: z.boolean() }),
  errors: [
    "approvals.template-not-found",
    "approvals.group-not-found",
    "approvals.association-tie",
    "approvals.unreachable",
    "approvals.invalid-association",
    "approvals.too-many",
  ],
})

export const associationsList = defineOperation({
  name: "associations.list",
  service: "approvals",
  summary: "List associations",
  method: "GET",
  path: "/v1/associations",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ ...pageInput, template: resourceName.optional() }),
  output: pageOf(association),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "template", "selector", "bind", "changedBy", "changedAt"] },
})

export const associationsGet = defineOperation({
  name: "associations.get",
  service: "approvals",
  summary: "Show an association",
  method: "GET",
  path: "/v1/associations/{name}",
  effect: "read",
  permission: "approvals.read",
  input: z.strictObject({ name: resourceName }),
  output: association,
  errors: ["approvals.association-not-found"],
})

export const associationsRemove = defineOperation({
  name: "associations.remove",
  service: "approvals",
  summary: "Remove an association",
  description: "Requests that it matched keep their template.",
  method: "DELETE",
  path: "/v1/associations/{name}",
  effect: "change",
  permission: "approvals.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["approvals.association-not-found"],
})

export const associationsOperations = [
  associationsApply,
  associationsList,
  associationsGet,
  associationsRemove,
] as const
