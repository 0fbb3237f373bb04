/** SQL of the approvals that steps wait for. */
import type { Sql } from "../../storage/database.ts"
import type { AskedRun } from "./approval-ask.ts"

/** What came of an approval, as every task that waits for it is told. */
export interface ApprovalResult {
  readonly result: "approved" | "denied" | "expired" | "cancelled" | "refused"
  readonly message: string
  /** Who said yes, by name. */
  readonly approvers: readonly string[]
}

export interface ApprovalPlace {
  readonly executionId: string
  readonly step: number
  readonly ordinal: number
}

export interface AskedApproval extends ApprovalPlace {
  readonly account: string
  readonly requestId: string
  readonly digest: string
  readonly result: ApprovalResult | null
  /** Milliseconds. */
  readonly askedAt: number
}

const columns = `a.execution_id as "executionId", a.step, a.ordinal, a.account, a.request_id as "requestId", a.digest,
  a.result, a.asked_at as "askedAt"`

export interface FoundAskedRun extends AskedRun {
  /** It is being stopped, or has ended: nobody is asked any more. */
  readonly stops: boolean
}

export async function findAskedRun(sql: Sql, account: string, executionId: string): Promise<FoundAskedRun | undefined> {
  const [row] = await sql.query<FoundAskedRun>(
    `select e.id, e.workflow_name as "workflowName", e.workflow_version as "workflowVersion", p.definition, p.parameters,
       p.strategy, p.parts, e.targets_text as "targetsText", e.targets_count as "targetsCount",
       e.targets_digest as "targetsDigest", e.finished_at is not null or e.wish like 'abort%' as stops
     from executions e join execution_plans p on p.execution_id = e.id where e.id = $1 and e.account = $2`,
    [executionId, account],
  )
  return row
}

export async function findApproval(sql: Sql, place: ApprovalPlace): Promise<AskedApproval | undefined> {
  const [row] = await sql.query<AskedApproval>(
    `select ${columns} from execution_approvals a where execution_id = $1 and step = $2 and ordinal = $3`,
    [place.executionId, place.step, place.ordinal],
  )
  return row
}

/** Writes that an approval is about to be asked for; where another did first, its row stays. */
export async function insertApproval(
  sql: Sql,
  approval: Omit<AskedApproval, "result" | "askedAt">,
): Promise<AskedApproval | undefined> {
  const { executionId, step, ordinal, account, requestId, digest } = approval
  await sql.query(
    `insert into execution_approvals (execution_id, step, ordinal, account, request_id, digest)
     values ($1, $2, $3, $4, $5, $6) on conflict do nothing`,
    [executionId, step, ordinal, account, requestId, digest],
  )
  return findApproval(sql, approval)
}

/** Gives whether it had not ended before. */
export async function endApproval(
  sql: Sql,
  of: { readonly account: string; readonly requestId: string },
  result: ApprovalResult,
): Promise<boolean> {
  const rows = await sql.query(
    `update execution_approvals set ended_at = now(), result = $3
     where request_id = $1 and account = $2 and ended_at is null returning 1`,
    [of.requestId, of.account, JSON.stringify(result)],
  )
  return rows.length > 0
}

/** Whether a request is one that a step waits for. */
export async function isAsked(sql: Sql, account: string, requestId: string): Promise<boolean> {
  const rows = await sql.query(
    "select from execution_approvals where request_id = $1 and account = $2 and ended_at is null",
    [requestId, account],
    { name: "execution-approvals-asked" },
  )
  return rows.length > 0
}

/** Those of some requests that have ended. */
export async function listEnded(sql: Sql, requestIds: readonly string[]): Promise<AskedApproval[]> {
  return sql.query<AskedApproval>(
    `select ${columns} from execution_approvals a where request_id = any ($1) and ended_at is not null`,
    [requestIds],
    { name: "execution-approvals-ended" },
  )
}

/** Those that nobody waits for any more, since their execution has ended or is being stopped. */
export async function listForsaken(sql: Sql, limit: number): Promise<AskedApproval[]> {
  return sql.query<AskedApproval>(
    `select ${columns} from execution_approvals a join executions e on e.id = a.execution_id and e.account = a.account
     where a.ended_at is null and (e.finished_at is not null or e.wish like 'abort%') limit $1`,
    [limit],
    { name: "execution-approvals-forsaken" },
  )
}
