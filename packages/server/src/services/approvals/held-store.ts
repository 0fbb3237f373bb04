/** Held operations as rows. A terminal state never changes, and the sealed input goes with it. */
import type { RequestStateName } from "@signalbox/approvals/types"
import type { RoleName } from "@signalbox/contracts/identity/roles"
import type { heldStates } from "@signalbox/contracts/approvals/held-operations"
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"

export type HeldState = (typeof heldStates)[number]

export interface NewHeldOperation {
  readonly requestId: string
  readonly account: string
  readonly operation: string
  readonly sealed: string
  readonly principal: string
  readonly author: string | null
  /** The tag query that the caller was narrowed to. */
  readonly nodes: string | null
  readonly roles: readonly RoleName[]
  readonly idempotencyKey: string
  readonly bodyHash: string
  readonly notBefore: number | null
  readonly window: string | null
  readonly breakGlass: string | null
  /** Closed calendars whose approvers were asked too, or that the call skips. */
  readonly calendars: readonly string[]
  readonly createdAt: number
}

export interface HeldRow extends Omit<NewHeldOperation, "sealed"> {
  /** Null once it has ended. */
  readonly sealed: string | null
  readonly state: HeldState
  readonly calledAt: number | null
  readonly result: unknown
  readonly errorCode: string | null
  readonly errorMessage: string | null
  readonly ranAt: number | null
  /** Of its request. */
  readonly digest: string
  readonly revision: number
  readonly requestState: RequestStateName
  readonly requestVersion: number
  /** Names joined by `+`; null where nobody is asked. */
  readonly template: string | null
  readonly attributes: Readonly<Record<string, string>>
  readonly cause: string
  readonly depth: number
}

const columns = `h.request_id as "requestId", h.account, h.operation, h.sealed, h.principal, h.author, h.nodes, h.roles,
  h.idempotency_key as "idempotencyKey", h.body_hash as "bodyHash", h.not_before as "notBefore",
  h.window_name as "window", h.break_glass as "breakGlass", h.calendars, h.state, h.called_at as "calledAt", h.result,
  h.error_code as "errorCode", h.error_message as "errorMessage", h.created_at as "createdAt", h.ran_at as "ranAt",
  r.digest, r.revision, r.state as "requestState", r.state_data #>> '{template,name}' as template,
  r.version as "requestVersion", r.attributes, r.cause, r.depth`

export async function insertHeld(tx: Tx, held: NewHeldOperation): Promise<void> {
  await tx.query(
    `insert into held_operations (request_id, account, operation, sealed, principal, author, roles, idempotency_key,
       body_hash, not_before, window_name, break_glass, state, created_at, calendars, nodes)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, to_timestamp($10 / 1000.0), $11, $12, 'waiting',
       to_timestamp($13 / 1000.0), $14, $15)`,
    [
      held.requestId,
      held.account,
      held.operation,
      held.sealed,
      held.principal,
      held.author,
      held.roles,
      held.idempotencyKey,
      held.bodyHash,
      held.notBefore,
      held.window,
      held.breakGlass,
      held.createdAt,
      held.calendars,
      held.nodes,
    ],
  )
}

export async function findHeld(sql: Sql, account: string, requestId: string): Promise<HeldRow | undefined> {
  const [row] = await sql.query<HeldRow>(
    `select ${columns} from held_operations h join approval_requests r on r.id = h.request_id
     where h.account = $1 and h.request_id = $2`,
    [account, requestId],
    { name: "approvals-find-held" },
  )
  return row
}

/** Another input for a call that still waits; false where it waits no more. */
export async function replaceHeldInput(
  tx: Tx,
  { account, requestId, sealed, bodyHash }: Pick<NewHeldOperation, "account" | "requestId" | "sealed" | "bodyHash">,
): Promise<boolean> {
  const rows = await tx.query(
    `update held_operations set sealed = $3, body_hash = $4
     where account = $1 and request_id = $2 and state = 'waiting' returning 1`,
    [account, requestId, sealed, bodyHash],
  )
  return rows.length > 0
}

export async function markApproved(sql: Sql, account: string, requestId: string): Promise<void> {
  await sql.query(
    `update held_operations set state = 'approved' where account = $1 and request_id = $2 and state = 'waiting'`,
    [account, requestId],
  )
}

/** Before the call: whoever finds this mark asks first whether the call was carried out. */
export async function markCalled(sql: Sql, held: HeldRow, now: number): Promise<void> {
  await sql.query(
    `update held_operations set called_at = coalesce(called_at, to_timestamp($3 / 1000.0))
     where account = $1 and request_id = $2 and state = 'approved'`,
    [held.account, held.requestId, now],
  )
}

/**
 * Whether the call still waits to be run, in a transaction that settles it: until that ends nobody else does, and one
 * that is about to waits here for what it came to.
 */
export async function lockApprovedHeld(
  tx: Tx,
  { account, requestId }: Pick<HeldRow, "account" | "requestId">,
): Promise<boolean> {
  const rows = await tx.query(
    `select 1 from held_operations where account = $1 and request_id = $2 and state = 'approved' for update`,
    [account, requestId],
    { name: "approvals-lock-held" },
  )
  return rows.length > 0
}

export interface HeldEnd {
  readonly state: Extract<HeldState, "done" | "failed" | "outcome-unknown" | "discarded">
  readonly result?: unknown
  readonly error?: { readonly code: string; readonly message: string }
}

/** False where it has ended already. */
export async function endHeld(
  tx: Tx,
  { account, requestId }: Pick<HeldRow, "account" | "requestId">,
  { end, now }: { readonly end: HeldEnd; readonly now: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update held_operations set state = $3, result = $4, error_code = $5, error_message = $6, sealed = null,
       ran_at = to_timestamp($7 / 1000.0)
     where account = $1 and request_id = $2 and state in ('waiting', 'approved') returning 1`,
    [
      account,
      requestId,
      end.state,
      end.result === undefined ? null : JSON.stringify(end.result),
      end.error?.code ?? null,
      end.error?.message ?? null,
      end.state === "discarded" ? null : now,
    ],
  )
  return rows.length > 0
}

/** Of a call that was approved, and that nobody has begun to make; false of any other. Its request is locked before. */
export async function withdrawHeld(
  tx: Tx,
  { account, requestId }: Pick<HeldRow, "account" | "requestId">,
  { error, now }: { readonly error: { readonly code: string; readonly message: string }; readonly now: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update held_operations set state = 'failed', error_code = $3, error_message = $4, sealed = null,
       ran_at = to_timestamp($5 / 1000.0)
     where account = $1 and request_id = $2 and state in ('waiting', 'approved') and called_at is null
     returning 1`,
    [account, requestId, error.code, error.message, now],
  )
  return rows.length > 0
}

/** Approved and due for a while: their job was lost, to a restore or to a worker that died. */
export async function findForgottenHeld(
  sql: Sql,
  { before, limit }: { readonly before: number; readonly limit: number },
): Promise<Array<{ account: string; requestId: string }>> {
  return sql.query(
    `select account, request_id as "requestId" from held_operations
     where state = 'approved' and coalesce(not_before, created_at) < to_timestamp($1 / 1000.0)
     order by not_before nulls first limit $2`,
    [before, limit],
  )
}

/** The request's version after one more event; its row is locked before. */
export async function addVersion(
  tx: Tx,
  { account, requestId }: Pick<HeldRow, "account" | "requestId">,
): Promise<number> {
  const [row] = await tx.query<{ version: number }>(
    "update approval_requests set version = version + 1 where account = $1 and id = $2 returning version",
    [account, requestId],
  )
  assert(row, "a held operation has its request")
  return row.version
}
