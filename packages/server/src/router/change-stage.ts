import { AsyncLocalStorage } from "node:async_hooks"
import { createHash } from "node:crypto"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { Database, Tx } from "../storage/database.ts"
import { digestOf, withoutSecrets } from "./call-digest.ts"
import { commitChangeRecord, findRepeated, isRepeatedKey, type IdempotencyKey } from "./change-record.ts"
import { followChange, type Started } from "./follow-stage.ts"
import type { ChangeContext, NewEvent } from "./handler.ts"
import type { StandingApproval } from "./ports.ts"
import type { Routed } from "./routed.ts"
import type { RuleMatcher } from "./rule-ports.ts"
import { isRuled } from "./rule-stage.ts"

/**
 * The stages of a changing call from its handler on: the idempotency key, the handler, its events, the audit record and
 * the idempotency record, in one transaction.
 */
export interface ChangeOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly markSecretInput: (text: string) => string
  readonly rules: RuleMatcher
}

export interface ChangeOnce {
  /** Left out, each call is one of its own: nobody can repeat it, so nothing is kept to know a repeat by. */
  readonly key?: string
  readonly bodyHash?: string
  readonly guard?: StandingApproval["guard"]
  /** Whether rules may follow it: not where a service calls another (D3). */
  readonly isFollowed?: boolean
}

export interface ChangeOutcome {
  readonly value: unknown
  readonly repeated: boolean
  readonly started?: Started
}

/** Set while a handler's transaction is open: a call from inside would wait for itself (D2). */
const openTransaction = new AsyncLocalStorage<string>()

const repeatedKeyRetriesMax = 1

export function assertNoTransaction(what: string): void {
  const open = openTransaction.getStore()
  assert(open === undefined, `${what} was called while the transaction of ${open} was open`)
}

export function idempotencyIdOf({
  account,
  principal,
  key,
}: {
  readonly account: string
  readonly principal: string
  readonly key: string
}): string {
  return createHash("sha256").update(`${account}\0${principal}\0${key}`).digest("hex")
}

/** Carries a change out, once under its key. */
export async function carryOutChange(options: ChangeOptions, routed: Routed, once: ChangeOnce): Promise<ChangeOutcome> {
  const { handler, context, input } = routed
  assert(handler.effect === "change", "only changes run in a transaction")
  const { key } = once
  const bodyHash = once.bodyHash ?? digestOf(options, handler.operation, routed.asked ?? input)
  const { account, caller } = context
  const idempotency =
    key === undefined ? undefined : { id: idempotencyIdOf({ account, principal: caller.principal, key }), bodyHash }
  const isFollowed = once.isFollowed === true
  await handler.prepare?.(input as never, context)
  for (let retry = 0; ; retry++) {
    const hints: Array<() => void | Promise<void>> = []
    try {
      const outcome = await options.database.transaction((tx) =>
        openTransaction.run(handler.operation.name, async () => {
          await once.guard?.(tx)
          return changeOnce(options, { ...routed, tx, idempotency, bodyHash, hints, isFollowed })
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
  readonly idempotency: IdempotencyKey | undefined
  readonly bodyHash: string
  readonly hints: Array<() => void | Promise<void>>
  readonly isFollowed: boolean
}

async function changeOnce(options: ChangeOptions, open: OpenChange): Promise<ChangeOutcome> {
  const { handler, tx, idempotency, hints } = open
  assert(handler.effect === "change", "only changes run in a transaction")
  const known = idempotency && (await findRepeated(tx, idempotency))
  if (known) return { value: known.response, repeated: true, ...(known.started && { started: known.started }) }
  const events: NewEvent[] = []
  const { sql: _, ...callContext } = open.context
  const context: ChangeContext = {
    ...callContext,
    tx,
    emit: (event) => void events.push(event),
    afterCommit: (hint) => void hints.push(hint),
  }
  const value = await handler.run(open.input as never, context)
  const response = withoutSecrets(handler.operation, value)
  const followed =
    open.isFollowed && isRuled(options.rules, open, "after") ? await followChange(options, open, response) : undefined
  const { asked } = open
  await commitChangeRecord(tx, {
    ...callContext,
    operation: handler.operation.name,
    inputDigest: asked === undefined ? open.bodyHash : digestOf(options, handler.operation, open.input),
    events: events.map((event) => ({ ...event, id: newId("event", options.clock, options.random) })),
    ...(followed && { followed: followed.event, started: followed.started }),
    idempotency,
    response,
  })
  return { value, repeated: false, ...(followed && { started: followed.started }) }
}
