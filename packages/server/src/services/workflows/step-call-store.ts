/** SQL of the steps that the server performs. */
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import type { StepAnswer, StepRequest } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { liveServer } from "../../storage/server-lease.ts"
import type { FrozenParts } from "./frozen-parts.ts"
import type { ParameterValues } from "../../parameters/parameter-values.ts"
import { reviveDocument } from "./workflow-text.ts"

export interface CallRow extends StepRequest {
  readonly executionId: string
  readonly ordinal: number
  readonly attempt: number
}

/** A run as the performer of its steps needs it. */
export interface PerformedRun {
  readonly account: string
  readonly document: WorkflowDocument
  readonly parameters: ParameterValues
  readonly parts: FrozenParts
  /** In whose name it runs. */
  readonly createdBy: string
  readonly cause: string
  readonly depth: number
  /** The tag query that whoever started it was narrowed to. */
  readonly scope: string | null
}

export interface PerformedNode {
  readonly id: string
  readonly name: string
  readonly tags: Readonly<Record<string, string>> | null
  /** The node that runs the task: itself, or the one that stands in for it. */
  readonly performedBy: string
  /** The task waits for this step: neither it nor its rollback has ended. */
  readonly waits: boolean
}

export async function findRun(sql: Sql, executionId: string): Promise<PerformedRun | undefined> {
  const [row] = await sql.query<Omit<PerformedRun, "document"> & { definition: unknown }>(
    `select e.account, p.definition, p.parameters, coalesce(p.parts, '{"secrets":{},"artifacts":{}}') as parts, coalesce(e.author, e.created_by) as "createdBy", e.cause, e.depth, p.scope
     from executions e join execution_plans p on p.execution_id = e.id where e.id = $1`,
    [executionId],
  )
  if (!row) return undefined
  const { definition, ...run } = row
  return { ...run, document: reviveDocument(definition) }
}

export async function findPerformedNode(sql: Sql, call: CallRow, account: string): Promise<PerformedNode | undefined> {
  const [row] = await sql.query<PerformedNode>(
    `select g.node_id as id, g.node_name as name, g.tags, coalesce(g.runner, g.node_id) as "performedBy",
       case when $4 = 'task' then e.finished_at is null and g.ordinal < e.next_ordinal
           and coalesce(t.state, 'starting') in ('starting', 'running') and coalesce(t.attempt, 1) = $5
         else coalesce(t.rollback, 'none') in ('pending', 'running') or exists (
           select from executions r where r.account = e.account and r.rollback_of = e.id and r.finished_at is null
         ) end as waits
     from execution_targets g
     join executions e on e.id = g.execution_id
     left join execution_tasks t on t.execution_id = g.execution_id and t.ordinal = g.ordinal
     where g.execution_id = $1 and g.account = $2 and g.ordinal = $3`,
    [call.executionId, account, call.ordinal, call.phase, call.attempt],
  )
  return row
}

export interface FoundCall {
  readonly performer: string
  readonly answer: StepAnswer | null
  readonly isNew: boolean
  /** The performer is a server whose lease holds. */
  readonly performerLives: boolean
}

/** Writes that this process is about to perform a step, or finds what is on record of it. */
export async function claimCall(
  sql: Sql,
  call: CallRow,
  by: { readonly account: string; readonly performer: string },
): Promise<FoundCall> {
  const key = [call.executionId, call.ordinal, call.attempt, call.phase, call.step, call.try]
  const inserted = await sql.query(
    `insert into execution_step_calls (execution_id, ordinal, attempt, phase, step, try, account, performer)
     values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing returning 1`,
    [...key, by.account, by.performer],
  )
  if (inserted.length > 0) return { performer: by.performer, answer: null, isNew: true, performerLives: true }
  const [row] = await sql.query<Omit<FoundCall, "isNew">>(
    `select performer, answer, ${liveServer("performer")} as "performerLives" from execution_step_calls
     where execution_id = $1 and ordinal = $2 and attempt = $3 and phase = $4 and step = $5 and try = $6
       and account = $7`,
    [...key, by.account],
  )
  if (!row) throw new Error(`a step of ${call.key} is on record for another account`)
  return { ...row, isNew: false }
}

/** Keeps what came of a step; the first answer stays. */
export async function keepAnswer(
  sql: Sql,
  call: CallRow,
  kept: { account: string; answer: StepAnswer },
): Promise<void> {
  await sql.query(
    `update execution_step_calls set answer = $8, finished_at = now()
     where execution_id = $1 and ordinal = $2 and attempt = $3 and phase = $4 and step = $5 and try = $6
       and account = $7 and answer is null`,
    [
      ...[call.executionId, call.ordinal, call.attempt, call.phase, call.step, call.try],
      kept.account,
      JSON.stringify(kept.answer),
    ],
  )
}

/** The steps of a task that the server has begun to perform. */
export async function listBegunSteps(
  sql: Sql,
  task: { readonly executionId: string; readonly ordinal: number; readonly attempt: number },
): Promise<number[]> {
  const rows = await sql.query<{ step: number }>(
    `select distinct step from execution_step_calls
     where execution_id = $1 and ordinal = $2 and attempt = $3 and phase = 'task' order by step`,
    [task.executionId, task.ordinal, task.attempt],
  )
  return rows.map(({ step }) => step)
}
