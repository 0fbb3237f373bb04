import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, pageInput, pageOf } from "../schemas.ts"

const operationInfo = z.object({
  name: z.string(),
  service: z.string(),
  summary: z.string(),
  method: z.string(),
  path: z.string(),
  effect: z.string(),
  permission: z.string(),
})

const route = z
  .object({
    operation: z.string(),
    services: z.array(z.string()).describe("The sub-services that the operation is routed to"),
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("A row of the routing map")

export const operationsList = defineOperation({
  name: "operations.list",
  nodeScope: "none",
  service: "routing",
  summary: "List the operations that this installation offers",
  method: "GET",
  path: "/v1/operations",
  effect: "read",
  permission: "operations.read",
  input: z.strictObject({}),
  output: z.object({ items: z.array(operationInfo) }),
  errors: [],
  table: { rows: "items", columns: ["name", "method", "path", "permission", "summary"] },
})

export const routesList = defineOperation({
  name: "routes.list",
  service: "routing",
  summary: "List the rows of the routing map",
  method: "GET",
  path: "/v1/routes",
  effect: "read",
  permission: "routes.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(route).extend({
    version: z.int().describe("The version that this server has loaded"),
    refused: z
      .object({ version: z.int(), message: z.string() })
      .optional()
      .describe("A newer version that this server could not load"),
  }),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["operation", "services", "changedBy", "changedAt"] },
})

export const routesPut = defineOperation({
  name: "routes.put",
  service: "routing",
  summary: "Set the sub-services of an operation in the routing map",
  description: "Every server picks the change up within a second; calls in flight finish on the map they began with.",
  method: "PUT",
  path: "/v1/routes/{operation}",
  effect: "change",
  permission: "routes.write",
  input: z.strictObject({ operation: z.string().max(128), services: z.array(z.string().max(64)).max(16) }),
  output: route,
  errors: ["routing.unknown-operation", "routing.invalid-map", "routing.protected-route"],
})

export const routesReset = defineOperation({
  name: "routes.reset",
  service: "routing",
  summary: "Put the routing map back to the built-in one",
  method: "POST",
  path: "/v1/routes:reset",
  effect: "change",
  permission: "routes.write",
  input: z.strictObject({}),
  output: z.object({ rows: z.int() }),
  errors: [],
})

export const routingOperations = [operationsList, routesList, routesPut, routesReset] as const
