/** The SQL that makes an execution, and that finds the tasks which a retry or a rollback is about. */
import type { RollbackCounts, TaskCounts } from "@signalbox/engine/types"
import type { Sql, Tx } from "../../storage/database.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { shownTaskState, taskTables } from "./execution-store.ts"
import type { FrozenParts } from "./frozen-parts.ts"
import type { ParameterValues } from "../../parameters/parameter-values.ts"
import type { FollowSource } from "./follow-source.ts"
import type { RunStrategy } from "./strategy-model.ts"

export interface NewExecution {
  readonly id: string
  readonly account: string
  readonly workflowName: string
  readonly workflowVersion: number | undefined
  /** JSON text. */
  readonly canonical: string
  readonly parameters: ParameterValues
  readonly parts: FrozenParts
  readonly strategy: RunStrategy
  readonly targets: object
  readonly targetsText: string
  readonly targetsCount: number
  readonly targetsMax: number
  readonly expectedDigest: string | undefined
  readonly concurrency: string
  readonly width: number
  readonly errorLimit: string
  readonly errorsMax: number
  readonly counts: TaskCounts
  readonly rollbacks: RollbackCounts
  readonly retryOf: string | undefined
  readonly rollbackOf: string | undefined
  readonly note: string | undefined
  readonly cause: string
  readonly causedBy: string
  readonly depth: number
  readonly createdBy: string
  /** In whose name, where that is not who called: of a schedule. */
  readonly author?: string | undefined
  /** The tag query that the caller is narrowed to. */
  readonly scope?: string | undefined
}

export async function insertExecution(tx: Tx, row: NewExecution): Promise<void> {
  await tx.query(
    `insert into executions (id, account, state, workflow_name, workflow_version, targets_text, targets_count,
       concurrency, width, error_limit, errors_max, counts, rollbacks, version, note, cause, caused_by, depth, created_by,
       retry_of, rollback_of, author)
     values ($1, $2, 'planning', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, $13, $14, $15, $16, $17, $18, $19, $20)`,
    [
      row.id,
      row.account,
      row.workflowName,
      row.workflowVersion ?? null,
      row.targetsText,
      row.targetsCount,
      row.concurrency,
      row.width,
      row.errorLimit,
      row.errorsMax,
      JSON.stringify(row.counts),
      JSON.stringify(row.rollbacks),
      row.note ?? null,
      row.cause,
      row.causedBy,
      row.depth,
      row.createdBy,
      row.retryOf ?? null,
      row.rollbackOf ?? null,
      row.author ?? null,
    ],
  )
  await tx.query(
    `insert into execution_plans (execution_id, account, definition, parameters, targets, targets_max, strategy,
       expected_digest, parts, scope)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      row.id,
      row.account,
      row.canonical,
      JSON.stringify(row.parameters),
      JSON.stringify(row.targets),
      row.targetsMax,
      JSON.stringify(row.strategy),
      row.expectedDigest ?? null,
      JSON.stringify(row.parts),
      row.scope ?? null,
    ],
  )
}

/** An execution that another one's end makes, with the event that tells of it. */
export async function insertFollow(tx: Tx, row: NewExecution, eventId: string): Promise<void> {
  await insertExecution(tx, row)
  const { id, account, cause, causedBy, depth, createdBy: principal } = row
  await appendEvents(tx, [
    {
      id: eventId,
      account,
      aggregateId: id,
      type: "execution.created",
      subject: id,
      subjectVersion: 1,
      cause,
      causedBy,
      depth,
      principal,
      data: { ...createdData(row), automatic: true },
    },
  ])
}

/** What the event of a new execution says. */
export function createdData(row: NewExecution): Record<string, unknown> {
  return {
    workflow: row.workflowName,
    ...(row.workflowVersion === undefined ? {} : { version: row.workflowVersion }),
    targets: row.targetsText,
    targetsCount: row.targetsCount,
    createdBy: row.createdBy,
    ...(row.retryOf === undefined ? {} : { retryOf: row.retryOf }),
    ...(row.rollbackOf === undefined ? {} : { rollbackOf: row.rollbackOf }),
    ...(row.note === undefined ? {} : { note: row.note }),
  }
}

/** A task that is tried again or rolled back. */
export interface FollowedTask {
  readonly ordinal: number
  readonly attempt: number
  readonly nodeId: string
  readonly nodeName: string
  readonly domain: number | null
}

const retried = `${shownTaskState} = any ($3::text[]) and ($4::text[] is null or t.class = any ($4))
  and ($5::text[] is null or g.node_id = any ($5) or g.node_name = any ($5))`
/** What was touched, or may have been, and has not been put back by its own run or by a later one. */
const rolledBack = `${shownTaskState} = any ($3::text[]) and t.rollback <> 'rolled-back' and t.attempt > 0
  and ($4::text[] is null or t.class is null or t.class <> all ($4)) and $5::text[] is null
  and not exists (
    select 1 from executions r join execution_targets o on o.execution_id = r.id
    join execution_tasks k on k.execution_id = o.execution_id and k.ordinal = o.ordinal
    where r.account = e.account and r.rollback_of = e.id and o.origin_ordinal = g.ordinal and k.state = 'succeeded')`

function followValues(account: string, source: FollowSource): unknown[] {
  return [
    source.execution,
    account,
    source.states,
    source.kind === "retry" ? (source.classes ?? null) : ["refused", "unapproved"],
    source.kind === "retry" ? (source.nodes ?? null) : null,
  ]
}

const conditionOf = ({ kind }: FollowSource): string => (kind === "retry" ? retried : rolledBack)

/** The tasks of an execution that another one is about; of a rollback the last one first. At most `limit`. */
export async function listFollowed(
  sql: Sql,
  account: string,
  options: { readonly source: FollowSource; readonly limit: number },
): Promise<FollowedTask[]> {
  const { source, limit } = options
  return sql.query<FollowedTask>(
    `select g.ordinal, coalesce(t.attempt, 0) as attempt, g.node_id as "nodeId", g.node_name as "nodeName", g.domain
     from ${taskTables} and ${conditionOf(source)} order by g.ordinal ${source.kind === "retry" ? "" : "desc"} limit $6`,
    [...followValues(account, source), limit],
  )
}

export async function countFollowed(sql: Sql, account: string, source: FollowSource): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    `select count(*) as count from ${taskTables} and ${conditionOf(source)}`,
    followValues(account, source),
  )
  return row?.count ?? 0
}

/** What a follow-up takes over from the execution that it is about. */
export interface RunSource {
  readonly definition: unknown
  readonly targetsMax: number
  readonly parts: FrozenParts
}

export async function getRunSource(sql: Sql, account: string, id: string): Promise<RunSource> {
  const [row] = await sql.query<RunSource>(
    `select definition, targets_max as "targetsMax", coalesce(parts, '{"secrets":{},"artifacts":{}}') as parts
     from execution_plans where execution_id = $1 and account = $2`,
    [id, account],
  )
  if (!row) throw new Error(`execution ${id} has no plan`)
  return row
}

/** A rollback of this execution that has not ended. */
export async function findRunningRollback(sql: Sql, account: string, id: string): Promise<string | undefined> {
  const [row] = await sql.query<{ id: string }>(
    "select id from executions where account = $1 and rollback_of = $2 and finished_at is null limit 1",
    [account, id],
  )
  return row?.id
}
