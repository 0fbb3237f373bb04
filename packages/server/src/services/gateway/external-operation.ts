import { safeMethods } from "@signalbox/contracts/gateway/operations"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { z } from "zod"
import type { ExternalOperation, RequestDocument } from "../../router/external-ports.ts"
import { canBeGiven } from "../../router/external-request.ts"
import { readApiDocument, type ApiDocument, type ApiOperation } from "./api-document.ts"
import { inputSchema, replySchema } from "./input-schema.ts"
import { RequestCheck } from "./request-check.ts"
import { secretsOf } from "./secret-places.ts"
import type { ServiceRow, ServiceSpec } from "./store.ts"

/** Numbers and booleans are written as the texts that requests carry. */
const text = z.union([z.string(), z.number(), z.boolean()]).transform(String)

/** What a call by name takes, and what rules and approvers see of any call. */
const callInput = z.strictObject({
  path: z.record(z.string(), text).default({}),
  query: z.record(z.string(), z.union([text, z.array(text)])).default({}),
  headers: z.record(z.string(), text).default({}),
  body: z.unknown().optional().describe("JSON; a text where the header content-type says another type"),
  bodyBase64: z.base64().optional().describe("In place of a body that is neither"),
})

/** `ExternalReply` as it is shown. */
const callOutput = z.object({
  status: z.int(),
  headers: z.record(z.string(), z.string()),
  body: z.unknown().optional(),
  bodyBase64: z.string().optional(),
  bodyOmitted: z.enum(["too-large", "broken-off"]).optional(),
})

/** @throws gateway.invalid-document where another version of the program wrote it */
export function apiOf(row: ServiceRow): ApiDocument {
  const api = readApiDocument(JSON.parse(row.document) as Record<string, unknown>)
  if ("issues" in api)
    throw new AppError("gateway.invalid-document", `the document of ${row.name} can't be read`, { issues: api.issues })
  return api
}

/** What a service's document and settings make of its operations. */
export function operationsOf({ name, spec }: Pick<ServiceRow, "name" | "spec">, api: ApiDocument): ExternalOperation[] {
  const check = once(() => new RequestCheck(api))
  return api.operations.map((operation) => toExternal({ name, spec, api, check }, operation))
}

interface Made {
  readonly name: string
  readonly spec: ServiceSpec
  readonly api: ApiDocument
  readonly check: () => RequestCheck
}

function toExternal({ name: service, spec, api, check }: Made, operation: ApiOperation): ExternalOperation {
  const settings = Object.hasOwn(spec.operations, operation.id) ? spec.operations[operation.id] : undefined
  const effect = settings?.effect ?? (safeMethods.has(operation.method) ? "read" : "change")
  const { id, method, path, summary } = operation
  const name = `ext.${service}.${id}`
  const replaceSecrets = secretsOf(api, operation)
  const declaration: AnyOperation = {
    ...{ name, summary, effect },
    service: "gateway",
    method: method as AnyOperation["method"],
    path: `/x/${service}${path}`,
    permission: effect === "read" ? "services.call" : "services.change",
    input: callInput,
    output: callOutput,
    errors: [],
    ...(replaceSecrets && { replaceSecrets }),
  }
  return {
    ...{ name, id, service, method, path, effect, summary, declaration },
    roles: settings?.roles,
    headerNames: operation.parameters
      .filter((each) => each.in === "header" && canBeGiven(each.name))
      .map((each) => each.name),
    retrySafe: settings?.retrySafe ?? operation.retrySafe,
    bodyBytesMax: settings?.bodyBytesMax,
    findIssues: settings?.check === "request" ? (input, sent) => check().findIssues(operation, input, sent) : undefined,
    document: once(() => documentOf({ api, check: check() }, operation)),
  }
}

function documentOf(
  { api, check }: { readonly api: ApiDocument; readonly check: RequestCheck },
  operation: ApiOperation,
): RequestDocument {
  return {
    inputSchema: inputSchema(api, operation),
    outputSchema: replySchema,
    required: requiredOf(operation),
    findFault: () => check.findFault(operation.id),
    findIssues: (input, sent) => check.findIssues(operation, input, sent),
    findPlace: (place) => check.findPlace(operation, place),
  }
}

function requiredOf({ parameters, body }: ApiOperation): string[] {
  const needed = parameters.filter(({ required, isPlain, in: where }) => required && isPlain && where !== "header")
  return [...needed.map(({ in: where, name }) => `${where}.${name}`), ...(body?.required === true ? ["body"] : [])]
}

function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined
  return () => (made ??= { value: make() }).value
}
