import { permissionsOf } from "@signalbox/contracts/identity/roles"
import type { AnyOperation, Held, Reply } from "@signalbox/contracts/operation"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { findNearNames } from "@signalbox/kernel/near-names"
import type { Random } from "@signalbox/kernel/random"
import type { WebSocket } from "ws"
import type { Database } from "../storage/database.ts"
import { anonymousCaller } from "./anonymous-caller.ts"
import { digestOf } from "./call-digest.ts"
import { findChangeCausedBy, findReply, writeRefusalRecord } from "./change-record.ts"
import { assertNoTransaction, carryOutChange, idempotencyIdOf } from "./change-stage.ts"
import type { ExternalServices } from "./external-ports.ts"
import { admitExternal, type ExternalCall, type Passage } from "./external-stage.ts"
import { findRefusal } from "./find-refusal.ts"
import { followAnswer, type Started } from "./follow-stage.ts"
import { checkApproval, findHold, planRouted } from "./gate-stage.ts"
import type { Caller, Handler, ReadContext, StreamMessage, streamOpen } from "./handler.ts"
import type { GateFinder, HoldWishes } from "./gate-ports.ts"
import type {
  Authenticator,
  CallPlanner,
  OperationCaller,
  StandingCall,
  StandingCaller,
  StandingRecord,
  UseRecorder,
} from "./ports.ts"
import type { Routed } from "./routed.ts"
import type { RoutingMap } from "./routing-map.ts"
import type { Firing, RuleMatcher } from "./rule-ports.ts"
import { applyRules, isRuled, refuseDenied, type Ruled } from "./rule-stage.ts"
import { validateInput } from "./validate-input.ts"

/**
 * The one entry point. Every call, whoever makes it, passes the stages in `carryOut` in this order: route,
 * authenticate, authorize, validate, rules, gates (calendars, approvals), handler, record (events, audit, idempotency,
 * and the rules that follow, in the handler's transaction), use. Calls between services skip authentication, rules and
 * gates (D3), standing calls (a schedule's) skip authentication; a call that was held is only denied by rules, since all
 * else they demand of it was done when it was held. Nothing else is skipped.
 */

/** A call from outside: API, console, link, command line. */
export interface EdgeCall {
  readonly operation: string
  /** The raw input: checked here against the operation's schema. */
  readonly input: unknown
  readonly token?: string
  readonly idempotencyKey?: string
  readonly requestId: string
  readonly sourceAddress?: string
  readonly signal: AbortSignal
  /** What the caller wants where the call is held. */
  readonly wishes?: HoldWishes
}

export type RouterReply =
  | ({ readonly effect: "read"; readonly value: unknown } & RuleNotes)
  | ({ readonly effect: "change"; readonly reply: Reply<unknown>; readonly repeated: boolean } & RuleNotes)
  | { readonly effect: "stream"; readonly messages: AsyncIterable<StreamMessage<unknown> | typeof streamOpen> }
  | { readonly effect: "session"; readonly accept: (socket: WebSocket) => void }

/** What rules had to do with a call. */
interface RuleNotes {
  /** Those that rewrote it, or that it is held for. */
  readonly ruledBy?: readonly Firing[]
  /** Those that follow it: not in a reply that is given again. */
  readonly started?: Started
}

export interface RouterOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  /** The map in force; read once at the start of each call. */
  readonly map: () => RoutingMap
  /** All operations that exist, routed or not. */
  readonly operations: ReadonlyMap<string, AnyOperation>
  readonly authenticators: readonly Authenticator[]
  readonly rules: RuleMatcher
  readonly gates: GateFinder
  readonly uses: UseRecorder
  /** Left out, there is nothing outside. */
  readonly external?: ExternalServices
  /** Stands for a secret input in digests: the same for the same text, and nothing to guess it by. */
  readonly markSecretInput: (text: string) => string
}

export interface Router extends OperationCaller, StandingCaller, StandingRecord, CallPlanner {
  carryOut(call: EdgeCall): Promise<RouterReply>
  /** Lets a call to a service outside pass: whoever asked sends it on. @throws as `external-stage.ts` says */
  admit(call: ExternalCall): Promise<Passage>
  /** Who a token stands for, for the parts of the edge that are no operations (limits). */
  authenticate(token: string | undefined, sourceAddress: string | undefined): Promise<Caller>
}

const noFirings: readonly Firing[] = []
const idempotencyKeyPattern = /^[\x21-\x7e]{8,128}$/

export function createRouter(options: RouterOptions): Router {
  return {
    authenticate: (token, sourceAddress) => authenticate(options, token, sourceAddress),
    carryOut: (call) => carryOut(options, call),
    admit: (call) => admitExternal(options, (token, address) => authenticate(options, token, address), call),
    call: (operation, input, as) => callBetween(options, { operation, input, as }) as Promise<never>,
    callStanding: (call) => carryOutStanding(options, call),
    planCall: (call) => planStanding(options, call),
    findStandingChange: findChangeCausedBy,
    findStandingReply: (sql, { bodyHash, ...call }) => findReply(sql, { id: idempotencyIdOf(call), bodyHash }),
  }
}

async function authenticate(
  options: RouterOptions,
  token: string | undefined,
  sourceAddress: string | undefined,
): Promise<Caller> {
  if (!token) throw new AppError("identity.missing-credentials", "the call carries no bearer token")
  const now = options.clock.now()
  for (const authenticator of options.authenticators) {
    const caller = await authenticator.authenticate({ token, now, ...(sourceAddress ? { sourceAddress } : {}) })
    if (caller) return caller
  }
  throw new AppError("identity.invalid-credentials", "the bearer token is not known here")
}

async function carryOut(options: RouterOptions, call: EdgeCall): Promise<RouterReply> {
  const map = options.map()
  const caller =
    anonymousCaller(options.operations.get(call.operation), call.input) ??
    (await authenticate(options, call.token, call.sourceAddress))
  const handler = route(options, map, call.operation)
  const context: ReadContext = {
    caller,
    account: caller.account,
    requestId: call.requestId,
    cause: call.requestId,
    depth: 0,
    now: options.clock.now(),
    signal: call.signal,
    sql: options.database,
    ...(call.sourceAddress ? { sourceAddress: call.sourceAddress } : {}),
  }
  await authorize(options, handler, { context, rawInput: call.input })
  const routed: Routed = { handler, context, input: validateInput(handler.operation, call.input) }
  if (handler.effect !== "change") return answer(options, routed)
  return changeThroughGates(options, routed, {
    idempotencyKey: () => requireIdempotencyKey(call),
    wishes: call.wishes,
  })
}

/** How a change is to be carried out once, and what stands behind it. */
interface ChangeTerms {
  /** Asked for only where the change is carried out or held. */
  readonly idempotencyKey: () => string
  readonly wishes?: HoldWishes | undefined
  readonly approval?: StandingCall["approval"]
}

async function changeThroughGates(
  options: RouterOptions,
  routed: Routed,
  terms: ChangeTerms,
): Promise<Extract<RouterReply, { effect: "change" }>> {
  const { caller, now, requestId } = routed.context
  const operation = routed.handler.operation.name
  const ruled = await passGates(options, routed, terms)
  if (ruled.held) return { effect: "change", reply: ruled.held, repeated: false, ...notesOf(ruled) }
  const { value, repeated, started } = await carryOutChange(options, ruled.routed, {
    key: terms.idempotencyKey(),
    isFollowed: true,
    ...(terms.approval && { bodyHash: terms.approval.bodyHash, guard: terms.approval.guard }),
  })
  options.uses.record({ operation, caller, requestId, now })
  return {
    ...{ effect: "change", reply: { status: "done", value }, repeated, ...notesOf(ruled) },
    ...(started && { started }),
  }
}

/** Rules, then what holds calls. */
async function passGates(
  options: RouterOptions,
  routed: Routed,
  terms: ChangeTerms,
): Promise<Ruled & { readonly held?: Held }> {
  const isAsked = isRuled(options.rules, routed, "before")
  if (terms.approval) {
    if (isAsked) await refuseDenied(options, routed)
    await checkApproval(options, routed, terms.approval.digest)
    return { routed, by: noFirings }
  }
  const ruled: Ruled = isAsked ? await applyRules(options, routed) : { routed, by: noFirings }
  const held = await findHold(options, ruled.routed, { ...terms, demands: ruled.demands })
  return held ? { ...ruled, held } : ruled
}

function notesOf({ by }: Pick<Ruled, "by">): RuleNotes {
  return by.length > 0 ? { ruledBy: by } : {}
}

/** A call of origin `edge` whose caller is established already: nobody waits for it with a credential in hand. */
async function carryOutStanding(options: RouterOptions, call: StandingCall): Promise<Reply<unknown>> {
  const routed = await routeStanding(options, call)
  const { idempotencyKey, approval } = call
  return (await changeThroughGates(options, routed, { idempotencyKey: () => idempotencyKey, approval })).reply
}

/** Rules see it as they would see the call; what they want approved is told to whoever plans. */
async function planStanding(options: RouterOptions, call: Parameters<CallPlanner["planCall"]>[0]) {
  const routed = await routeStanding(options, call)
  const ruled = isRuled(options.rules, routed, "before") ? await applyRules(options, routed) : undefined
  return { ...(await planRouted(options, ruled?.routed ?? routed)), templates: ruled?.demands?.templates ?? [] }
}

async function routeStanding(
  options: RouterOptions,
  call: Omit<StandingCall, "idempotencyKey" | "approval">,
): Promise<Routed> {
  assertNoTransaction(call.operation)
  const { caller, cause, causedBy, depth } = call
  const handler = route(options, options.map(), call.operation)
  if (handler.effect !== "change")
    throw new AppError("request.invalid-input", `${call.operation} changes nothing, so it can't be called later`)
  const context: ReadContext = {
    caller,
    account: caller.account,
    requestId: newId("request", options.clock, options.random),
    cause,
    causedBy,
    depth,
    now: options.clock.now(),
    signal: new AbortController().signal,
    sql: options.database,
  }
  await authorize(options, handler, { context, rawInput: call.input })
  return { handler, context, input: validateInput(handler.operation, call.input) }
}

type CallBetween = Parameters<OperationCaller["call"]>

/** A call from one service to another: authorization and validation only (D3). */
async function callBetween(
  options: RouterOptions,
  { operation, input, as }: { operation: CallBetween[0]; input: unknown; as: CallBetween[2] },
): Promise<unknown> {
  assertNoTransaction(operation.name)
  const { clock, random, database } = options
  const handler = route(options, options.map(), operation.name)
  const requestId = newId("request", clock, random)
  const { account, roles } = as
  const permissions = permissionsOf(roles)
  const context: ReadContext = {
    caller: { account, principal: `system:${as.service}`, kind: "system", roles, permissions },
    account,
    requestId,
    cause: as.cause,
    ...(as.causedBy ? { causedBy: as.causedBy } : {}),
    depth: as.depth,
    now: clock.now(),
    signal: new AbortController().signal,
    sql: database,
  }
  await authorize(options, handler, { context, rawInput: input })
  const routed: Routed = { handler, context, input: validateInput(handler.operation, input) }
  if (handler.effect === "change") return (await carryOutChange(options, routed, as.once ?? {})).value
  assert(handler.effect === "read", `${operation.name} can't be called between services`)
  return handler.run(routed.input as never, context)
}

function route(options: RouterOptions, map: RoutingMap, name: string): Handler {
  const handler = map.handlers.get(name)
  if (handler) return handler
  if (options.operations.has(name))
    throw new AppError("routing.no-route", `the routing map has no service for "${name}"`)
  const near = findNearNames(name, options.operations.keys())
  const hint = near.length > 0 ? `; did you mean ${near.join(", ")}?` : ""
  throw new AppError("routing.unknown-operation", `there is no operation "${name.slice(0, 128)}"${hint}`, {
    details: { near },
  })
}

async function authorize(
  options: RouterOptions,
  handler: Handler,
  call: { readonly context: ReadContext; readonly rawInput: unknown },
): Promise<void> {
  const { operation } = handler
  const { context } = call
  const refusal = findRefusal(operation, context.caller)
  if (!refusal) return
  if (handler.effect === "change") {
    await writeRefusalRecord(options.database, {
      ...context,
      operation: operation.name,
      inputDigest: digestOf(options, operation, call.rawInput),
      outcome: refusal.code,
    })
  }
  throw refusal
}

async function answer(options: RouterOptions, asked: Routed): Promise<RouterReply> {
  const ruled = isRuled(options.rules, asked, "before") ? await applyRules(options, asked) : undefined
  const routed = ruled?.routed ?? asked
  const notes = ruled ? notesOf(ruled) : undefined
  const { handler, context, input } = routed
  switch (handler.effect) {
    case "read": {
      const value = await handler.run(input as never, context)
      const started = isRuled(options.rules, routed, "after") ? await followAnswer(options, routed, value) : undefined
      return { effect: "read", value, ...notes, ...(started && { started }) }
    }
    case "stream":
      return { effect: "stream", messages: handler.run(input as never, context) }
    case "session":
      return { effect: "session", accept: (socket) => handler.run(input as never, context, socket) }
    case "change":
      throw new Error("a change is carried out in a transaction")
  }
}

function requireIdempotencyKey(call: EdgeCall): string {
  const key = call.idempotencyKey
  if (key === undefined)
    throw new AppError(
      "request.idempotency-key-required",
      `${call.operation} changes something and needs an Idempotency-Key`,
    )
  if (!idempotencyKeyPattern.test(key))
    throw new AppError(
      "request.idempotency-key-required",
      "the Idempotency-Key must have 8 to 128 printable characters",
    )
  return key
}

/** The code and the words of any error, for the edges; a bug becomes `request.internal` without its details. */
export function toAppError(error: unknown): AppError {
  if (isAppError(error)) return error
  return new AppError("request.internal", "the call failed inside Signalbox", { cause: error })
}
