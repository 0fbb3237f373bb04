import { AppError, hasCode } from "@signalbox/kernel/app-error"
import type { Sql, Tx } from "../storage/database.ts"
import type { PassedChange } from "./external-ports.ts"
import type { Started } from "./follow-stage.ts"
import type { Caller, NewEvent } from "./handler.ts"

/**
 * What accompanies every change, written in its transaction: its events, its audit record and, where it may be called
 * again under the same key, its idempotency record. One statement, and the commit leaves with it.
 */
export interface ChangeRecord {
  readonly caller: Caller
  readonly operation: string
  readonly requestId: string
  readonly cause: string
  readonly causedBy?: string | undefined
  readonly depth: number
  readonly sourceAddress?: string | undefined
  readonly inputDigest: string
  /** What the record is about; left out, what the first event is about. */
  readonly subject?: string
  readonly events: ReadonlyArray<NewEvent & { readonly id: string }>
  /** Tells that rules follow the call; comes after its events and is not what it is about. */
  readonly followed?: NewEvent & { readonly id: string }
  /** Left out where the call has no key: then nobody can repeat it. */
  readonly idempotency?: IdempotencyKey | undefined
  readonly response: unknown
  /** What the reply tells of the rules that follow. */
  readonly started?: Started
}

export interface IdempotencyKey {
  /** SHA-256 of account, principal and the caller's key. */
  readonly id: string
  /** SHA-256 of operation and input. */
  readonly bodyHash: string
}

const eventsAndAudit = `
with events as (
  insert into outbox (account, aggregate_id, id, type, subject, subject_version, cause, caused_by, depth, principal, data)
  select coalesce(e.account, $1), e.aggregate_id, e.id, e.type, e.subject, e.subject_version, coalesce(e.cause, $2),
    coalesce(e.caused_by, $3), coalesce(e.depth, $4), $5, e.data
  from unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::jsonb[], $12::text[], $13::text[],
      $14::text[], $15::int[])
    as e (aggregate_id, id, type, subject, subject_version, data, account, cause, caused_by, depth)
), audited as (
  insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, caused_by, source_address, input_digest)
  values ($16, $3, $1, $5, $17, $18, 'done', $2, $19, $20, $21)
)`

const statements = {
  withKey: `${eventsAndAudit}
    insert into idempotency (id, account, operation, body_hash, status, response, started)
    values ($22, $1, $17, $23, 200, $24, $25)`,
  withoutKey: `${eventsAndAudit} select`,
} as const

/** Writes it and commits. */
export async function commitChangeRecord(tx: Tx, record: ChangeRecord): Promise<void> {
  const { caller, idempotency: key } = record
  const [first] = record.events
  const events = record.followed ? [...record.events, record.followed] : record.events
  const values = [
    caller.account,
    record.cause,
    record.requestId,
    record.depth,
    caller.principal,
    events.map((event) => event.aggregate),
    events.map((event) => event.id),
    events.map((event) => event.type),
    events.map((event) => event.subject),
    events.map((event) => event.version),
    events.map((event) => JSON.stringify(event.data)),
    events.map((event) => event.story?.account ?? null),
    events.map((event) => event.story?.cause ?? null),
    events.map((event) => event.story?.causedBy ?? null),
    events.map((event) => event.story?.depth ?? null),
    first?.aggregate ?? caller.account,
    record.operation,
    record.subject ?? first?.subject ?? caller.account,
    record.causedBy ?? null,
    record.sourceAddress ?? null,
    record.inputDigest,
  ]
  if (key === undefined) {
    await tx.queryAndCommit(statements.withoutKey, values, { name: "router-record-change" })
    return
  }
  await tx.queryAndCommit(
    statements.withKey,
    [
      ...[...values, key.id, key.bodyHash, JSON.stringify(record.response ?? null)],
      record.started ? JSON.stringify(record.started) : null,
    ],
    { name: "router-record-change-once" },
  )
}

/** The subject of the change that a standing call made, where one is on record: how a repeat knows that it is one. */
export async function findChangeCausedBy(
  sql: Sql,
  call: { readonly account: string; readonly cause: string; readonly causedBy: string },
): Promise<string | undefined> {
  const [row] = await sql.query<{ subject: string }>(
    `select subject from audit where account = $1 and cause = $2 and caused_by = $3 and outcome = 'done' limit 1`,
    [call.account, call.cause, call.causedBy],
  )
  return row?.subject
}

/** The reply that is kept under a key, where it is of a call with the same body. */
export async function findReply(sql: Sql, key: IdempotencyKey): Promise<{ readonly value: unknown } | undefined> {
  const [row] = await sql.query<{ response: unknown }>(
    "select response from idempotency where id = $1 and body_hash = $2",
    [key.id, key.bodyHash],
  )
  return row && { value: row.response }
}

/** An audit record of a call that was refused for lack of authority; nothing else of the call remains. */
export async function writeRefusalRecord(
  sql: Sql,
  refusal: Omit<ChangeRecord, "events" | "followed" | "idempotency" | "response"> & { readonly outcome: string },
): Promise<void> {
  await sql.query(
    `insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, source_address, input_digest)
     values ($1, $2, $1, $3, $4, $9, $5, $6, $7, $8)
     on conflict do nothing`,
    [
      refusal.caller.account,
      refusal.requestId,
      refusal.caller.principal,
      refusal.operation,
      refusal.outcome,
      refusal.cause,
      refusal.sourceAddress ?? null,
      refusal.inputDigest,
      refusal.subject ?? refusal.caller.account,
    ],
  )
}

/** Changes that were passed through, many at once; one that is there already stays. */
export function insertPassedChanges(sql: Sql, changes: readonly PassedChange[]): Promise<unknown> {
  return sql.query(
    `insert into audit (aggregate_id, id, account, principal, operation, subject, outcome, cause, source_address, input_digest)
     select c.account, c.id, c.account, c.principal, c.operation, c.id, c.outcome, c.id, c.address, c.digest
     from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
       as c (account, id, principal, operation, outcome, address, digest)
     on conflict do nothing`,
    [
      changes.map(({ account }) => account),
      changes.map(({ requestId }) => requestId),
      changes.map(({ principal }) => principal),
      changes.map(({ operation }) => operation),
      changes.map(({ outcome }) => outcome),
      changes.map(({ sourceAddress }) => sourceAddress ?? null),
      changes.map(({ inputDigest }) => inputDigest),
    ],
    { name: "router-insert-passed-changes" },
  )
}

type IdempotencyState =
  | { readonly kind: "new" }
  | { readonly kind: "in-flight" }
  | ({ readonly kind: "known"; readonly bodyHash: string } & Repeated)

/**
 * Claims an idempotency key for this transaction. The advisory lock only makes a concurrent repeat fail fast; the
 * record's primary key is what makes the change happen once (see `isRepeatedKey`).
 */
async function claimIdempotencyKey(tx: Tx, id: string): Promise<IdempotencyState> {
  const [row] = await tx.query<{ locked: boolean; body_hash: string | null } & Repeated>(
    `select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as locked, i.body_hash, i.response, i.started
     from (values (1)) as one left join idempotency i on i.id = $1`,
    [id],
    { name: "router-claim-key" },
  )
  if (row?.body_hash) return { kind: "known", bodyHash: row.body_hash, response: row.response, started: row.started }
  return row?.locked ? { kind: "new" } : { kind: "in-flight" }
}

interface Repeated {
  readonly response: unknown
  readonly started: Started | null
}

/** The reply of the call that this one repeats. @throws request.idempotency-in-flight, request.idempotency-key-reused */
export async function findRepeated(tx: Tx, key: IdempotencyKey): Promise<Repeated | undefined> {
  const state = await claimIdempotencyKey(tx, key.id)
  if (state.kind === "new") return undefined
  if (state.kind === "in-flight")
    throw new AppError("request.idempotency-in-flight", "a call with this Idempotency-Key is still running")
  if (state.bodyHash === key.bodyHash) return state
  throw new AppError("request.idempotency-key-reused", "this Idempotency-Key was used for another call")
}

/** True where a commit failed because the same key was committed by another call in between. */
export function isRepeatedKey(error: unknown): boolean {
  if (hasCode(error, "request.idempotency-in-flight")) return false
  const cause = error as { code?: unknown; constraint?: unknown }
  return cause.code === "23505" && cause.constraint === "idempotency_pkey"
}
