/** The SQL of executions and their tasks as callers see them. What their owner writes is in batch-store.ts. */
import type { RollbackOutcome, TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import type {
  ClassCounts,
  ExecutionState,
  FailureClass,
  Hold,
  RollbackCounts,
  RollbackState,
  Stop,
  TaskCounts,
  TaskState,
  Wish,
} from "@signalbox/engine/types"
import type { Sql, Tx } from "../../storage/database.ts"
import type { HealthRow } from "./claimed-execution.ts"
import type { ParameterValues } from "../../parameters/parameter-values.ts"
import type { RunStrategy } from "./strategy-model.ts"

export interface ExecutionRow {
  readonly id: string
  readonly account: string
  readonly state: ExecutionState
  /** The state as people see it: a wish shows at once, also before the owner has carried it out. */
  readonly shown: ExecutionState
  readonly reason: string | null
  readonly workflowName: string
  readonly workflowVersion: number | null
  readonly parameters: ParameterValues
  readonly targetsText: string
  readonly targetsCount: number
  readonly targetsDigest: string | null
  readonly concurrency: string
  readonly width: number
  readonly errorLimit: string
  readonly errorsMax: number
  readonly inFlight: number
  readonly nextOrdinal: number
  readonly stop: Stop | null
  readonly counts: TaskCounts
  readonly rollbacks: RollbackCounts
  readonly version: number
  readonly wish: Wish
  readonly wishBy: string | null
  readonly wishWidth: number | null
  /** Present where there is no strategy. */
  readonly definition: unknown
  readonly strategy: RunStrategy | null
  readonly vanished: { readonly count: number; readonly nodes: readonly string[] } | null
  readonly classes: ClassCounts | null
  readonly wave: number
  readonly wavesCount: number
  readonly bakeUntil: number | null
  readonly hold: Hold | null
  readonly health: HealthRow | null
  readonly retryOf: string | null
  readonly rollbackOf: string | null
  readonly rolledBackBy: readonly string[]
  /** Approvals that tasks wait for, the first twenty. */
  readonly approvals: ReadonlyArray<{
    readonly request: string
    readonly step: number
    readonly name: string | null
    readonly node: string | null
  }> | null
  readonly note: string | null
  readonly cause: string
  readonly createdAt: number
  readonly createdBy: string
  readonly startedAt: number | null
  readonly finishedAt: number | null
}

const shownState = `case
  when e.finished_at is not null then e.state
  when e.wish in ('abort-finish', 'abort-kill') then 'aborting'
  when e.wish = 'pause' and e.state = 'running' then 'pausing'
  when e.wish = 'run' and e.state in ('pausing', 'paused') then 'running'
  else e.state end`
const openApprovals = `(select json_agg(w) from (
    select a.request_id as request, a.step, p.definition #>> array['steps', a.step::text, 'name'] as name,
      (select g.node_name from execution_targets g where g.execution_id = e.id and g.ordinal = a.ordinal) as node
    from execution_approvals a where a.execution_id = e.id and a.ended_at is null order by a.step, a.ordinal limit 20) w)`
const executionColumns = `e.id, e.account, e.state, ${shownState} as shown, e.reason, e.workflow_name as "workflowName",
  e.workflow_version as "workflowVersion", p.parameters, e.targets_text as "targetsText",
  e.targets_count as "targetsCount", e.targets_digest as "targetsDigest", e.concurrency, e.width,
  e.error_limit as "errorLimit", e.errors_max as "errorsMax", e.in_flight as "inFlight",
  e.next_ordinal as "nextOrdinal", e.stop, e.counts, e.rollbacks, e.version, e.wish, e.wish_by as "wishBy",
  e.wish_width as "wishWidth", p.strategy, p.vanished, e.classes, e.wave, e.waves_count as "wavesCount",
  case when p.strategy is null then p.definition end as definition, e.bake_until as "bakeUntil", e.hold, e.health, e.retry_of as "retryOf", e.rollback_of as "rollbackOf",
  array(select r.id from executions r where r.account = e.account and r.rollback_of = e.id order by r.id)
    as "rolledBackBy", case when e.finished_at is null then ${openApprovals} end as approvals, e.note, e.cause, e.created_at as "createdAt", e.created_by as "createdBy", e.started_at as "startedAt",
  e.finished_at as "finishedAt"`
const executionTables = "executions e join execution_plans p on p.execution_id = e.id"

export async function findExecution(sql: Sql, account: string, id: string): Promise<ExecutionRow | undefined> {
  const [row] = await sql.query<ExecutionRow>(
    `select ${executionColumns} from ${executionTables} where e.account = $1 and e.id = $2`,
    [account, id],
    { name: "executions-find" },
  )
  return row
}

/** As `findExecution`, with the row locked until the transaction ends. */
export async function lockExecution(tx: Tx, account: string, id: string): Promise<ExecutionRow | undefined> {
  const [row] = await tx.query<ExecutionRow>(
    `select ${executionColumns} from ${executionTables} where e.account = $1 and e.id = $2 for update of e`,
    [account, id],
  )
  return row
}

export async function listExecutions(
  sql: Sql,
  page: {
    readonly account: string
    readonly before: string | undefined
    readonly state: ExecutionState | undefined
    readonly workflow: string | undefined
    /** The id may be unknown: of a node that was removed. */
    readonly node: { readonly id: string | undefined; readonly name: string } | undefined
    /** Those that have not ended and name it. */
    readonly window?: string | undefined
    readonly limit: number
  },
): Promise<ExecutionRow[]> {
  return sql.query<ExecutionRow>(
    `select ${executionColumns} from ${executionTables}
     where e.account = $1 and ($2::text is null or e.id < $2) and ($3::text is null or ${shownState} = $3)
       and ($4::text is null or e.workflow_name = $4)
       and ($6::text is null or e.id in (
         select n.execution_id from execution_targets n
         where n.node_name = $6 and n.account = $1 and ($7::text is null or n.node_id = $7)))
       and ($8::text is null or (e.finished_at is null and (coalesce(p.strategy, p.definition) -> 'windows')::jsonb ? $8))
     order by e.id desc limit $5`,
    [
      page.account,
      page.before ?? null,
      page.state ?? null,
      page.workflow ?? null,
      page.limit,
      page.node?.name ?? null,
      page.node?.id ?? null,
      page.window ?? null,
    ],
  )
}

/** Writes what a person wishes; the owner carries it out. Gives the version of the event that tells of it. */
export async function updateWish(
  tx: Tx,
  change: {
    readonly account: string
    readonly id: string
    readonly wish: Wish
    readonly by: string
    readonly reason: string | undefined
    /** Null leaves what was wished before. */
    readonly width: number | null
    readonly rollback: boolean
  },
): Promise<number> {
  const [row] = await tx.query<{ version: number }>(
    `update executions set wish = $3, wish_version = wish_version + 1, wish_by = $4, wish_reason = $5,
       wish_width = coalesce($6, wish_width), wish_rollback = wish_rollback or $7, version = version + 1
     where account = $1 and id = $2 returning version`,
    [change.account, change.id, change.wish, change.by, change.reason ?? null, change.width, change.rollback],
  )
  if (!row) throw new Error("a locked execution can be updated")
  return row.version
}

export interface TaskRow {
  readonly ordinal: number
  readonly nodeId: string
  readonly nodeName: string
  readonly state: TaskState
  readonly rollback: RollbackState
  readonly attempt: number
  readonly class: FailureClass | null
  readonly message: string | null
  readonly startedAt: number | null
  readonly finishedAt: number | null
  /** The newest execution that rolls it back. */
  readonly rolledBackBy: string | null
}

// A target without a task row: how far the execution has come says where it is (see the table's migration).
export const shownTaskState = `coalesce(t.state, case
    when g.ordinal < e.next_ordinal then 'starting' when e.stop is not null then 'never-started' else 'queued' end)`
const taskColumns = `g.ordinal, g.node_id as "nodeId", g.node_name as "nodeName", ${shownTaskState} as state,
  coalesce(t.rollback, 'none') as rollback,
  coalesce(t.attempt, case when g.ordinal < e.next_ordinal then 1 else 0 end) as attempt, t.class, t.message,
  t.started_at as "startedAt", t.finished_at as "finishedAt", (
    select max(r.id) from executions r join execution_targets o on o.execution_id = r.id
    where r.account = e.account and r.rollback_of = e.id and o.origin_ordinal = g.ordinal) as "rolledBackBy"`
export const taskTables = `executions e join execution_targets g on g.execution_id = e.id
  left join execution_tasks t on t.execution_id = g.execution_id and t.ordinal = g.ordinal
  where e.id = $1 and e.account = $2 and g.execution_id = $1`

/** A page of tasks by ordinal. */
export async function listTasks(
  sql: Sql,
  page: WithOutcomes & {
    readonly account: string
    readonly execution: string
    readonly after: number
    readonly limit: number
    readonly state?: TaskState | undefined
  },
): Promise<TaskDetail[]> {
  return sql.query<TaskDetail>(
    `select ${columnsOf(page)} from ${taskTables} and g.ordinal > $3 and ($4::text is null or ${shownTaskState} = $4)
     order by g.ordinal limit $5`,
    [page.execution, page.account, page.after, page.state ?? null, page.limit],
  )
}

export async function listTasksOf(
  sql: Sql,
  tasks: WithOutcomes & {
    readonly account: string
    readonly execution: string
    readonly ordinals: readonly number[]
  },
): Promise<TaskDetail[]> {
  return sql.query<TaskDetail>(
    `select ${columnsOf(tasks)} from ${taskTables} and g.ordinal = any ($3::int[]) order by g.ordinal`,
    [tasks.execution, tasks.account, tasks.ordinals],
  )
}

/** Without outcomes where they were not asked for: they are most of a row. */
export interface TaskDetail extends TaskRow {
  readonly outcome?: TaskOutcome | null
  readonly rollbackOutcome?: RollbackOutcome | null
}

interface WithOutcomes {
  readonly withOutcomes?: boolean
}

const detailColumns = `${taskColumns}, t.outcome, t.rollback_outcome as "rollbackOutcome"`
const columnsOf = ({ withOutcomes }: WithOutcomes) => (withOutcomes ? detailColumns : taskColumns)

/** A task by its number, or by its node's name or id. */
export async function findTask(
  sql: Sql,
  key: { readonly account: string; readonly execution: string; readonly ordinal?: number; readonly node?: string },
): Promise<TaskDetail | undefined> {
  const [row] = await sql.query<TaskDetail>(
    `select ${detailColumns} from ${taskTables}
       and ${key.ordinal === undefined ? "(g.node_name = $3 or g.node_id = $3)" : "g.ordinal = $3"}
     order by g.ordinal limit 1`,
    [key.execution, key.account, key.ordinal ?? key.node ?? ""],
  )
  return row
}

/** An execution's own events after a version, for those who follow it; batches name the tasks that changed. */
export async function listProgress(
  sql: Sql,
  from: { readonly execution: string; readonly account: string; readonly after: number; readonly limit: number },
): Promise<Array<{ version: number; type: string; data: unknown }>> {
  return sql.query(
    `select subject_version as version, type, data from outbox
     where aggregate_id = $1 and account = $2 and subject = $1 and subject_version > $3
     order by subject_version limit $4`,
    [from.execution, from.account, from.after, from.limit],
  )
}
