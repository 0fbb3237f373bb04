import { z } from "zod"
import { grantableRoles } from "../identity/roles.ts"
import { defineOperation } from "../operation.ts"
import { duration, instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"

export const gatewayLimits = {
  servicesMax: 200,
  operationsMax: 1000,
  upstreamsMax: 16,
  documentBytesMax: 768 * 1024,
  /** A body that is read whole: because a gate, a rule or the operation's `check` looks into it. */
  bodyBytesMax: 1024 * 1024,
  /** A body that is kept while its call waits for an approval. */
  heldBodyBytesMax: 128 * 1024,
  /** What a call by name gives of a reply. */
  replyBytesMax: 1024 * 1024,
  /** A call by name takes no longer, whatever the service's `total` says. */
  callMillisecondsMax: 300_000,
  /** Operations of one service whose requests are checked: each has its compiled schema. */
  checkedMax: 100,
  /** Calls that one base URL has under way, on one server. */
  pendingMax: 4096,
  /** Connections that one server keeps to one base URL. */
  connectionsMax: 256,
  retriesMax: 3,
} as const

/** Methods that promise to change nothing (RFC 9110, 9.2.1). */
export const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE"])

const serviceName = z
  .string()
  .regex(
    /^[a-z](?:[a-z0-9-]{0,37}[a-z0-9])?$/,
    "use 1 to 39 of a-z, 0-9 and dash, beginning with a letter, and not ending with a dash",
  )
  .describe("A name: a-z, 0-9, dash; it is in the path of every call, /x/<name>/")

const baseUrl = z
  .url({ protocol: /^https?$/ })
  .max(2000)
  .refine((text) => !/[?#@]/.test(text), "write a base URL without user, query and fragment")

const upstream = z.strictObject({
  url: baseUrl.describe("The base that the document's paths are added to"),
  weight: z.int().min(1).max(100).default(1).describe("How many calls it gets beside the others"),
})

const timeouts = z.strictObject({
  connect: duration.default("5s").describe("Until a connection is there"),
  headers: duration.default("30s").describe("From the request's last byte until the reply begins"),
  idle: duration.default("60s").describe("Between two pieces of a reply"),
  total: duration.optional().describe("For the whole call; without it a stream may last for ever"),
})

const health = z.strictObject({
  path: z
    .string()
    .regex(/^\/[\x21-\x7e]{0,500}$/, "write a path that begins with /")
    .describe("Asked with GET; a status of 200 to 399 is healthy"),
  every: duration.default("10s"),
  timeout: duration.default("5s"),
  unhealthyAfter: z.int().min(1).max(20).default(3).describe("Failures in a row"),
  healthyAfter: z.int().min(1).max(20).default(2).describe("Successes in a row"),
})

const breaker = z.strictObject({
  failures: z.int().min(1).max(1000).default(5).describe("Failures in a row that open the circuit of a base URL"),
  openFor: duration.default("10s").describe("How long it gets no calls then; after that one call tries it"),
})

const credentials = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("bearer"), secret: resourceName }),
  z.strictObject({ kind: z.literal("basic"), user: z.string().min(1).max(200), secret: resourceName }),
  z.strictObject({
    kind: z.literal("header"),
    header: z.string().regex(/^[A-Za-z0-9-]{1,64}$/, "write the name of a header"),
    secret: resourceName,
  }),
])

const operationSettings = z.strictObject({
  effect: z
    .enum(["read", "change"])
    .optional()
    .describe("Left out, what the method says: GET, HEAD and OPTIONS read, all others change"),
  roles: z.array(z.enum(grantableRoles)).min(1).max(20).optional().describe("Only callers with one of these roles"),
  retrySafe: z
    .boolean()
    .optional()
    .describe(
      "A change that may be sent again, under the same Idempotency-Key, where nobody knows whether it arrived; left out, what x-signalbox-retry-safe of the document says",
    ),
  bodyBytesMax: z.int().min(0).optional().describe("The most that the body of a call may have; left out, no bound"),
  check: z
    .enum(["none", "request"])
    .default("none")
    .describe(
      "request: path and query parameters and a JSON body are checked against the document before they are passed on",
    ),
})

/** What a person writes of a service. */
export const serviceFields = {
  name: serviceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  upstreams: z.array(upstream).min(1).max(gatewayLimits.upstreamsMax).describe("Where it is"),
  balance: z
    .enum(["least-pending", "round-robin"])
    .default("least-pending")
    .describe("Which base URL the next call goes to"),
  timeouts: timeouts.prefault({}),
  retries: z
    .int()
    .min(0)
    .max(gatewayLimits.retriesMax)
    .default(1)
    .describe(
      "Further tries of a call that changes nothing and has no body, each on another base URL where there is one",
    ),
  credentials: credentials.optional().describe("What the service is shown, from a secret"),
  forwardAuthorization: z
    .boolean()
    .default(false)
    .describe("Pass the caller's own key on: for services that you trust with it"),
  health: health.optional().describe("Without it a base URL is known by what calls to it come to"),
  breaker: breaker.prefault({}),
  operations: z.record(z.string().max(128), operationSettings).default({}).describe("Settings by operationId"),
}

const document = z.record(z.string(), z.unknown()).describe("An OpenAPI 3.0 or 3.1 document")

const externalOperation = z.object({
  name: z.string().describe("ext.<service>.<operationId>"),
  method: z.string(),
  path: z.string().describe("Under /x/<service>"),
  effect: z.enum(["read", "change"]),
  summary: z.string(),
  roles: z.array(z.string()).optional(),
  retrySafe: z.boolean(),
})

const service = z
  .object({
    id: z.string(),
    ...serviceFields,
    title: z.string().describe("From the document, as is apiVersion"),
    apiVersion: z.string(),
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("A service outside, whose operations are called through Signalbox")

export const servicesPut = defineOperation({
  name: "services.put",
  nodeScope: "none",
  service: "gateway",
  summary: "Register a service by its OpenAPI document, or change it",
  description:
    "Each operationId becomes the operation ext.<service>.<operationId>, called at /x/<service>/<path> or by its name. Every server knows it within a second; calls under way finish as they began.",
  method: "PUT",
  path: "/v1/services/{name}",
  effect: "change",
  permission: "services.write",
  input: z.strictObject({ ...serviceFields, document }),
  output: service.extend({ operationsCount: z.int(), changed: z.boolean() }),
  errors: ["gateway.invalid-service", "gateway.invalid-document", "gateway.too-many"],
})

export const servicesList = defineOperation({
  name: "services.list",
  nodeScope: "none",
  service: "gateway",
  summary: "List registered services",
  method: "GET",
  path: "/v1/services",
  effect: "read",
  permission: "services.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(service),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "title", "apiVersion", "upstreams", "changedBy", "changedAt"] },
})

export const servicesGet = defineOperation({
  name: "services.get",
  nodeScope: "none",
  service: "gateway",
  summary: "Show a registered service and its operations",
  method: "GET",
  path: "/v1/services/{name}",
  effect: "read",
  permission: "services.read",
  input: z.strictObject({ name: serviceName }),
  output: service.extend({ callable: z.array(externalOperation), document }),
  errors: ["gateway.service-not-found"],
  table: { rows: "callable", columns: ["name", "method", "path", "effect", "roles", "summary"] },
})

export const servicesRemove = defineOperation({
  name: "services.remove",
  nodeScope: "none",
  service: "gateway",
  summary: "Remove a service: its operations are unknown from then on",
  method: "DELETE",
  path: "/v1/services/{name}",
  effect: "change",
  permission: "services.write",
  input: z.strictObject({ name: serviceName }),
  output: z.object({ name: z.string() }),
  errors: ["gateway.service-not-found"],
})

export const servicesCheck = defineOperation({
  name: "services.check",
  nodeScope: "none",
  service: "gateway",
  summary: "Try the base URLs of a service, and show what this server knows of them",
  method: "GET",
  path: "/v1/services/{name}:check",
  effect: "read",
  permission: "services.write",
  input: z.strictObject({ name: serviceName }),
  output: z.object({
    name: z.string(),
    upstreams: z.array(
      z.object({
        url: z.string(),
        reachable: z.boolean().describe("It answered just now, with any status"),
        status: z.int().optional(),
        milliseconds: z.number().optional(),
        problem: z.string().optional(),
        state: z.enum(["healthy", "unhealthy", "circuit-open"]).describe("Whether calls go there now"),
        pending: z.int().describe("Calls under way on this server"),
      }),
    ),
  }),
  errors: ["gateway.service-not-found"],
  table: { rows: "upstreams", columns: ["url", "state", "reachable", "status", "milliseconds", "pending", "problem"] },
})

export const gatewayOperations = [servicesList, servicesGet, servicesCheck, servicesRemove, servicesPut] as const
