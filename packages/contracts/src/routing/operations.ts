import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, pageInput, pageOf } from "../schemas.ts"
import { changeFields, mapDocument, mapFields, mergePolicies, routeFields } from "./map-document.ts"

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
    merge: z.enum(mergePolicies).optional(),
    rules: z.string().optional().describe("Absent where it is the built-in rules service"),
    changedAt: instant.optional().describe("Absent where the row is the built-in one"),
    changedBy: z.string().optional(),
  })
  .describe("A row of the routing map")

const version = z.int().describe("The map's version")
const versionInput = z.coerce.number().int().min(0)

const difference = z
  .object({
    place: z.string().describe("`destinations.NAME`, `services.NAME` or `routes.OPERATION`"),
    before: z.string().optional().describe("Absent where it is new"),
    after: z.string().optional().describe("Absent where it is gone"),
  })
  .describe("One entry that differs")

const changeErrors = ["routing.invalid-map", "routing.protected-route", "routing.map-changed"] as const

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
  table: { rows: "items", columns: ["operation", "services", "merge", "rules", "changedBy", "changedAt"] },
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
  input: z.strictObject({ operation: z.string().max(128), ...routeFields, ...changeFields }),
  output: route.extend({ version }),
  errors: ["routing.unknown-operation", ...changeErrors],
})

export const routesApply = defineOperation({
  name: "routes.apply",
  service: "routing",
  summary: "Replace the routing map by a document",
  description: [
    "The document is checked as a whole, and takes the place of the map in one transaction: what it leaves out goes",
    "where the program itself sends it. With `dryRun` nothing changes and the reply says what would.",
  ].join(" "),
  method: "POST",
  path: "/v1/routes:apply",
  effect: "change",
  permission: "routes.write",
  input: z.strictObject({ ...mapFields, ...changeFields, dryRun: z.boolean().default(false) }),
  output: z.object({ changed: z.boolean(), version, differences: z.array(difference) }),
  errors: [...changeErrors],
  table: { rows: "differences", columns: ["place", "before", "after"] },
})

export const routesReset = defineOperation({
  name: "routes.reset",
  service: "routing",
  summary: "Put the routing map back to the built-in one",
  method: "POST",
  path: "/v1/routes:reset",
  effect: "change",
  permission: "routes.write",
  input: z.strictObject({ ...changeFields }),
  output: z.object({ changed: z.boolean(), version, differences: z.array(difference) }),
  errors: ["routing.map-changed"],
  table: { rows: "differences", columns: ["place", "before", "after"] },
})

export const routesRollback = defineOperation({
  name: "routes.rollback",
  service: "routing",
  summary: "Put the routing map back to an earlier version",
  description:
    "The earlier map becomes a new version, after the same checks as any other change. Entries for operations that are no more are left out and named.",
  method: "POST",
  path: "/v1/routes:rollback",
  effect: "change",
  permission: "routes.write",
  input: z.strictObject({ to: versionInput.describe("The version to go back to"), ...changeFields }),
  output: z.object({
    changed: z.boolean(),
    version,
    differences: z.array(difference),
    leftOut: z.array(z.string()).describe("Entries of that version which this program doesn't know any more"),
  }),
  errors: ["routing.version-not-found", ...changeErrors],
  table: { rows: "differences", columns: ["place", "before", "after"] },
})

export const routesVersions = defineOperation({
  name: "routes.versions",
  service: "routing",
  summary: "List the versions of the routing map: who changed it, when and why",
  method: "GET",
  path: "/v1/routes:versions",
  effect: "read",
  permission: "routes.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(
    z.object({
      version,
      changedAt: instant,
      changedBy: z.string(),
      operation: z.string().describe("What made it: routes.put, routes.apply, routes.rollback, routes.reset"),
      comment: z.string().optional(),
      requestId: z.string().optional().describe("The request that made it: `signalbox why` tells its story"),
    }),
  ),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["version", "changedAt", "changedBy", "operation", "comment"] },
})

export const routesExport = defineOperation({
  name: "routes.export",
  service: "routing",
  summary: "Show a version of the routing map as a document",
  method: "GET",
  path: "/v1/routes:export",
  effect: "read",
  permission: "routes.read",
  input: z.strictObject({ version: versionInput.optional().describe("The newest where left out") }),
  output: z.object({ version, document: mapDocument }),
  errors: ["routing.version-not-found"],
})

export const routesDiff = defineOperation({
  name: "routes.diff",
  service: "routing",
  summary: "Show what differs between two versions of the routing map",
  description: "`signalbox diff -f` shows what a file would change.",
  method: "GET",
  path: "/v1/routes:diff",
  effect: "read",
  permission: "routes.read",
  input: z.strictObject({
    from: versionInput.describe("The earlier version"),
    to: versionInput.optional().describe("The later version; the newest where left out"),
  }),
  output: z.object({ from: version, to: version, differences: z.array(difference) }),
  errors: ["routing.version-not-found"],
  table: { rows: "differences", columns: ["place", "before", "after"] },
})

export const routingOperations = [
  operationsList,
  routesList,
  routesPut,
  routesApply,
  routesReset,
  routesRollback,
  routesVersions,
  routesExport,
  routesDiff,
] as const
