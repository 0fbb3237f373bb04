import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { parameterDeclaration, parameterName } from "../workflows/document.ts"
import { catalogLimits } from "./catalog-limits.ts"

const output = z.strictObject({
  description: z.string().max(limits.noteLengthMax).optional(),
  secret: z.boolean().default(false).describe("Kept encrypted, and shown by `instances.reveal` alone"),
})

/** What a person writes of a product. */
export const productFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  parameters: z
    .record(parameterName, parameterDeclaration)
    .refine((all) => Object.keys(all).length <= limits.parametersMax, `at most ${limits.parametersMax} parameters`)
    .default({})
    .describe("What a launch may or must say, declared as in workflows; no place for secrets"),
  regions: z
    .array(resourceName)
    .max(catalogLimits.regionsMax)
    .default([])
    .describe("Where it can be launched; none: it has no regions"),
  outputs: z
    .record(parameterName, output)
    .refine((all) => Object.keys(all).length <= catalogLimits.outputsMax, `at most ${catalogLimits.outputsMax} outputs`)
    .default({})
    .describe("What its provisioner tells of an instance"),
  provisioner: z.string().min(1).max(128).describe("The service account that makes, changes and ends instances"),
}

export const product = z
  .object({
    id: z.string(),
    ...productFields,
    provisionerId: z.string().describe("The service account's id"),
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("What can be launched. Each change makes a new version; a version never changes")

export const productsApply = defineOperation({
  name: "products.apply",
  service: "catalog",
  summary: "Create a product, or give it a new version",
  description: "Versions never change: instances go on with theirs, and new launches take the newest one.",
  method: "PUT",
  path: "/v1/products/{name}",
  effect: "change",
  permission: "catalog.write",
  input: z.strictObject(productFields),
  output: product.extend({ changed: z.boolean() }),
  errors: ["catalog.invalid-product", "catalog.too-many"],
  gateAttributes: { product: "name" },
})

export const productsList = defineOperation({
  name: "products.list",
  service: "catalog",
  summary: "List products",
  method: "GET",
  path: "/v1/products",
  effect: "read",
  permission: "catalog.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(product),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "version", "provisioner", "description", "changedBy", "changedAt"] },
})

export const productsGet = defineOperation({
  name: "products.get",
  service: "catalog",
  summary: "Show a product, as it is or in an earlier version",
  method: "GET",
  path: "/v1/products/{name}",
  effect: "read",
  permission: "catalog.read",
  input: z.strictObject({ name: resourceName, version: z.coerce.number().int().min(1).optional() }),
  output: product,
  errors: ["catalog.product-not-found"],
})

export const productsRemove = defineOperation({
  name: "products.remove",
  service: "catalog",
  summary: "Remove a product that no portfolio has and of which nothing lives",
  method: "DELETE",
  path: "/v1/products/{name}",
  effect: "change",
  permission: "catalog.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["catalog.product-not-found", "catalog.product-in-use"],
  gateAttributes: { product: "name" },
})

export const productsOperations = [productsApply, productsList, productsGet, productsRemove] as const
