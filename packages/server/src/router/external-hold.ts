import type { IncomingHttpHeaders } from "node:http"
import { gatewayLimits } from "@signalbox/contracts/gateway/operations"
import type { Held } from "@signalbox/contracts/operation"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { parseExactly } from "./exact-json.ts"
import { outsideHandler } from "./external-handler.ts"
import { inputOf, isJson, sentBodyOf } from "./external-input.ts"
import type { ExternalInput, FoundExternal } from "./external-ports.ts"
import { setFields, type RewrittenFields } from "./external-rewrite.ts"
import { findHold } from "./gate-stage.ts"
import type { GateDemands, GateFinder, HoldWishes } from "./gate-ports.ts"
import type { ReadContext } from "./handler.ts"
import { requireIdempotencyKey } from "./idempotency-key.ts"
import { validateInput } from "./validate-input.ts"

/**
 * Holds a call that was to be passed through: it becomes a call by name, with its body read and the headers that mean
 * something later. What can't be kept like that is refused.
 */
export interface PassedCall {
  readonly outside: FoundExternal
  /** The values of the path's fields. */
  readonly values: readonly string[]
  readonly context: ReadContext
  readonly query: string
  readonly headers: IncomingHttpHeaders
  readonly wishes: HoldWishes | undefined
  readonly demands: GateDemands | undefined
  /** Where it was read already. */
  readonly body: Buffer | undefined
  readonly readBody: (bytesMax: number) => Promise<Buffer>
  /** False where the connection itself is what was asked for. */
  readonly canWait: boolean
  /** What rules set anew. */
  readonly fields: RewrittenFields | undefined
}

interface HoldOptions {
  readonly gates: GateFinder
  readonly markSecretInput: (text: string) => string
}

/**
 * Gives the body that was read where nothing holds the call after all.
 *
 * @throws approvals.refused, request.idempotency-key-required, request.invalid-input, and what making a request throws
 */
export async function holdPassed(
  options: HoldOptions,
  call: PassedCall,
): Promise<{ readonly held: Held } | { readonly body: Buffer | undefined }> {
  const { outside, context, headers, wishes, demands } = call
  const { operation, service } = outside
  if (!call.canWait) throw notHeld(operation.name, "a connection that is upgraded can't wait for one")
  if (service.forwardAuthorization)
    throw notHeld(operation.name, `${service.name} gets the caller's own key, which is not kept`)
  const body = await readKept(call)
  const asked = validateInput(operation.declaration, keptInput(call, body)) as ExternalInput
  const input = call.fields ? setFields(operation, asked, call.fields) : asked
  const key = headers["idempotency-key"]
  const named = { operation: operation.name, ...(typeof key === "string" && { idempotencyKey: key }) }
  const routed = { handler: outsideHandler(outside), context, input, outside, ...(input !== asked && { asked }) }
  const held = await findHold(options, routed, { idempotencyKey: () => requireIdempotencyKey(named), wishes, demands })
  return held ? { held } : { body }
}

function notHeld(name: string, why: string): AppError {
  return new AppError("approvals.refused", `${name} needs an approval, and ${why}`)
}

async function readKept({ outside, headers, body, readBody }: PassedCall): Promise<Buffer | undefined> {
  const { heldBodyBytesMax } = gatewayLimits
  const { name, bodyBytesMax = heldBodyBytesMax } = outside.operation
  const tooLarge = notHeld(name, `a call that waits for one has a body of ${heldBodyBytesMax} bytes at most`)
  if (body && body.length > heldBodyBytesMax) throw tooLarge
  if (body || !sentBodyOf(headers).isPresent) return body
  try {
    return await readBody(Math.min(bodyBytesMax, heldBodyBytesMax))
  } catch (error) {
    if (hasCode(error, "request.body-too-large") && bodyBytesMax >= heldBodyBytesMax) throw tooLarge
    throw error
  }
}

/** Those that mean the same later; others belong to the caller's connection, or to the caller. */
const keptHeaders = [
  ...["accept", "accept-language", "content-language", "content-type"],
  ...["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"],
] as const

function keptInput({ outside, values, query, headers }: PassedCall, body: Buffer | undefined): ExternalInput {
  const { operation } = outside
  const { path, query: fields } = inputOf({ operation, values, call: { query, headers }, body: undefined })
  const kept = [...keptHeaders, ...operation.headerNames].flatMap((name) => {
    const value = headers[name]
    return typeof value === "string" ? [[name, value] as const] : []
  })
  return { path, query: fields, headers: Object.fromEntries(kept), ...(body && keptBody(headers, body)) }
}

/** As JSON or text where exactly that comes out of it again, so that it can be read by those who vote. */
function keptBody(headers: IncomingHttpHeaders, body: Buffer): Pick<ExternalInput, "body" | "bodyBase64"> {
  if (body.length === 0) return {}
  const text = body.toString("utf8")
  if (isJson(headers)) {
    const parsed = parseExactly(text)
    if (parsed) return { body: parsed.value }
  } else if (headers["content-type"] !== undefined && !text.includes("\0") && Buffer.from(text).equals(body)) {
    return { body: text }
  }
  return { bodyBase64: body.toString("base64") }
}
