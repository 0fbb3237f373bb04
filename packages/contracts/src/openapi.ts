import { assert } from "@signalbox/kernel/assert"
import { errorCatalogue, type ErrorCode } from "@signalbox/kernel/error-catalogue"
import { requestFields } from "./http-binding.ts"
import { componentReference, SchemaWriter, type JsonSchema } from "./openapi-schemas.ts"
import type { AnyOperation, ServiceName } from "./operation.ts"
import { heldReply, problem, problemMediaType, problemStatus } from "./problem.ts"

const openApiVersion = "3.1.1"
const methodOrder = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const

const serviceDescriptions: Readonly<Record<ServiceName, string>> = {
  approvals: "Requests, votes and who has to be asked",
  catalog: "Products and portfolios with their constraints, and what was launched",
  artifacts: "Files that steps put on nodes",
  audit: "Events, the audit record, and the story behind an id",
  calendars: "Schedules, maintenance windows and change calendars",
  actions: "What rules do: each run of an action, and those that were given up",
  fleet: "Nodes, their agents, enrolment and groups",
  gateway: "Services outside, and how they are reached",
  identity: "Accounts, users and their sessions, service accounts, API keys, and what they may do",
  notifications: "Channels, subscriptions to events, and what was delivered",
  secrets: "Values that steps use and that nothing shows",
  routing: "The operations and the map that routes them",
  rules: "What has to happen before and after operations, and because of events",
  triggers: "Signals, inbound webhooks, and triggers that are fired",
  workflows: "Workflow documents and their executions over nodes",
}

/** What any call may be answered with, beside the operation's own codes. */
const errorsOfEveryCall = [
  "identity.invalid-credentials",
  "identity.missing-credentials",
  "identity.permission-denied",
  "request.internal",
  "request.invalid-input",
  "request.rate-limited",
  "request.shutting-down",
  "routing.no-route",
  "storage.unavailable",
] as const satisfies readonly ErrorCode[]

const errorsOfBodies = [
  "request.body-too-large",
  "request.invalid-json",
  "request.unsupported-media-type",
] as const satisfies readonly ErrorCode[]

const errorsOfChanges = [
  "request.idempotency-in-flight",
  "request.idempotency-key-required",
  "request.idempotency-key-reused",
  "storage.disk-full",
] as const satisfies readonly ErrorCode[]

const idempotencyKeyParameter = {
  name: "Idempotency-Key",
  in: "header",
  required: true,
  description: "New for each intended change; the same key with the same body gives the first reply again (24 hours)",
  schema: { type: "string", minLength: 8, maxLength: 128 },
}

const lastEventIdParameter = {
  name: "Last-Event-ID",
  in: "header",
  required: false,
  description: "The id of the last message that was received: the stream goes on after it",
  schema: { type: "string", maxLength: 512 },
}

const responseHeaders = {
  ApprovalRequest: { description: "Where the state of the approval request can be read", schema: { type: "string" } },
  IdempotencyReplayed: {
    description: "`true` where this is the first reply to the same Idempotency-Key again",
    schema: { type: "string", const: "true" },
  },
  Started: {
    description:
      "The runs that rules have started because of this call, as paths separated by commas; absent where none",
    schema: { type: "string" },
  },
  RequestId: { description: "Names this call in the log, the audit record and `why`", schema: { type: "string" } },
} as const

export interface OpenApiDocument {
  readonly openapi: string
  readonly info: Readonly<Record<string, unknown>>
  readonly servers: ReadonlyArray<{ readonly url: string }>
  readonly security: ReadonlyArray<Readonly<Record<string, readonly string[]>>>
  readonly tags: ReadonlyArray<{ readonly name: string; readonly description: string }>
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly components: Readonly<Record<string, unknown>>
}

/** Every code that a call of this operation may be refused or fail with, sorted. */
export function possibleErrors(operation: AnyOperation): ErrorCode[] {
  const codes = new Set<ErrorCode>([...errorsOfEveryCall, ...operation.errors])
  if (requestFields(operation).body.length > 0) for (const code of errorsOfBodies) codes.add(code)
  if (operation.effect === "change") for (const code of errorsOfChanges) codes.add(code)
  return [...codes].toSorted()
}

/**
 * The OpenAPI 3.1 document of these operations. Pure, and the same for the same declarations whatever their order, so
 * that a committed copy shows each change of the interface as a difference.
 *
 * @example makeOpenApi(operations, "0.1.0").paths["/v1/nodes"]
 */
export function makeOpenApi(operations: readonly AnyOperation[], version: string): OpenApiDocument {
  const writer = new SchemaWriter()
  writer.reply(heldReply)
  writer.reply(problem)
  const paths = writePaths(operations, writer)
  const services = [...new Set(operations.map((operation) => operation.service))].toSorted()
  return {
    openapi: openApiVersion,
    info: {
      title: "Signalbox",
      version,
      description: "A self-hosted control plane for change. Every call is an operation; its name is the `operationId`.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ bearer: [] }],
    tags: services.map((name) => ({ name, description: serviceDescriptions[name] })),
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: "http",
          scheme: "bearer",
          description: "An API key or a session's token: `sbx_<account>_<id>_<secret>`",
        },
      },
      headers: responseHeaders,
      schemas: Object.fromEntries([...writer.components].toSorted(byKey)),
    },
  }
}

function writePaths(operations: readonly AnyOperation[], writer: SchemaWriter): OpenApiDocument["paths"] {
  const sorted = operations.toSorted((a, b) =>
    a.path === b.path ? methodOrder.indexOf(a.method) - methodOrder.indexOf(b.method) : a.path < b.path ? -1 : 1,
  )
  const paths: Record<string, Record<string, unknown>> = {}
  for (const operation of sorted) {
    const item = (paths[operation.path] ??= {})
    const method = operation.method.toLowerCase()
    assert(!(method in item), `${operation.name}: ${operation.method} ${operation.path} is taken`)
    item[method] = writeOperation(operation, writer)
  }
  return paths
}

function writeOperation(operation: AnyOperation, writer: SchemaWriter): Readonly<Record<string, unknown>> {
  const body = writeBody(operation, writer)
  return {
    operationId: operation.name,
    tags: [operation.service],
    summary: operation.summary,
    ...(operation.description === undefined ? {} : { description: operation.description }),
    "x-signalbox-effect": operation.effect,
    "x-signalbox-permission": operation.permission,
    ...(operation.anonymous || operation.tokenInput !== undefined ? { security: [] } : {}),
    parameters: writeParameters(operation, writer),
    ...(body ? { requestBody: body } : {}),
    responses: writeResponses(operation, writer),
  }
}

function writeParameters(operation: AnyOperation, writer: SchemaWriter): readonly unknown[] {
  const { path, query } = requestFields(operation)
  const input = writer.request(operation.input)
  const properties = input["properties"] as Readonly<Record<string, JsonSchema>>
  const required = new Set(input["required"] as readonly string[] | undefined)
  const parameter = (name: string, place: "path" | "query") => {
    const { description, ...schema } = properties[name] ?? {}
    return {
      name,
      in: place,
      required: place === "path" || required.has(name),
      ...(description === undefined ? {} : { description }),
      schema,
    }
  }
  const headers = []
  if (operation.effect === "change") headers.push(idempotencyKeyParameter)
  if (operation.effect === "stream" && "cursor" in operation.input.shape) headers.push(lastEventIdParameter)
  return [...path.map((name) => parameter(name, "path")), ...query.map((name) => parameter(name, "query")), ...headers]
}

/** The input without the path's fields, or nothing where the operation takes no body. */
function writeBody(operation: AnyOperation, writer: SchemaWriter): JsonSchema | undefined {
  const { body } = requestFields(operation)
  if (body.length === 0) return undefined
  const { properties, required, ...rest } = writer.request(operation.input)
  const requiredInBody = ((required ?? []) as readonly string[]).filter((name) => body.includes(name))
  const members = Object.entries(properties as Readonly<Record<string, JsonSchema>>)
  const schema = {
    ...rest,
    properties: Object.fromEntries(members.filter(([name]) => body.includes(name))),
    ...(requiredInBody.length > 0 ? { required: requiredInBody } : {}),
  }
  return { required: requiredInBody.length > 0, content: { "application/json": { schema } } }
}

function writeResponses(operation: AnyOperation, writer: SchemaWriter): Readonly<Record<string, unknown>> {
  return { ...writeSuccess(operation, writer), default: writeProblem(operation) }
}

function writeSuccess(operation: AnyOperation, writer: SchemaWriter): Readonly<Record<string, unknown>> {
  if (operation.effect === "session") return { "101": { description: "The connection is a WebSocket from here on" } }
  if (operation.rawOutput !== undefined) return writeRawSuccess(operation.rawOutput)
  const schema = writer.reply(operation.output)
  if (operation.effect === "stream") {
    const message = { type: "string", contentMediaType: "application/json", contentSchema: schema }
    const description = "Server-sent events; `data` of each is one message"
    return { "200": { description, content: { "text/event-stream": { schema: message } } } }
  }
  const headers = {
    "X-Request-Id": headerReference("RequestId"),
    ...(operation.effect === "change" ? { "Idempotency-Replayed": headerReference("IdempotencyReplayed") } : {}),
    "Signalbox-Started": headerReference("Started"),
  }
  const done = { description: "Done", headers, content: { "application/json": { schema } } }
  if (operation.effect === "read") return { "200": done }
  const held = {
    description: "Held for approval",
    headers: { Location: headerReference("ApprovalRequest") },
    content: { "application/json": { schema: componentReference("Held") } },
  }
  return { "200": done, "202": held }
}

function writeRawSuccess(mediaType: string): Readonly<Record<string, unknown>> {
  const content = { [mediaType]: {} }
  const headers = { "X-Request-Id": headerReference("RequestId") }
  return {
    "200": { description: "The bytes", headers, content },
    "206": { description: "The range of them that `Range` asks for", headers, content },
    "416": { description: "The range begins after the end" },
  }
}

function writeProblem(operation: AnyOperation): Readonly<Record<string, unknown>> {
  const codes = possibleErrors(operation)
  const statuses = [...new Set(codes.map((code) => problemStatus[errorCatalogue[code].kind]))].toSorted((a, b) => a - b)
  const schema = { allOf: [componentReference("Problem"), { properties: { code: { enum: codes } } }] }
  return { description: `A refusal or a failure: ${statuses.join(", ")}`, content: { [problemMediaType]: { schema } } }
}

function headerReference(name: keyof typeof responseHeaders): JsonSchema {
  return { $ref: `#/components/headers/${name}` }
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}
