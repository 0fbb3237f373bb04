import { createHash } from "node:crypto"
import type { IncomingHttpHeaders } from "node:http"
import { gatewayLimits } from "@signalbox/contracts/gateway/operations"
import type { Held } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Database } from "../storage/database.ts"
import { writeRefusalRecord } from "./change-record.ts"
import { parseExactly } from "./exact-json.ts"
import { inputOf, isJson, sentBodyOf } from "./external-input.ts"
import type {
  ExternalInput,
  ExternalMatch,
  ExternalOperation,
  ExternalService,
  ExternalServices,
} from "./external-ports.ts"
import type { Elsewhere } from "./forwarded-call.ts"
import { followAnswer, type Started } from "./follow-stage.ts"
import { findRoleRefusal } from "./external-handler.ts"
import { refuseAmbiguous, unfit } from "./external-request.ts"
import { rewriteRequest, type RewrittenFields, type RewrittenRequest } from "./external-rewrite.ts"
import { findRefusal } from "./find-refusal.ts"
import { codeOfStatus } from "./external-change.ts"
import { holdPassed } from "./external-hold.ts"
import type { GateDemands, GateFinder, HoldWishes } from "./gate-ports.ts"
import type { Caller, ReadContext } from "./handler.ts"
import type { UseRecorder } from "./ports.ts"
import type { Routed } from "./routed.ts"
import type { RoutingMap } from "./routing-map.ts"
import type { Firing, OrLater, RuleMatcher } from "./rule-ports.ts"
import { applyRules, type Ruled } from "./rule-stage.ts"

/**
 * The stages of a call to a service outside: the same as those of any call, but that what carries it out is elsewhere.
 * Whoever has a passage sends the call on, and says when it is over.
 */

export interface ExternalCall {
  readonly service: string
  readonly method: string
  /** Below `/x/<service>`, as it was sent, without its query. */
  readonly path: string
  readonly token: string | undefined
  readonly sourceAddress: string | undefined
  /** With its question mark; empty where there is none. */
  readonly query: string
  readonly headers: IncomingHttpHeaders
  readonly requestId: string
  readonly wishes: HoldWishes | undefined
  /** False where the connection itself is what is asked for. */
  readonly canWait: boolean
  readonly signal: AbortSignal
  /** Reads the body whole, up to so many bytes: only where something looks into it. @throws request.body-too-large */
  readonly readBody: (bytesMax: number) => Promise<Buffer>
}

export interface Passage {
  readonly service: ExternalService
  readonly operation: ExternalOperation
  readonly caller: Caller
  readonly requestId: string
  /** The id that joins the whole story (D12). */
  readonly cause: string
  /** Where it was read already. */
  readonly body?: Buffer | undefined
  /** Present where rules rewrote it: what is sent in the place of what came. */
  readonly rewritten?: RewrittenRequest
  /** Which did. */
  readonly ruledBy?: readonly Firing[]
  /** Present where rules follow the call: to be told of the reply's status before the reply is passed on. */
  readonly follow?: ((status: number) => Promise<Started | undefined>) | undefined
  /** Present where it changes something: to be told once of the reply's status, or of the code of what went wrong. */
  readonly settle?: ((outcome: number | string) => void) | undefined
}

export type Admission =
  | { readonly kind: "passage"; readonly passage: Passage }
  /** It waits for an approval, or for its time. */
  | { readonly kind: "held"; readonly held: Held; readonly caller: Caller; readonly ruledBy: readonly Firing[] }

export interface ExternalOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly rules: RuleMatcher
  readonly elsewhere: Pick<Elsewhere, "rules">
  /** The map in force. */
  readonly map: () => Pick<RoutingMap, "outsideRules">
  readonly markSecretInput: (text: string) => string
  readonly external?: ExternalServices
  readonly gates: GateFinder
  readonly uses: UseRecorder
}

type Authenticate = (token: string | undefined, sourceAddress: string | undefined) => OrLater<Caller>

/**
 * Lets a call to a service outside pass, holds it, or refuses it. At once where nothing has to be waited for: most calls
 * only read, by a key, and are let through by what is in memory.
 *
 * @throws identity.missing-credentials, identity.invalid-credentials, identity.permission-denied, identity.narrowed,
 * gateway.service-not-found, gateway.invalid-path, gateway.role-required, routing.unknown-path, request.invalid-input,
 * request.invalid-json, approvals.refused
 */
export function admitExternal(
  options: ExternalOptions,
  authenticate: Authenticate,
  call: ExternalCall,
): OrLater<Admission> {
  const caller = authenticate(call.token, call.sourceAddress)
  return caller instanceof Promise
    ? caller.then((known) => admitCaller(options, call, known))
    : admitCaller(options, call, caller)
}

function admitCaller(options: ExternalOptions, call: ExternalCall, caller: Caller): OrLater<Admission> {
  const service = options.external?.find(caller.account, call.service)
  if (!service) throw serviceNotFound(call.service)
  const { operation, values } = findExternal(service, call)
  const sought: Sought = { caller, operation, call, service, values }
  const refusal = findRefusal(operation.declaration, caller) ?? findRoleRefusal(operation, caller)
  if (refusal) return refuse(options, sought, refusal)
  const looked = lookInto(options, sought)
  if (operation.effect === "change") return admitChange(options, sought, looked)
  return looked instanceof Promise
    ? looked.then((ruled) => letPass(options, sought, ruled))
    : letPass(options, sought, looked)
}

async function admitChange(options: ExternalOptions, sought: Sought, looked: OrLater<Looked>): Promise<Admission> {
  const ruled = await looked
  const gated = await passGates(options, sought, ruled)
  if (!("held" in gated)) return letPass(options, sought, gated)
  return { kind: "held", held: gated.held, caller: sought.caller, ruledBy: ruled.ruledBy ?? [] }
}

function letPass(options: ExternalOptions, sought: Sought, looked: Looked): Admission {
  const { caller, operation, call, service } = sought
  const { body, follow, rewritten, ruledBy = [] } = looked
  const { requestId } = call
  options.uses.record({ operation: operation.name, caller, requestId, now: options.clock.now() })
  const settle = operation.effect === "change" ? settling(options, sought, rewritten) : undefined
  const passage: Passage = { service, operation, caller, requestId, cause: requestId, body, follow, settle }
  return { kind: "passage", passage: rewritten ? { ...passage, rewritten, ruledBy } : passage }
}

/** The audit record of a change that is passed through: written a moment after its reply begins. */
function settling(
  options: ExternalOptions,
  { caller, operation, call }: Sought,
  rewritten: RewrittenRequest | undefined,
): NonNullable<Passage["settle"]> {
  const { requestId, sourceAddress, method, path } = call
  const { account, principal } = caller
  const inputDigest = digestOfCall({ method, path: rewritten?.path ?? path })
  let isSettled = false
  return (outcome) => {
    if (isSettled) return
    isSettled = true
    const said = typeof outcome === "string" ? outcome : (codeOfStatus(operation, outcome) ?? "done")
    const record = {
      account,
      principal,
      operation: operation.name,
      requestId,
      sourceAddress,
      inputDigest,
      outcome: said,
    }
    options.external?.recordPassed(record)
  }
}

const digestOfCall = ({ method, path }: Pick<ExternalCall, "method" | "path">): string =>
  createHash("sha256").update(`${method} ${path}`).digest("hex")

interface Looked {
  readonly body?: Buffer | undefined
  /** What rules set anew, and the request with it. */
  readonly fields?: RewrittenFields
  readonly rewritten?: RewrittenRequest
  readonly ruledBy?: readonly Firing[]
  readonly follow?: Passage["follow"]
  /** What rules want of the call before it passes. */
  readonly demands?: GateDemands | undefined
}

/** What holds a change: the look-ups are in memory, and only what is held costs more. */
async function passGates(
  options: ExternalOptions,
  sought: Sought,
  ruled: Looked,
): Promise<Looked | { readonly held: Held }> {
  const { caller, operation, call, service, values } = sought
  const { name } = operation
  const { demands, body } = ruled
  const { query, headers, wishes = {}, canWait, readBody } = call
  const context = contextOf(options, sought)
  const attributes = { operation: name, action: name, type: "operation" }
  const asked = { operation: name, caller, attributes, wishes, now: context.now, ...(demands && { demands }) }
  const verdict = options.gates.find(asked)
  if (verdict.kind === "deny") throw new AppError(verdict.code, verdict.reason, { details: verdict.details ?? {} })
  if (verdict.kind === "pass") {
    if (verdict.skipped) await options.gates.recordSkip({ ...asked, context, calendars: verdict.skipped })
    return ruled
  }
  const outside = { service, operation }
  const kept = await holdPassed(options, {
    outside,
    values,
    context,
    query,
    headers,
    wishes,
    demands,
    body,
    readBody,
    canWait,
    fields: ruled.fields,
  })
  if ("held" in kept) return kept
  return kept.body ? { ...ruled, body: kept.body } : ruled
}

function serviceNotFound(name: string): AppError {
  return new AppError("gateway.service-not-found", `there is no service "${name.slice(0, 64)}" in this account`)
}

function findExternal(service: ExternalService, { method, path }: ExternalCall): FoundMatch {
  refuseAmbiguous(path)
  const match = service.match(method, path)
  if (match.kind === "found") return match
  const hint = match.methods.length > 0 ? `; it takes ${match.methods.join(", ")}` : ""
  throw new AppError("routing.unknown-path", `${service.name} has nothing at ${method} ${path.slice(0, 200)}${hint}`)
}

type FoundMatch = Extract<ExternalMatch, { kind: "found" }>

/**
 * A call is looked into only where its request is checked or rules are about its operation: else this is two look-ups. Its
 * body passes by unread where neither the check, nor a condition, nor the event of a rule that follows it is about it.
 */
function lookInto(options: ExternalOptions, sought: Sought): OrLater<Looked> {
  const { caller, operation, call } = sought
  const { account } = caller
  const { rules, map } = options
  const consults = map().outsideRules?.find(operation.name)
  const isBuiltIn = consults === undefined
  const isGated = isBuiltIn ? rules.isAsked(account, operation.name, "before") : consults !== "none"
  const isFollowed = isBuiltIn && rules.isAsked(account, operation.name, "after")
  if (!isGated && !isFollowed && !operation.findIssues) return nothing
  // Another rules service doesn't say what it looks at.
  const isRead = (): boolean => !isBuiltIn || rules.readsInput(account, operation.name, "body")
  const isBodyRead = isFollowed || operation.findIssues !== undefined || (isGated && isRead())
  const asked = { consults, isGated, isFollowed, body: undefined }
  if (!isBodyRead || !isJson(call.headers)) return lookAt(options, sought, asked)
  return call.readBody(bodyBytesMax(operation)).then((body) => lookAt(options, sought, { ...asked, body }))
}

const nothing: Looked = {}

interface Asked {
  readonly consults: Routed["consults"]
  readonly isGated: boolean
  readonly isFollowed: boolean
  readonly body: Buffer | undefined
}

function lookAt(options: ExternalOptions, sought: Sought, asked: Asked): OrLater<Looked> {
  const { operation, call, service, values } = sought
  const { consults, isGated, isFollowed } = asked
  let { body } = asked
  const input = inputOf({ operation, values, call, body })
  refuseUnfit(operation, input, call)
  const routed: Routed = {
    ...routedOf(options, sought, input),
    outside: { service, operation },
    ...(consults && { consults }),
  }
  const follow = isFollowed ? following(options, routed) : undefined
  if (!isGated) return { body, follow }
  const withBody = async (passed: Routed): Promise<Routed> => {
    if (!isJson(call.headers)) return passed
    body ??= await call.readBody(bodyBytesMax(operation))
    return { ...passed, input: { ...input, ...(body.length > 0 && { body: parseRewritable(operation, body) }) } }
  }
  const ruledAs = (ruled: Ruled): Looked => {
    if (ruled.routed === routed && ruled.by.length === 0) return { body, follow }
    const { demands, fields, by } = ruled
    const changed = ruled.routed.input as ExternalInput
    const came = { path: call.path, query: call.query, values }
    return {
      ...{ body, demands, ruledBy: by },
      follow: isFollowed || ruled.routed.messages ? following(options, ruled.routed) : undefined,
      ...(fields && { fields, rewritten: rewriteRequest(operation, came, { fields, input: changed }) }),
    }
  }
  const ruled = applyRules(options, routed, () => ({ sent: sentBodyOf(call.headers), withBody }))
  return ruled instanceof Promise ? ruled.then(ruledAs) : ruledAs(ruled)
}

/** @throws request.invalid-json, request.invalid-input where it can't be written anew without becoming another */
function parseRewritable({ name }: ExternalOperation, body: Buffer): unknown {
  const parsed = parseExactly(body.toString("utf8"))
  if (parsed) return parsed.value
  throw unfit(name, [{ path: "body", message: "has numbers of more digits than can be written anew" }])
}

/** Passes the reply's status to the rules that follow the call. */
function following(options: ExternalOptions, routed: Routed): NonNullable<Passage["follow"]> {
  return (status) => followAnswer(options, routed, { status })
}

function refuseUnfit({ name, findIssues }: ExternalOperation, input: ExternalInput, { headers }: ExternalCall): void {
  const issues = findIssues?.(input, sentBodyOf(headers)) ?? []
  const [first] = issues
  if (first) throw new AppError("request.invalid-input", `${name}: ${first.path} ${first.message}`, { issues })
}

const bodyBytesMax = (operation: ExternalOperation): number =>
  Math.min(operation.bodyBytesMax ?? Infinity, gatewayLimits.bodyBytesMax)

function contextOf(options: ExternalOptions, { caller, call }: Pick<Sought, "caller" | "call">): ReadContext {
  const { requestId, sourceAddress, signal } = call
  return {
    caller,
    account: caller.account,
    requestId,
    cause: requestId,
    depth: 0,
    signal,
    now: options.clock.now(),
    sql: options.database,
    ...(sourceAddress === undefined ? undefined : { sourceAddress }),
  }
}

function routedOf(options: ExternalOptions, sought: Sought, input: unknown): Routed {
  const { operation } = sought
  const run = (): never => {
    throw new Error(`${operation.name} is carried out elsewhere`)
  }
  const handler = { operation: operation.declaration, effect: operation.effect, run }
  return { handler, context: contextOf(options, sought), input }
}

interface Sought {
  readonly caller: Caller
  readonly operation: ExternalOperation
  readonly call: ExternalCall
  readonly service: ExternalService
  /** Of the path's fields. */
  readonly values: readonly string[]
}

/** A change that is refused goes on record. */
async function refuse(
  options: ExternalOptions,
  { caller, operation, call }: Sought,
  refusal: AppError,
): Promise<never> {
  if (operation.effect === "change") {
    await writeRefusalRecord(options.database, {
      caller,
      operation: operation.name,
      requestId: call.requestId,
      cause: call.requestId,
      depth: 0,
      sourceAddress: call.sourceAddress,
      inputDigest: digestOfCall(call),
      outcome: refusal.code,
    })
  }
  throw refusal
}
