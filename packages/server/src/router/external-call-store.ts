import type { Sql, Tx } from "../storage/database.ts"
import { liveServer } from "../storage/server-lease.ts"

/**
 * Calls that change something outside, as rows. `sending`: its server sends it, or died at it; `unknown`: it was sent and
 * nobody knows what came of it, which stays so unless its operation may be sent again. What is known has its records in
 * `audit` and `idempotency`, and no row here.
 */
export interface ExternalCallRow {
  readonly id: string
  readonly account: string
  readonly principal: string
  readonly operation: string
  readonly bodyHash: string
  readonly upstreamKey: string
  readonly requestId: string
  readonly cause: string
  readonly causedBy: string | null
  readonly sourceAddress: string | null
}

export interface FoundCall {
  readonly state: "sending" | "unknown"
  readonly bodyHash: string
  readonly upstreamKey: string
  /** Its server lives, and its time is not over. */
  readonly isUnderWay: boolean
}

const found = `state, body_hash as "bodyHash", upstream_key as "upstreamKey",
  state = 'sending' and ends_at > clock_timestamp() and ${liveServer("external_calls.server")} as "isUnderWay"`

export async function lockExternalCall(tx: Tx, id: string): Promise<FoundCall | undefined> {
  const [row] = await tx.query<FoundCall>(`select ${found} from external_calls where id = $1 for update`, [id], {
    name: "router-lock-external-call",
  })
  return row
}

export async function findExternalCall(sql: Sql, id: string): Promise<FoundCall | undefined> {
  const [row] = await sql.query<FoundCall>(`select ${found} from external_calls where id = $1`, [id])
  return row
}

/** Before it is sent, for the first time or again. */
export async function putExternalCall(
  tx: Tx,
  call: ExternalCallRow,
  { server, milliseconds }: { readonly server: string; readonly milliseconds: number },
): Promise<void> {
  await tx.query(
    `insert into external_calls (id, account, principal, operation, body_hash, upstream_key, request_id, cause, caused_by,
       source_address, server, ends_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_timestamp() + $12 * interval '1 millisecond')
     on conflict (id) do update set state = 'sending', request_id = excluded.request_id, cause = excluded.cause,
       caused_by = excluded.caused_by, server = excluded.server, begun_at = clock_timestamp(), ends_at = excluded.ends_at`,
    [
      ...[call.id, call.account, call.principal, call.operation, call.bodyHash, call.upstreamKey, call.requestId],
      ...[call.cause, call.causedBy, call.sourceAddress, server, milliseconds],
    ],
    { name: "router-put-external-call" },
  )
}

type OneSending = Pick<ExternalCallRow, "id" | "requestId">

/** Takes the row away for what is known by now; false where somebody settled it otherwise. */
export async function endExternalCall(tx: Tx, { id, requestId }: OneSending): Promise<boolean> {
  const rows = await tx.query(
    "delete from external_calls where id = $1 and request_id = $2 and state = 'sending' returning 1",
    [id, requestId],
    { name: "router-end-external-call" },
  )
  return rows.length > 0
}

/** False where somebody settled it already. */
export async function markOutcomeUnknown(tx: Tx, { id, requestId }: OneSending): Promise<boolean> {
  const rows = await tx.query(
    `update external_calls set state = 'unknown' where id = $1 and request_id = $2 and state = 'sending' returning 1`,
    [id, requestId],
  )
  return rows.length > 0
}

/** Of dead servers, or past their time: they become `unknown`. */
export async function takeLostCalls(tx: Tx, limit: number): Promise<ExternalCallRow[]> {
  return tx.query<ExternalCallRow>(
    `update external_calls set state = 'unknown' where id in (
       select id from external_calls where state = 'sending' and (ends_at < clock_timestamp() or not ${liveServer("external_calls.server")})
       order by begun_at limit $1 for update skip locked)
     returning id, account, principal, operation, body_hash as "bodyHash", upstream_key as "upstreamKey",
       request_id as "requestId", cause, caused_by as "causedBy", source_address as "sourceAddress"`,
    [limit],
  )
}
