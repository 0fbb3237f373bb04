import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { duration, instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { documentLimits } from "../workflows/document.ts"
import { catalogLimits } from "./catalog-limits.ts"

/**
 * `requested` waits for its provisioner; `provisioning`, `updating` and `ending` are being worked on; `failed` and
 * `ended` are terminal, and nothing of the instance is left then.
 */
export const instanceStates = [
  "requested",
  "provisioning",
  "available",
  "updating",
  "update-failed",
  "ending",
  "end-failed",
  "failed",
  "ended",
] as const

export const instanceId = z.string().regex(/^ins_[0-9a-z]{26}$/, "write ins_ and 26 characters")
const value = z.union([z.string().max(documentLimits.valueLengthMax), z.number(), z.boolean()])
export const instanceParameters = z
  .record(z.string().max(63), value)
  .refine((all) => Object.keys(all).length <= limits.parametersMax, `at most ${limits.parametersMax} parameters`)

export const instance = z
  .object({
    id: z.string(),
    name: z.string().optional(),
    state: z.enum(instanceStates),
    portfolio: z.string(),
    product: z.string(),
    productVersion: z.int(),
    region: z.string().optional(),
    parameters: z.record(z.string(), value),
    owner: z.string().describe("Who launched it"),
    outputs: z.record(z.string(), z.string()),
    secretOutputs: z.array(z.string()).describe("Names of those that `instances.reveal` shows"),
    reason: z.string().optional().describe("Why it failed, or ends"),
    progress: z.object({ percent: z.number().optional(), message: z.string().optional() }).optional(),
    order: z.string().optional().describe("The provisioning order under way"),
    expiresAt: instant.optional().describe("When it ends by itself"),
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    endedAt: instant.optional(),
  })
  .describe("A launched product")

export const catalogLaunch = defineOperation({
  name: "catalog.launch",
  service: "catalog",
  summary: "Launch a product of a portfolio",
  description: "Its provisioner makes the instance; it is `available` when that is done.",
  method: "POST",
  path: "/v1/instances",
  effect: "change",
  permission: "catalog.launch",
  input: z.strictObject({
    portfolio: resourceName,
    product: resourceName,
    name: resourceName.optional().describe("What to call it; need not be unique"),
    version: z.int().min(1).optional().describe("The product's; the newest where left out"),
    region: resourceName.optional(),
    parameters: instanceParameters.default({}),
    lifetime: duration.optional().describe("It ends by itself after so long"),
  }),
  output: instance,
  errors: [
    "catalog.portfolio-not-found",
    "catalog.product-not-found",
    "catalog.source-gone",
    "catalog.not-allowed",
    "catalog.constraint-violated",
    "catalog.quota-exceeded",
  ],
  gateAttributes: { product: "product", portfolio: "portfolio" },
})

export const catalogUpdate = defineOperation({
  name: "catalog.update",
  service: "catalog",
  summary: "Change the parameters of an instance, or take it to another version of its product",
  description: "Associations select it by the instance's product and portfolio.",
  method: "POST",
  path: "/v1/instances/{instance}:update",
  effect: "change",
  permission: "catalog.launch",
  input: z.strictObject({
    instance: instanceId,
    version: z.int().min(1).optional().describe("The product's; the instance's present one where left out"),
    parameters: instanceParameters.default({}).describe("Those that change"),
  }),
  output: instance,
  errors: [
    "catalog.instance-not-found",
    "catalog.instance-busy",
    "catalog.instance-ended",
    "catalog.not-the-owner",
    "catalog.product-not-found",
    "catalog.portfolio-not-found",
    "catalog.source-gone",
    "catalog.not-allowed",
    "catalog.constraint-violated",
  ],
})

export const catalogEnd = defineOperation({
  name: "catalog.end",
  service: "catalog",
  summary: "End an instance; its provisioner removes what it is made of",
  description:
    "One that could not be ended is tried again. Whatever is being done to it is given up for this. Associations " +
    "select it by the instance's product and portfolio.",
  method: "POST",
  path: "/v1/instances/{instance}:end",
  effect: "change",
  permission: "catalog.launch",
  input: z.strictObject({
    instance: instanceId,
    reason: z.string().min(1).max(catalogLimits.reasonLengthMax).optional(),
  }),
  output: instance,
  errors: ["catalog.instance-not-found", "catalog.instance-busy", "catalog.instance-ended", "catalog.not-the-owner"],
})

export const instancesList = defineOperation({
  name: "instances.list",
  service: "catalog",
  summary: "List launched products, the newest first",
  method: "GET",
  path: "/v1/instances",
  effect: "read",
  permission: "catalog.read",
  input: z.strictObject({
    ...pageInput,
    state: z.enum(instanceStates).optional(),
    portfolio: resourceName.optional(),
    product: resourceName.optional(),
    mine: z.enum(["true", "false"]).optional().describe("Only those that the caller launched"),
  }),
  output: pageOf(instance),
  errors: ["request.invalid-cursor"],
  table: {
    rows: "items",
    columns: ["id", "name", "state", "product", "portfolio", "owner", "expiresAt", "createdAt"],
  },
})

export const instancesGet = defineOperation({
  name: "instances.get",
  service: "catalog",
  summary: "Show a launched product",
  method: "GET",
  path: "/v1/instances/{instance}",
  effect: "read",
  permission: "catalog.read",
  input: z.strictObject({ instance: instanceId }),
  output: instance,
  errors: ["catalog.instance-not-found"],
})

export const instancesReveal = defineOperation({
  name: "instances.reveal",
  service: "catalog",
  summary: "Show the secret outputs of an instance; this is on record",
  description: "Its owner may, and whoever controls others' instances.",
  method: "POST",
  path: "/v1/instances/{instance}:reveal",
  effect: "change",
  permission: "catalog.launch",
  input: z.strictObject({ instance: instanceId }),
  output: z.object({ instance: z.string(), outputs: z.record(z.string(), z.string()) }),
  secretOutput: ["outputs"],
  errors: ["catalog.instance-not-found", "catalog.not-the-owner"],
})

export const instancesOperations = [
  catalogLaunch,
  catalogUpdate,
  catalogEnd,
  instancesList,
  instancesGet,
  instancesReveal,
] as const
