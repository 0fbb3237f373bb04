/** The SQL of approval requests, their votes and who has to answer. Instants are milliseconds. */
import type { RequestAttributes, RequestState, RequestStateName, VoteRecord } from "@signalbox/approvals/types"
import { assert } from "@signalbox/kernel/assert"
import type { AskingRule } from "../../router/gate-ports.ts"
import type { Sql, Tx } from "../../storage/database.ts"
import { effectsStatement, effectValues, type RequestEffects } from "./request-effects.ts"

export interface RequestRow {
  readonly id: string
  readonly account: string
  readonly state: RequestStateName
  readonly type: string
  readonly title: string
  readonly stateData: RequestState
  readonly attributes: RequestAttributes
  readonly nextTimerAt: number | null
  /** Keys. */
  readonly requester: string
  readonly submitter: string
  readonly callback: string | null
  readonly notBefore: number | null
  /** Events so far. */
  readonly version: number
  readonly cause: string
  readonly depth: number
  readonly submittedAt: number
  readonly decidedAt: number | null
  /** Of a call that is held, or of a step that waits. */
  readonly held: HeldSubject | null
}

export interface HeldSubject {
  /** That have a part in the call. */
  readonly rules?: readonly AskingRule[]
}

const requestColumns = requestColumnsWith(`r.state_data as "stateData"`)

/** With the state, or with what is wanted of it. */
export function requestColumnsWith(state: string): string {
  return `r.id, r.account, r.state, r.type, r.title, ${state}, r.attributes,
  r.next_timer_at as "nextTimerAt", r.requester, r.submitter, r.callback, r.not_before as "notBefore", r.version,
  r.cause, r.depth, r.submitted_at as "submittedAt", r.decided_at as "decidedAt",
  case when r.held is not null then jsonb_strip_nulls(jsonb_build_object('rules', r.held->'rules')) end as held`
}

export async function findRequest(sql: Sql, account: string, id: string): Promise<RequestRow | undefined> {
  const [row] = await sql.query<RequestRow>(
    `select ${requestColumns} from approval_requests r where r.account = $1 and r.id = $2`,
    [account, id],
    { name: "approval-requests-find" },
  )
  return row
}

/** Keeps everybody else from deciding about the request until the transaction ends. */
export async function lockRequest(tx: Tx, account: string, id: string): Promise<RequestRow | undefined> {
  const [row] = await tx.query<RequestRow>(
    `select ${requestColumns} from approval_requests r where r.account = $1 and r.id = $2 for update`,
    [account, id],
    { name: "approval-requests-lock" },
  )
  return row
}

/** The same of one that is due; undefined where somebody else has it, or it is due no more. */
export async function lockDueRequest(tx: Tx, id: string, now: number): Promise<RequestRow | undefined> {
  const [row] = await tx.query<RequestRow>(
    `select ${requestColumns} from approval_requests r
     where r.id = $1 and r.next_timer_at <= to_timestamp($2::float8 / 1000) for update skip locked`,
    [id, now],
    { name: "approval-requests-lock-due" },
  )
  return row
}

/** With what it is about. */
export async function findRequestWithContent(
  sql: Sql,
  account: string,
  id: string,
): Promise<(RequestRow & { readonly content: unknown }) | undefined> {
  const [row] = await sql.query<RequestRow & { content: unknown }>(
    `select ${requestColumns}, r.content from approval_requests r where r.account = $1 and r.id = $2`,
    [account, id],
    { name: "approval-requests-find-with-content" },
  )
  return row
}

export async function readContent(sql: Sql, id: string): Promise<unknown> {
  const [row] = await sql.query<{ content: unknown }>("select content from approval_requests where id = $1", [id], {
    name: "approval-requests-content",
  })
  assert(row, "a request that was found has its content")
  return row.content
}

export interface NewRequest extends Pick<
  RequestRow,
  "id" | "account" | "type" | "title" | "callback" | "notBefore" | "cause" | "depth" | "submitter" | "held"
> {
  readonly stateData: RequestState
  readonly nextTimerAt: number | null
  readonly content: unknown
  readonly unmatched: string
  readonly version: number
}

const insertStatement = `
  with request as (
    insert into approval_requests (id, account, state, type, title, revision, digest, attributes, content, state_data,
      next_timer_at, requester, submitter, unmatched, callback, not_before, held, version, cause, depth, submitted_at,
      decided_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, to_timestamp($11::float8 / 1000), $12, $13, $14, $15,
      to_timestamp($16::float8 / 1000), $17, $18, $19, $20, to_timestamp($21::float8 / 1000),
      to_timestamp($22::float8 / 1000))),
  ${effectsStatement({ id: "$1", account: "$2", votes: "$23", gone: "$24", come: "$25", now: "$26" })}
  select`

export async function insertRequest(tx: Tx, request: NewRequest, effects: RequestEffects): Promise<void> {
  const { stateData } = request
  const values = [
    request.id,
    request.account,
    stateData.state,
    request.type,
    request.title,
    stateData.revision,
    stateData.digest,
    JSON.stringify(stateData.attributes),
    JSON.stringify(request.content ?? null),
    JSON.stringify(stateData),
    request.nextTimerAt,
    stateData.requester.key,
    request.submitter,
    request.unmatched,
    request.callback,
    request.notBefore,
    request.held === null ? null : JSON.stringify(request.held),
    request.version,
    request.cause,
    request.depth,
    stateData.submittedAt,
    stateData.endedAt,
  ]
  await tx.query(insertStatement, [...values, ...effectValues(effects)], { name: "approval-requests-insert" })
}

export interface SavedRequest {
  readonly stateData: RequestState
  readonly nextTimerAt: number | null
  readonly version: number
}

const saveStatement = `
  with request as (
    update approval_requests set state = $3, revision = $4, digest = $5, attributes = $6, state_data = $7,
      next_timer_at = to_timestamp($8::float8 / 1000), version = $9, decided_at = to_timestamp($10::float8 / 1000)
    where id = $1),
  ${effectsStatement({ id: "$1", account: "$2", votes: "$11", gone: "$12", come: "$13", now: "$14" })}
  select`

export async function saveRequest(
  tx: Tx,
  saved: SavedRequest & Pick<RequestRow, "id" | "account">,
  effects: RequestEffects,
): Promise<void> {
  const { id, account, stateData } = saved
  const values = [
    id,
    account,
    stateData.state,
    stateData.revision,
    stateData.digest,
    JSON.stringify(stateData.attributes),
    JSON.stringify(stateData),
    saved.nextTimerAt,
    saved.version,
    stateData.endedAt,
  ]
  await tx.query(saveStatement, [...values, ...effectValues(effects)], { name: "approval-requests-save" })
}

/** What an edit changes beside the state. */
export async function saveEdit(
  tx: Tx,
  id: string,
  edit: { readonly title: string; readonly content: unknown; readonly notBefore: number | null },
): Promise<void> {
  await tx.query(
    `update approval_requests set title = $2, content = $3, not_before = to_timestamp($4::float8 / 1000) where id = $1`,
    [id, edit.title, JSON.stringify(edit.content ?? null), edit.notBefore],
  )
}

export interface VoteRow {
  readonly number: number
  readonly level: number
  readonly levelName: string
  readonly member: VoteRecord["member"]
  readonly by: VoteRecord["by"]
  readonly choice: VoteRecord["choice"]
  readonly digest: string
  readonly revision: number
  readonly via: VoteRecord["via"]
  readonly comment: string | null
  readonly at: number
  /** The statement, signed by the installation, as JSON. */
  readonly envelope: string | null
  /** The vote, signed by who gave it, as JSON. */
  readonly signature: string | null
}

export async function listVotes(sql: Sql, requestId: string): Promise<VoteRow[]> {
  return sql.query<VoteRow>(
    `select number, level, level_name as "levelName", member, voter as by, choice, digest, revision, via, comment, at,
       envelope, signature
     from approval_votes where request_id = $1 order by number`,
    [requestId],
    { name: "approval-votes-list" },
  )
}
