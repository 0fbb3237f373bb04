import { permissionsOf } from "@signalbox/contracts/identity/roles"
import type { AnyOperation, Held, Reply } from "@signalbox/contracts/operation"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { Database } from "../storage/database.ts"
import { anonymousCaller } from "./anonymous-caller.ts"
import { authorize } from "./authorize.ts"
import { findChangeCausedBy, findReply } from "./change-record.ts"
import {
  assertNoTransaction,
  carryOutChange,
  idempotencyIdOf,
  type ChangeOnce,
  type ChangeOutcome,
} from "./change-stage.ts"
import type { ExternalServices } from "./external-ports.ts"
import { authenticate } from "./authenticate.ts"
import { admitExternal, type Admission, type ExternalCall } from "./external-stage.ts"
import { changeOutside, findSend } from "./external-change.ts"
import { findRoute } from "./find-route.ts"
import type { PartialFailure } from "./fan-out.ts"
import type { Elsewhere, ForwardedCall, ForwardedReply } from "./forwarded-call.ts"
import { followAnswer, type Started } from "./follow-stage.ts"
import { checkApproval, findHold, planRouted } from "./gate-stage.ts"
import type { Caller, OpenedSocket, ReadContext, StreamMessage, streamOpen } from "./handler.ts"
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
import { requireIdempotencyKey } from "./idempotency-key.ts"
import { answerElsewhere, changeElsewhere, isRemote } from "./remote-stage.ts"
import type { Routed } from "./routed.ts"
import type { RoutingMap } from "./routing-map.ts"
import type { Firing, OrLater, RuleMatcher } from "./rule-ports.ts"
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
  | ({ readonly effect: "read"; readonly value: unknown } & Notes)
  | ({ readonly effect: "change"; readonly reply: Reply<unknown>; readonly repeated: boolean } & Notes)
  | { readonly effect: "stream"; readonly messages: AsyncIterable<StreamMessage<unknown> | typeof streamOpen> }
  | { readonly effect: "session"; readonly accept: (opened: OpenedSocket) => void }

/** What rules had to do with a call, and which places of several did not carry it out. */
interface Notes {
  /** Those that rewrote it, or that it is held for. */
  readonly ruledBy?: readonly Firing[]
  /** Those that follow it. */
  readonly started?: Started
  readonly partial?: readonly PartialFailure[]
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
  readonly elsewhere: Elsewhere
  /** Stands for a secret input in digests: the same for the same text, and nothing to guess it by. */
  readonly markSecretInput: (text: string) => string
}

export interface Router extends OperationCaller, StandingCaller, StandingRecord, CallPlanner {
  carryOut(call: EdgeCall): Promise<RouterReply>
  /** Lets a call to a service outside pass, and whoever asked sends it on; or holds it. @throws as `external-stage.ts` says */
  admit(call: ExternalCall): OrLater<Admission>
  /** Carries out what another server has let through: permission and input are checked once more, nothing else. */
  carryOutForwarded(call: ForwardedCall): Promise<ForwardedReply>
  /** Who a token stands for, for the parts of the edge that are no operations (limits). */
  authenticate(token: string | undefined, sourceAddress: string | undefined): Promise<Caller>
}

const noFirings: readonly Firing[] = []

export function createRouter(options: RouterOptions): Router {
  return {
    authenticate: async (token, sourceAddress) => authenticate(options, token, sourceAddress),
    carryOut: (call) => carryOut(options, call),
    admit: (call) => admitExternal(options, (token, address) => authenticate(options, token, address), call),
    carryOutForwarded: (call) => carryOutForwarded(options, call),
    call: (operation, input, as) => callBetween(options, { operation, input, as }) as Promise<never>,
    callStanding: (call) => carryOutStanding(options, call),
    planCall: (call) => planStanding(options, call),
    findStandingChange: findChangeCausedBy,
    findStandingSend: findSend,
    findStandingReply: (sql, { bodyHash, ...call }) => findReply(sql, { id: idempotencyIdOf(call), bodyHash }),
  }
}

async function carryOut(options: RouterOptions, call: EdgeCall): Promise<RouterReply> {
  const map = options.map()
  const caller =
    anonymousCaller(options.operations.get(call.operation), call.input) ??
    (await authenticate(options, call.token, call.sourceAddress))
  const { account } = caller
  const found = findRoute(map, options, { name: call.operation, account })
  const { handler } = found
  const context: ReadContext = {
    ...{ caller, account },
    requestId: call.requestId,
    cause: call.requestId,
    depth: 0,
    now: options.clock.now(),
    signal: call.signal,
    sql: options.database,
    ...(call.sourceAddress ? { sourceAddress: call.sourceAddress } : {}),
  }
  await authorize(options, found, { context, rawInput: call.input })
  const routed: Routed = { ...found, context, input: validateInput(handler.operation, call.input) }
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
  readonly rule?: StandingCall["rule"]
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
  const { value, repeated, started, partial } = await perform(options, ruled.routed, {
    key: terms.idempotencyKey(),
    isFollowed: true,
    ...(terms.approval && { bodyHash: terms.approval.bodyHash, approval: terms.approval }),
  })
  options.uses.record({ operation, caller, requestId, now })
  return {
    ...{ effect: "change", reply: { status: "done", value }, repeated, ...notesOf(ruled) },
    ...(started && { started }),
    ...(partial && { partial }),
  }
}

type Once = Omit<ChangeOnce, "guard"> & { readonly approval?: StandingCall["approval"] }

/** Carries a change out where the map sends it. */
async function perform(
  options: RouterOptions,
  routed: Routed,
  { approval, ...once }: Once,
): Promise<ChangeOutcome & Pick<Notes, "partial">> {
  const guard = approval?.guard
  const { outside } = routed
  if (outside) {
    assert(once.key !== undefined, "whoever calls a service outside has a key")
    const shown = { key: once.key, ...(guard && { guard }), ...(approval && { upstreamKey: approval.request }) }
    return changeOutside(options, { ...routed, outside }, { ...once, ...shown })
  }
  const here = () => carryOutChange(options, routed, { ...once, ...(guard && { guard }) })
  if (!isRemote(routed)) return here()
  // Another installation knows nothing of the request, so all that can be asked is whether it still stands just before.
  if (guard && routed.remote.targets.some((to) => to?.hasOwnState)) await options.database.transaction(guard)
  return changeElsewhere(options, routed, { once: { ...once, ...(approval && { approval }) }, here })
}

async function carryOutForwarded(options: RouterOptions, call: ForwardedCall): Promise<ForwardedReply> {
  const { caller, once, operation: name, input: sent, ...rest } = call
  const { account } = caller
  const { handler, remote } = findRoute(options.map(), { operations: options.operations }, { name, account })
  // It goes on to no other place: whatever the maps of two servers say, no call runs in a circle.
  if (remote && !remote.targets.includes(undefined))
    throw new AppError("routing.not-served-here", `the routing map of this server sends "${name}" elsewhere`)
  const context: ReadContext = {
    ...rest,
    ...{ caller, account },
    now: options.clock.now(),
    sql: options.database,
  }
  await authorize(options, { handler }, { context, rawInput: sent })
  const input = validateInput(handler.operation, sent)
  if (handler.effect === "read") return { value: await handler.run(input as never, context), repeated: false }
  if (!once) throw new AppError("routing.call-refused", `the call of another server is refused: "${name}" has no key`)
  const { asked, approvalRequest: request, messages, ...terms } = once
  const { guards } = options.elsewhere
  return carryOutChange(
    options,
    { handler, context, input, ...(asked !== undefined && { asked }), ...(messages && { messages }) },
    {
      ...terms,
      ...(request && { guard: (tx) => guards.checkApproved(tx, { account, requestId: request }) }),
    },
  )
}

/** Rules, then what holds calls. */
async function passGates(
  options: RouterOptions,
  routed: Routed,
  terms: ChangeTerms,
): Promise<Ruled & { readonly held?: Held }> {
  const isAsked = isRuled(options.rules, routed, "before")
  if (terms.approval) {
    const allowed = isAsked ? await refuseDenied(options, routed) : routed
    await checkApproval(options, routed, terms.approval.digest)
    return { routed: allowed, by: noFirings }
  }
  const ruled: Ruled = isAsked ? await applyRules(options, routed) : { routed, by: noFirings }
  const held = await findHold(options, ruled.routed, { ...terms, demands: ruled.demands })
  return held ? { ...ruled, held } : ruled
}

function notesOf({ by }: Pick<Ruled, "by">): Pick<Notes, "ruledBy"> {
  return by.length > 0 ? { ruledBy: by } : {}
}

/** A call of origin `edge` whose caller is established already: nobody waits for it with a credential in hand. */
async function carryOutStanding(options: RouterOptions, call: StandingCall): Promise<Reply<unknown>> {
  const routed = await routeStanding(options, call)
  const { idempotencyKey, approval, rule } = call
  return (await changeThroughGates(options, routed, { idempotencyKey: () => idempotencyKey, approval, rule })).reply
}

/** Rules see it as they would see the call; what they want approved is told to whoever plans. */
async function planStanding(options: RouterOptions, call: Parameters<CallPlanner["planCall"]>[0]) {
  const routed = await routeStanding(options, call)
  const ruled = isRuled(options.rules, routed, "before") ? await applyRules(options, routed) : undefined
  return { ...(await planRouted(options, ruled?.routed ?? routed)), templates: ruled?.demands?.templates ?? [] }
}

async function routeStanding(
  options: RouterOptions,
  call: Omit<StandingCall, "idempotencyKey" | "approval" | "rule">,
): Promise<Routed> {
  assertNoTransaction(call.operation)
  const { caller, cause, causedBy, depth } = call
  const { account } = caller
  const found = findRoute(options.map(), options, { name: call.operation, account })
  const { handler } = found
  if (handler.effect !== "change")
    throw new AppError("request.invalid-input", `${call.operation} changes nothing, so it can't be called later`)
  const context: ReadContext = {
    ...{ caller, account },
    requestId: newId("request", options.clock, options.random),
    cause,
    causedBy,
    depth,
    now: options.clock.now(),
    signal: new AbortController().signal,
    sql: options.database,
  }
  await authorize(options, found, { context, rawInput: call.input })
  return { ...found, context, input: validateInput(handler.operation, call.input) }
}

type CallBetween = Parameters<OperationCaller["call"]>

/** A call from one service to another: authorization and validation only (D3). */
async function callBetween(
  options: RouterOptions,
  { operation, input, as }: { operation: CallBetween[0]; input: unknown; as: CallBetween[2] },
): Promise<unknown> {
  assertNoTransaction(operation.name)
  const { clock, random, database } = options
  const { account, roles } = as
  const found = findRoute(options.map(), options, { name: operation.name, account })
  const { handler } = found
  const requestId = newId("request", clock, random)
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
  await authorize(options, found, { context, rawInput: input })
  const routed: Routed = { ...found, context, input: validateInput(handler.operation, input) }
  if (handler.effect === "change") return (await perform(options, routed, as.once ?? {})).value
  return (await read(options, routed)).value
}

/** Answers a read where the map sends it. */
async function read(options: RouterOptions, routed: Routed): Promise<{ value: unknown } & Pick<Notes, "partial">> {
  const here = ({ handler, input, context }: Routed): Promise<unknown> => {
    assert(handler.effect === "read", `${handler.operation.name} can't be called between services`)
    return handler.run(input as never, context)
  }
  return isRemote(routed) ? answerElsewhere(options, routed, here) : { value: await here(routed) }
}

async function answer(options: RouterOptions, asked: Routed): Promise<RouterReply> {
  const ruled = isRuled(options.rules, asked, "before") ? await applyRules(options, asked) : undefined
  const routed = ruled?.routed ?? asked
  const notes = ruled ? notesOf(ruled) : undefined
  const { handler, context, input } = routed
  switch (handler.effect) {
    case "read": {
      const { value, partial } = await read(options, routed)
      const { caller, requestId, now } = context
      if (routed.outside) options.uses.record({ operation: handler.operation.name, caller, requestId, now })
      const started = isRuled(options.rules, routed, "after") ? await followAnswer(options, routed, value) : undefined
      return { effect: "read", value, ...notes, ...(started && { started }), ...(partial && { partial }) }
    }
    case "stream":
      return { effect: "stream", messages: handler.run(input as never, context) }
    case "session":
      return { effect: "session", accept: (opened) => handler.run(input as never, context, opened) }
    case "change":
      throw new Error("a change is carried out in a transaction")
  }
}

/** The code and the words of any error, for the edges; a bug becomes `request.internal` without its details. */
export function toAppError(error: unknown): AppError {
  if (isAppError(error)) return error
  return new AppError("request.internal", "the call failed inside Signalbox", { cause: error })
}
