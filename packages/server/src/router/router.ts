import { AsyncLocalStorage } from "node:async_hooks"
import { createHash } from "node:crypto"
import { permissionsOf } from "@signalbox/contracts/identity/roles"
import type { AnyOperation, Reply } from "@signalbox/contracts/operation"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { findNearNames } from "@signalbox/kernel/near-names"
import type { Random } from "@signalbox/kernel/random"
import type { WebSocket } from "ws"
import type { Database, Tx } from "../storage/database.ts"
import {
  claimIdempotencyKey,
  isRepeatedKey,
  writeChangeRecord,
  writeRefusalRecord,
  findChangeCausedBy,
  findReply,
} from "./change-record.ts"
import { anonymousCaller } from "./anonymous-caller.ts"
import { digestOf, withoutSecrets } from "./call-digest.ts"
import { findRefusal } from "./find-refusal.ts"
import { checkApproval, findHold, planRouted } from "./gate-stage.ts"
import type { Caller, ChangeContext, Handler, NewEvent, ReadContext, StreamMessage, streamOpen } from "./handler.ts"
import type { GateFinder, HoldWishes } from "./gate-ports.ts"
import type {
  Authenticator,
  CallPlanner,
  OperationCaller,
  StandingApproval,
  StandingCall,
  StandingCaller,
  StandingRecord,
  UseRecorder,
} from "./ports.ts"
import { refuseUnstorable } from "./storable-text.ts"
import type { Routed } from "./routed.ts"
import type { RoutingMap } from "./routing-map.ts"

/**
 * The one entry point. Every call, whoever makes it, passes the stages in `carryOut` in this order: route,
 * authenticate, authorize, validate, gates (rules, calendars, approvals), handler, record (events, audit, idempotency
 * in the handler's transaction), use. Calls between services skip authentication and gates (D3), standing calls (a
 * schedule's) skip authentication; nothing else is skipped.
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
  | { readonly effect: "read"; readonly value: unknown }
  | { readonly effect: "change"; readonly reply: Reply<unknown>; readonly repeated: boolean }
  | { readonly effect: "stream"; readonly messages: AsyncIterable<StreamMessage<unknown> | typeof streamOpen> }
  | { readonly effect: "session"; readonly accept: (socket: WebSocket) => void }

export interface RouterOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  /** The map in force; read once at the start of each call. */
  readonly map: () => RoutingMap
  /** All operations that exist, routed or not. */
  readonly operations: ReadonlyMap<string, AnyOperation>
  readonly authenticators: readonly Authenticator[]
  readonly gates: GateFinder
  readonly uses: UseRecorder
  /** Stands for a secret input in digests: the same for the same text, and nothing to guess it by. */
  readonly markSecretInput: (text: string) => string
}

export interface Router extends OperationCaller, StandingCaller, StandingRecord, CallPlanner {
  carryOut(call: EdgeCall): Promise<RouterReply>
  /** Who a token stands for, for the parts of the edge that are no operations (limits). */
  authenticate(token: string | undefined, sourceAddress: string | undefined): Promise<Caller>
}

/** Set while a handler's transaction is open: a call from inside would wait for itself (D2). */
const openTransaction = new AsyncLocalStorage<string>()

const idempotencyKeyPattern = /^[\x21-\x7e]{8,128}$/
const repeatedKeyRetriesMax = 1

export function createRouter(options: RouterOptions): Router {
  return {
    authenticate: (token, sourceAddress) => authenticate(options, token, sourceAddress),
    carryOut: (call) => carryOut(options, call),
    call: (operation, input, as) => callBetween(options, { operation, input, as }) as Promise<never>,
    callStanding: (call) => carryOutStanding(options, call),
    planCall: async (call) => planRouted(options, await routeStanding(options, call)),
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
  const routed: Routed = { handler, context, input: validate(handler.operation, call.input) }
  if (handler.effect !== "change") return answer(routed)
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
  if (terms.approval) {
    await checkApproval(options, routed, terms.approval.digest)
  } else {
    const held = await findHold(options, routed, terms)
    if (held) return { effect: "change", reply: held, repeated: false }
  }
  const outcome = await change(options, routed, {
    key: terms.idempotencyKey(),
    ...(terms.approval && { bodyHash: terms.approval.bodyHash, guard: terms.approval.guard }),
  })
  options.uses.record({ operation, caller, requestId, now })
  return { effect: "change", reply: { status: "done", value: outcome.value }, repeated: outcome.repeated }
}

/** A call of origin `edge` whose caller is established already: nobody waits for it with a credential in hand. */
async function carryOutStanding(options: RouterOptions, call: StandingCall): Promise<Reply<unknown>> {
  const routed = await routeStanding(options, call)
  const { idempotencyKey, approval } = call
  return (await changeThroughGates(options, routed, { idempotencyKey: () => idempotencyKey, approval })).reply
}

async function routeStanding(
  options: RouterOptions,
  call: Omit<StandingCall, "idempotencyKey" | "approval">,
): Promise<Routed> {
  assert(openTransaction.getStore() === undefined, `${call.operation} was called while a transaction was open`)
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
  return { handler, context, input: validate(handler.operation, call.input) }
}

type CallBetween = Parameters<OperationCaller["call"]>

/** A call from one service to another: authorization and validation only (D3). */
async function callBetween(
  options: RouterOptions,
  { operation, input, as }: { operation: CallBetween[0]; input: unknown; as: CallBetween[2] },
): Promise<unknown> {
  assert(openTransaction.getStore() === undefined, `a handler called ${operation.name} while its transaction was open`)
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
  const routed: Routed = { handler, context, input: validate(handler.operation, input) }
  if (handler.effect === "change") return (await change(options, routed, as.once ?? { key: requestId })).value
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

function validate(operation: AnyOperation, input: unknown): unknown {
  const result = operation.input.safeParse(input ?? {})
  if (result.success) {
    refuseUnstorable(result.data)
    return result.data
  }
  const issues = result.error.issues
    .slice(0, 50)
    .map((issue) => ({ path: issue.path.join("."), message: issue.message }))
  const first = issues[0]
  throw new AppError(
    "request.invalid-input",
    `${operation.name}: ${first?.path ? `${first.path}: ` : ""}${first?.message ?? "invalid input"}`,
    { issues },
  )
}

async function answer({ handler, context, input }: Routed): Promise<RouterReply> {
  switch (handler.effect) {
    case "read":
      return { effect: "read", value: await handler.run(input as never, context) }
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

const idempotencyIdOf = ({ account, principal, key }: { account: string; principal: string; key: string }): string =>
  createHash("sha256").update(`${account}\0${principal}\0${key}`).digest("hex")

async function change(
  options: RouterOptions,
  routed: Routed,
  once: { readonly key: string; readonly bodyHash?: string; readonly guard?: StandingApproval["guard"] },
): Promise<{ value: unknown; repeated: boolean }> {
  const { handler, context, input } = routed
  assert(handler.effect === "change", "only changes run in a transaction")
  const idempotency = {
    id: idempotencyIdOf({ account: context.account, principal: context.caller.principal, key: once.key }),
    bodyHash: once.bodyHash ?? digestOf(options, handler.operation, input),
  }
  await handler.prepare?.(input as never, context)
  for (let retry = 0; ; retry++) {
    const hints: Array<() => void | Promise<void>> = []
    try {
      const outcome = await options.database.transaction((tx) =>
        openTransaction.run(handler.operation.name, async () => {
          await once.guard?.(tx)
          return changeOnce(options, { ...routed, tx, idempotency, hints })
        }),
      )
      await Promise.all(hints.map(async (hint) => hint()))
      return outcome
    } catch (error) {
      if (retry >= repeatedKeyRetriesMax || !isRepeatedKey(error)) throw error
    }
  }
}

interface OpenChange extends Routed {
  readonly tx: Tx
  readonly idempotency: { readonly id: string; readonly bodyHash: string }
  readonly hints: Array<() => void | Promise<void>>
}

async function changeOnce(options: RouterOptions, open: OpenChange): Promise<{ value: unknown; repeated: boolean }> {
  const { handler, tx, idempotency, hints } = open
  assert(handler.effect === "change", "only changes run in a transaction")
  const state = await claimIdempotencyKey(tx, idempotency.id)
  if (state.kind === "in-flight")
    throw new AppError("request.idempotency-in-flight", "a call with this Idempotency-Key is still running")
  if (state.kind === "known") {
    if (state.bodyHash === idempotency.bodyHash) return { value: state.response, repeated: true }
    throw new AppError("request.idempotency-key-reused", "this Idempotency-Key was used for another call")
  }
  const events: NewEvent[] = []
  const { sql: _, ...callContext } = open.context
  const context: ChangeContext = {
    ...callContext,
    tx,
    emit: (event) => void events.push(event),
    afterCommit: (hint) => void hints.push(hint),
  }
  const value = await handler.run(open.input as never, context)
  await writeChangeRecord(tx, {
    ...callContext,
    operation: handler.operation.name,
    inputDigest: idempotency.bodyHash,
    events: events.map((event) => ({ ...event, id: newId("event", options.clock, options.random) })),
    idempotency,
    response: withoutSecrets(handler.operation, value),
  })
  return { value, repeated: false }
}

/** The code and the words of any error, for the edges; a bug becomes `request.internal` without its details. */
export function toAppError(error: unknown): AppError {
  if (isAppError(error)) return error
  return new AppError("request.internal", "the call failed inside Signalbox", { cause: error })
}
