import { createHash } from "node:crypto"
import { gatewayLimits } from "@signalbox/contracts/gateway/operations"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { ErrorCode } from "@signalbox/kernel/error-catalogue"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import { setTimeout as delay } from "node:timers/promises"
import type { Database, Sql, Tx } from "../storage/database.ts"
import { digestOf } from "./call-digest.ts"
import { commitChangeRecord, findRepeated, findReply, writeRefusalRecord } from "./change-record.ts"
import { assertNoTransaction, idempotencyIdOf, type ChangeOnce, type ChangeOutcome } from "./change-stage.ts"
import {
  endExternalCall,
  findExternalCall,
  lockExternalCall,
  markOutcomeUnknown,
  putExternalCall,
  type ExternalCallRow,
  type FoundCall,
} from "./external-call-store.ts"
import type {
  ExternalInput,
  ExternalOperation,
  ExternalReply,
  ExternalRequest,
  ExternalServices,
  FoundExternal,
} from "./external-ports.ts"
import { requestOf } from "./external-request.ts"
import { followChange } from "./follow-stage.ts"
import type { ReadContext } from "./handler.ts"
import type { Routed } from "./routed.ts"
import type { RuleMatcher } from "./rule-ports.ts"
import { isRuled } from "./rule-stage.ts"

/**
 * Carries out a change that a service outside makes. What it does there and what is written here can't commit together, so a
 * row says before the call that it is sent, and goes when what came of it is on record. Whoever finds the row of a dead server
 * knows that nobody knows: the call is sent again only where its operation is declared to bear that.
 */
export interface OutsideOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly markSecretInput: (text: string) => string
  readonly rules: RuleMatcher
  readonly external?: Pick<ExternalServices, "serverId">
}

export interface OutsideRouted extends Routed {
  readonly outside: FoundExternal
}

export interface OutsideOnce extends Pick<ChangeOnce, "bodyHash" | "guard" | "isFollowed"> {
  readonly key: string
  /** Left out, the service is shown the call's own key. */
  readonly upstreamKey?: string
}

/** Beyond what a call may take: until its end is written down. */
const settleMilliseconds = 60_000
const settleTriesMax = 5
const settleWaitMilliseconds = 500

/** What is to be done about a call, by the row and the reply under its key. Pure. */
export function decideSend(
  found: FoundCall | undefined,
  { bodyHash, retrySafe }: { readonly bodyHash: string; readonly retrySafe: boolean },
): "send" | "in-flight" | "reused" | "unknown" {
  if (!found) return "send"
  if (found.bodyHash !== bodyHash) return "reused"
  if (found.isUnderWay) return "in-flight"
  return retrySafe ? "send" : "unknown"
}

/**
 * @throws request.idempotency-in-flight, request.idempotency-key-reused, gateway.outcome-unknown, gateway.unanswered,
 * gateway.service-refused, gateway.service-failed, gateway.service-unavailable, and what `ExternalService.send` throws where
 * nothing was sent
 */
export async function changeOutside(
  options: OutsideOptions,
  routed: OutsideRouted,
  once: OutsideOnce,
): Promise<ChangeOutcome> {
  const { handler, context, input, outside } = routed
  assertNoTransaction(handler.operation.name)
  const request = requestOf(outside.operation, input as ExternalInput)
  const { account, caller } = context
  const bodyHash = once.bodyHash ?? digestOf(options, handler.operation, routed.asked ?? input)
  const row: ExternalCallRow = {
    id: idempotencyIdOf({ account, principal: caller.principal, key: once.key }),
    ...{ account, principal: caller.principal, operation: handler.operation.name, bodyHash },
    ...{ upstreamKey: once.upstreamKey ?? once.key, requestId: context.requestId, cause: context.cause },
    ...{ causedBy: context.causedBy ?? null, sourceAddress: context.sourceAddress ?? null },
  }
  const sending: Sending = { routed, row, isFollowed: once.isFollowed === true }
  const known = await begin(options, sending, once.guard)
  if (known) return { value: known.response, repeated: true }
  const reply = await send(options, sending, request)
  return settle(options, sending, reply)
}

/** What `StandingRecord.findStandingSend` says. */
export async function findSend(
  sql: Sql,
  call: Parameters<typeof idempotencyIdOf>[0],
): Promise<"under-way" | "unknown" | undefined> {
  const found = await findExternalCall(sql, idempotencyIdOf(call))
  return found && (found.isUnderWay ? "under-way" : "unknown")
}

interface Sending {
  readonly routed: OutsideRouted
  readonly row: ExternalCallRow
  readonly isFollowed: boolean
}

/** Writes down that the call is about to be sent; gives the reply that its key has already. */
async function begin(
  options: OutsideOptions,
  { routed, row }: Sending,
  guard: ChangeOnce["guard"],
): Promise<{ readonly response: unknown } | undefined> {
  const { retrySafe } = routed.outside.operation
  const begun = await options.database.transaction(async (tx) => {
    await guard?.(tx)
    const known = await findRepeated(tx, { id: row.id, bodyHash: row.bodyHash })
    if (known) return { kind: "known", response: known.response } as const
    const found = await lockExternalCall(tx, row.id)
    const kind = decideSend(found, { bodyHash: row.bodyHash, retrySafe })
    if (kind === "send") {
      const milliseconds = gatewayLimits.callMillisecondsMax + settleMilliseconds
      const upstreamKey = found?.upstreamKey ?? row.upstreamKey
      const { serverId: server } = options.external ?? {}
      assert(server !== undefined, "there are services outside")
      await putExternalCall(tx, { ...row, upstreamKey }, { server, milliseconds })
    }
    return { kind } as const
  })
  switch (begun.kind) {
    case "known":
      return begun
    case "send":
      return undefined
    case "in-flight":
      throw new AppError("request.idempotency-in-flight", "a call with this Idempotency-Key is still running")
    case "reused":
      throw new AppError("request.idempotency-key-reused", "this Idempotency-Key was used for another call")
    case "unknown":
      throw outcomeUnknown(row.operation)
  }
}

const outcomeUnknown = (operation: string, cause?: unknown): AppError =>
  new AppError("gateway.outcome-unknown", `${operation} was sent, and nobody knows what came of it`, { cause })

/** Those after which it is not known whether the service did what was asked. */
const unknownCodes: ReadonlySet<string> = new Set(["gateway.upstream-failed", "gateway.upstream-timeout"])

async function send(options: OutsideOptions, sending: Sending, request: ExternalRequest): Promise<ExternalReply> {
  const { row, routed } = sending
  const { service, operation } = routed.outside
  const headers = [...withStory(request, routed.context), ["idempotency-key", row.upstreamKey] as const]
  try {
    // Whoever called may be gone: what is sent is seen through.
    const signal = new AbortController().signal
    return await service.send({ ...request, headers }, { signal, mayRepeat: false })
  } catch (error) {
    if (isAppError(error) && !unknownCodes.has(error.code)) {
      await insist((tx) => endExternalCall(tx, row), options)
      throw error
    }
    await insist((tx) => recordUnknown(tx, row), options)
    if (!operation.retrySafe) throw outcomeUnknown(row.operation, error)
    throw new AppError("gateway.unanswered", `${service.name} did not reply to ${row.operation}`, { cause: error })
  }
}

/** The row becomes `unknown`, and the audit record says so of the call that was sent. */
export async function recordUnknown(tx: Tx, row: ExternalCallRow): Promise<void> {
  if (await markOutcomeUnknown(tx, row)) await tellUnknown(tx, row)
}

export function tellUnknown(tx: Tx, row: ExternalCallRow): Promise<void> {
  return tellRefusal(tx, row, "gateway.outcome-unknown")
}

function tellRefusal(tx: Tx, row: ExternalCallRow, outcome: string): Promise<void> {
  return writeRefusalRecord(tx, {
    caller: { account: row.account, principal: row.principal, kind: "system", roles: [], permissions: new Set() },
    ...{ operation: row.operation, requestId: row.requestId, cause: row.cause, depth: 0 },
    ...(row.sourceAddress === null ? {} : { sourceAddress: row.sourceAddress }),
    ...{ inputDigest: row.bodyHash, subject: row.requestId, outcome },
  })
}

/** Writes down what came of the call, and takes its row away. */
async function settle(options: OutsideOptions, sending: Sending, reply: ExternalReply): Promise<ChangeOutcome> {
  const { routed, row } = sending
  const refusal = refusalOf(routed.outside, reply)
  const outcome = await insist(async (tx) => {
    if (!(await endExternalCall(tx, row))) return settled(tx, row)
    if (!refusal) return recordDone(options, tx, { ...sending, reply })
    await tellRefusal(tx, row, refusal.code)
    return undefined
  }, options)
  if (refusal) throw refusal
  assert(outcome, "what was not refused was done")
  return outcome
}

/** The connection may have been lost at the commit; else somebody gave this server up, and what they said stays. */
async function settled(tx: Tx, row: ExternalCallRow): Promise<ChangeOutcome> {
  const known = await findReply(tx, row)
  if (known) return { value: known.value, repeated: false }
  throw outcomeUnknown(row.operation)
}

async function recordDone(
  options: OutsideOptions,
  tx: Tx,
  { routed, row, isFollowed, reply }: Sending & { readonly reply: ExternalReply },
): Promise<ChangeOutcome> {
  const { sql: _, ...callContext } = routed.context
  const followed =
    isFollowed && isRuled(options.rules, routed, "after") ? await followChange(options, routed, reply) : undefined
  await commitChangeRecord(tx, {
    ...callContext,
    operation: row.operation,
    inputDigest: routed.asked === undefined ? row.bodyHash : digestOf(options, routed.handler.operation, routed.input),
    subject: row.requestId,
    events: [],
    ...(followed && { followed: followed.event }),
    idempotency: { id: row.id, bodyHash: row.bodyHash },
    response: reply,
  })
  return { value: reply, repeated: false, ...(followed && { started: followed.started }) }
}

/** What the service said no to; undefined where it did what was asked. */
export function refusalOf(
  { service, operation }: FoundExternal,
  reply: Pick<ExternalReply, "status">,
): AppError | undefined {
  const { status } = reply
  const code = codeOfStatus(operation, status)
  return code && new AppError(code, `${service.name} answered ${operation.name} with ${status}`, { details: { reply } })
}

/** Undefined where a status says that the service did what was asked. Pure. */
export function codeOfStatus(
  { effect, retrySafe }: Pick<ExternalOperation, "effect" | "retrySafe">,
  status: number,
): ErrorCode | undefined {
  if (status < 400) return undefined
  const mayRepeat = effect === "read" || retrySafe
  if (status === 429 || status === 503 || (status >= 500 && mayRepeat)) return "gateway.service-unavailable"
  return status >= 500 ? "gateway.service-failed" : "gateway.service-refused"
}

/** The story goes on in the service: one trace for all calls of one cause. */
export function withStory({ headers }: ExternalRequest, context: ReadContext): ExternalRequest["headers"] {
  const { cause, requestId, account, caller, depth } = context
  const isTraced = headers.some(([name]) => name === "traceparent")
  const hash = (text: string, length: number): string =>
    createHash("sha256").update(text).digest("hex").slice(0, length)
  return [
    ...headers,
    ...(isTraced ? [] : [["traceparent", `00-${hash(cause, 32)}-${hash(requestId, 16)}-01`] as const]),
    ["x-request-id", requestId],
    ["signalbox-cause", cause],
    ["signalbox-depth", String(depth)],
    ["signalbox-account", account],
    ["signalbox-principal", caller.principal],
  ]
}

/** What is known of a call that was sent is written down even where the database is away for a moment. */
async function insist<T>(write: (tx: Tx) => Promise<T>, { database }: OutsideOptions): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await database.transaction(write)
    } catch (error) {
      if (isAppError(error) && error.code === "gateway.outcome-unknown") throw error
      if (tries >= settleTriesMax) throw error
      await delay(settleWaitMilliseconds * tries)
    }
  }
}
