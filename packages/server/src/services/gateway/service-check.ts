import { gatewayLimits, type servicesPut } from "@signalbox/contracts/gateway/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError, isAppError, type Issue } from "@signalbox/kernel/app-error"
import { getDuration } from "@signalbox/kernel/duration"
import { findSecretFaults } from "../../named-secrets.ts"
import type { ReadContext } from "../../router/handler.ts"
import { readApiDocument, type ApiDocument } from "./api-document.ts"
import type { GatewayOptions } from "./options.ts"
import { RequestCheck } from "./request-check.ts"

type Input = InputOf<typeof servicesPut>

const durationMillisecondsMax = 24 * 3_600_000
const healthMillisecondsMin = 1_000
const issuesMax = 50

/**
 * Refuses what can't be called, with one issue for each thing that is wrong.
 *
 * @throws gateway.invalid-document, gateway.invalid-service
 */
export async function checkService(options: GatewayOptions, input: Input, { account }: ReadContext): Promise<void> {
  const api = await checkDocument(input)
  const issues = [
    ...findTimeIssues(input),
    ...findSettingIssues(input, api),
    ...findUncheckable(input, api),
    ...(await findUrlIssues(options, input)),
  ]
  const { credentials } = input
  if (credentials)
    issues.push(
      ...(await findSecretFaults(options.secrets, account, [
        { path: "credentials.secret", name: credentials.secret, faultOf: headerFault },
      ])),
    )
  if (issues.length === 0) return
  throw new AppError("gateway.invalid-service", `the service ${input.name} can't be called like this`, {
    issues: issues.slice(0, issuesMax),
  })
}

async function checkDocument({ name, document }: Input): Promise<ApiDocument> {
  const refuse = (issues: readonly Issue[]): never => {
    const [first] = issues
    const message = `the OpenAPI document of ${name}: ${first?.path ?? "document"}: ${first?.message ?? "is not valid"}`
    throw new AppError("gateway.invalid-document", message, { issues })
  }
  const bytes = Buffer.byteLength(JSON.stringify(document))
  if (bytes > gatewayLimits.documentBytesMax)
    return refuse([{ path: "document", message: `has ${bytes} bytes; at most ${gatewayLimits.documentBytesMax}` }])
  const api = readApiDocument(document)
  if ("issues" in api) return refuse(api.issues)
  // Takes 30 ms to load, and only those who register services need it.
  const { Validator } = await import("@seriousme/openapi-schema-validator")
  const { valid, errors } = await new Validator().validate(structuredClone(document))
  if (valid) return api
  const found = Array.isArray(errors) ? errors : [{ instancePath: "", message: errors ?? "is not valid" }]
  return refuse(
    found.slice(0, issuesMax).map(({ instancePath, message }) => ({
      path: `document${instancePath.replaceAll("/", ".").replaceAll("~1", "/").replaceAll("~0", "~")}`,
      message: message ?? "is not valid",
    })),
  )
}

function findTimeIssues({ timeouts, health, breaker }: Input): Issue[] {
  const times: Array<[path: string, text: string | undefined, least: number]> = [
    ["timeouts.connect", timeouts.connect, 1],
    ["timeouts.headers", timeouts.headers, 1],
    ["timeouts.idle", timeouts.idle, 1],
    ["timeouts.total", timeouts.total, 1],
    ["breaker.openFor", breaker.openFor, 1],
    ["health.every", health?.every, healthMillisecondsMin],
    ["health.timeout", health?.timeout, 1],
  ]
  return times.flatMap(([path, text, least]) => {
    if (text === undefined) return []
    const milliseconds = getDuration(text)
    if (milliseconds >= least && milliseconds <= durationMillisecondsMax) return []
    return [{ path, message: least > 1 ? "from 1s to 24h" : "more than nothing, and at most 24h" }]
  })
}

function findSettingIssues({ operations }: Input, api: ApiDocument): Issue[] {
  const known = new Set(api.operations.map(({ id }) => id))
  return Object.keys(operations)
    .filter((id) => !known.has(id))
    .map((id) => ({ path: `operations.${id}`, message: "the document has no operation with this operationId" }))
}

/** Each is compiled once here, so that a schema that isn't understood is told now and not at the first call. */
function findUncheckable({ operations }: Input, api: ApiDocument): Issue[] {
  const checked = Object.keys(operations).filter((id) => operations[id]?.check === "request")
  if (checked.length > gatewayLimits.checkedMax)
    return [{ path: "operations", message: `at most ${gatewayLimits.checkedMax} operations are checked` }]
  if (checked.length === 0) return []
  const known = new Set(api.operations.map(({ id }) => id))
  const check = new RequestCheck(api)
  return checked.flatMap((id) => {
    const message = known.has(id) ? check.findFault(id) : undefined
    return message === undefined ? [] : [{ path: `operations.${id}.check`, message }]
  })
}

/** An address that may not be called is told now, not at the first call. A name that nobody knows yet may come later. */
async function findUrlIssues({ egress }: GatewayOptions, { upstreams }: Input): Promise<Issue[]> {
  const issues: Issue[] = []
  const seen = new Set<string>()
  for (const [index, { url }] of upstreams.entries()) {
    const path = `upstreams.${index}.url`
    if (seen.has(url)) issues.push({ path, message: "is given twice; use weight instead" })
    seen.add(url)
    const fault = await egress.check(url).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (fault === undefined || (isAppError(fault) && fault.code === "egress.unreachable")) continue
    if (!isAppError(fault)) throw fault
    issues.push({ path, message: fault.message })
  }
  return issues
}

function headerFault(value: string): string | undefined {
  return /^[\x21-\x7e][\x20-\x7e]*$/.test(value) ? undefined : "has characters that a header can't carry"
}
