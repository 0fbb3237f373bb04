/**
 * What the owner of an execution writes. Every statement here is fenced: it changes nothing unless the execution still
 * has this owner and epoch, so an owner that lost its lease can't write. The batch of a commit is one statement and so
 * one round trip; its plan is pinned by a test (D17), because a bad one costs a factor of a hundred.
 */
import type { EnginePlan } from "@signalbox/engine/plan"
import type { ExecutionRows, ExecutionState, OpenTask, RollbackCounts, Stop, TaskCounts } from "@signalbox/engine/types"
import type { Database, Sql } from "../../storage/database.ts"
import type { ClaimedExecution, Fence, Wished } from "./claimed-execution.ts"
import type { ParameterValues } from "./parameters.ts"

export interface TaskUpdate {
  readonly ordinal: number
  /** The task has no row yet, by all that this owner wrote or read. */
  readonly first: boolean
  readonly state: string
  readonly rollback: string
  readonly attempt: number
  readonly class: string | null
  readonly message: string | null
  /** Milliseconds; null leaves what the row has. */
  readonly startedAt: number | null
  readonly ended: boolean
  /** JSON text; null leaves what the row has. */
  readonly outcome: string | null
  readonly rollbackOutcome: string | null
}

export interface BatchEvent {
  readonly id: string
  readonly type: string
  readonly data: unknown
}

export interface Batch {
  readonly state: ExecutionState
  readonly stop: Stop | null
  readonly reason: string | null
  readonly ended: boolean
  readonly nextOrdinal: number
  readonly inFlight: number
  readonly counts: TaskCounts
  readonly rollbacks: RollbackCounts
  readonly tasks: readonly TaskUpdate[]
  readonly events: readonly BatchEvent[]
}

const taskColumns = `execution_id, ordinal, account, state, rollback, attempt, class, message, started_at, finished_at,
    outcome, rollback_outcome`
const changeColumns = `$1, c.ordinal, $2, c.state, c.rollback, c.attempt, nullif(c.class, ''),
    nullif(c.message, '')::json #>> '{}', to_timestamp(c.started_at / 1000), case when c.ended then now() end,
    nullif(c.outcome, '')::json, nullif(c.rollback_outcome, '')::json`

/** A task's first row needs no look for one that is there: that would cost a fifth of the statement. */
export const batchStatement = `
with fence as (
  update executions set state = $5, stop = $6, reason = $7, next_ordinal = $8, in_flight = $9, counts = $10,
    rollbacks = $11, version = version + $12,
    started_at = coalesce(started_at, case when $5 <> 'planning' then now() end),
    finished_at = case when $13 then now() end
  where id = $1 and account = $2 and owner = $3 and epoch = $4 and finished_at is null
  returning version - $12 as version, wish, wish_version, cause, depth, created_by
), changes as materialized (
  select * from unnest($14::int[], string_to_array($15, ','), string_to_array($16, ','), $17::int[],
      string_to_array($18, ','), string_to_array($19, E'\\n'), $20::float8[], $21::bool[], string_to_array($22, E'\\n'),
      string_to_array($23, E'\\n'), $27::bool[])
    as c (ordinal, state, rollback, attempt, class, message, started_at, ended, outcome, rollback_outcome, first)
  where exists (select 1 from fence)
), firsts as (
  insert into execution_tasks (${taskColumns})
  select ${changeColumns} from changes c where c.first
), others as (
  insert into execution_tasks as t (${taskColumns})
  select ${changeColumns} from changes c where not c.first
  on conflict (execution_id, ordinal) do update set state = excluded.state, rollback = excluded.rollback,
    attempt = excluded.attempt, class = excluded.class, message = coalesce(excluded.message, t.message),
    started_at = coalesce(t.started_at, excluded.started_at), finished_at = coalesce(t.finished_at, excluded.finished_at),
    outcome = coalesce(excluded.outcome, t.outcome),
    rollback_outcome = coalesce(excluded.rollback_outcome, t.rollback_outcome)
), events as (
  insert into outbox (account, aggregate_id, id, type, subject, subject_version, cause, caused_by, depth, principal, data)
  select $2, $1, e.id, e.type, $1, fence.version + e.number, fence.cause, $1, fence.depth + 1, 'system:workflows', e.data
  from fence, unnest($24::text[], $25::text[], $26::jsonb[]) with ordinality as e (id, type, data, number)
)
select wish, wish_version as "wishVersion" from fence`

/** One commit of the engine. Gives what people wish by now; undefined where the lease is lost and nothing was written. */
export async function commitBatch(sql: Sql, fence: Fence, batch: Batch): Promise<Wished | undefined> {
  const { tasks, events } = batch
  const [row] = await sql.query<Wished>(
    batchStatement,
    [
      ...fenceValues(fence),
      batch.state,
      batch.stop === null ? null : JSON.stringify(batch.stop),
      batch.reason,
      batch.nextOrdinal,
      batch.inFlight,
      JSON.stringify(batch.counts),
      JSON.stringify(batch.rollbacks),
      events.length,
      batch.ended,
      ...taskValues(tasks),
      events.map((event) => event.id),
      events.map((event) => event.type),
      events.map((event) => JSON.stringify(event.data)),
      numbers(tasks.map((task) => task.first)),
    ],
    { name: "executions-commit" },
  )
  return row
}

/**
 * Texts go as one line each instead of as an array, whose escapes would cost more than all the rest of a commit: names
 * of states have no comma, and JSON text has no line break. Absent is the empty line; a column of which nothing is
 * present is null.
 */
function lines(values: ReadonlyArray<string | null>, separator: string): string | null {
  return values.some((value) => value !== null) ? values.map((value) => value ?? "").join(separator) : null
}

function numbers(values: ReadonlyArray<number | boolean | null>): string {
  return `{${values.map((value) => value ?? "null").join(",")}}`
}

function taskValues(tasks: readonly TaskUpdate[]): unknown[] {
  const words = (of: (task: TaskUpdate) => string | null): string | null => lines(tasks.map(of), ",")
  const texts = (of: (task: TaskUpdate) => string | null): string | null => lines(tasks.map(of), "\n")
  return [
    numbers(tasks.map((task) => task.ordinal)),
    words((task) => task.state),
    words((task) => task.rollback),
    numbers(tasks.map((task) => task.attempt)),
    words((task) => task.class),
    texts((task) => (task.message === null ? null : JSON.stringify(task.message))),
    numbers(tasks.map((task) => task.startedAt)),
    numbers(tasks.map((task) => task.ended)),
    texts((task) => task.outcome),
    texts((task) => task.rollbackOutcome),
  ]
}

const fenceValues = ({ id, account, owner, epoch }: Fence): unknown[] => [id, account, owner, epoch]
const fenced = "e.id = $1 and e.account = $2 and e.owner = $3 and e.epoch = $4 and e.finished_at is null"

export interface PlannedNode {
  readonly id: string
  readonly name: string
  readonly tags: string | null
}

/**
 * Adds targets to an execution that is being planned; two may go on at once, a claim by another server waits for them.
 * Gives the wish; undefined where the lease is lost.
 */
export async function insertTargets(
  sql: Sql,
  fence: Fence,
  from: { readonly ordinal: number; readonly nodes: readonly PlannedNode[] },
): Promise<Wished | undefined> {
  const [row] = await sql.query<Wished>(
    `with fence as (select e.wish, e.wish_version from executions e where ${fenced} for share),
     added as (
       insert into execution_targets (execution_id, ordinal, account, node_id, node_name, tags)
       select $1, $5 + n.number - 1, $2, n.id, n.name, n.tags
       from fence, unnest(string_to_array($6, E'\\n'), string_to_array($7, E'\\n'), string_to_array($8, E'\\n')::json[])
         with ordinality as n (id, name, tags, number))
     select wish, wish_version as "wishVersion" from fence`,
    [
      ...fenceValues(fence),
      from.ordinal,
      from.nodes.map((node) => node.id).join("\n"),
      from.nodes.map((node) => node.name).join("\n"),
      from.nodes.some((node) => node.tags !== null) ? from.nodes.map((node) => node.tags ?? "null").join("\n") : null,
    ],
  )
  return row
}

/** Removes up to `limit` targets of a plan that a dead owner left unfinished; gives how many. */
export async function removeTargets(sql: Sql, fence: Fence, limit: number): Promise<number> {
  const [row] = await sql.query<{ removed: number }>(
    `with fence as (select 1 from executions e where ${fenced} and e.state = 'planning' for update),
     removed as (
       delete from execution_targets t where t.execution_id = $1 and t.account = $2 and exists (select 1 from fence)
         and t.ordinal in (select o.ordinal from execution_targets o where o.execution_id = $1 order by o.ordinal limit $5)
       returning 1)
     select count(*) as removed from removed`,
    [...fenceValues(fence), limit],
  )
  return row?.removed ?? 0
}

/** Freezes the plan: how many targets, which, and the limits that follow. False where the lease is lost. */
export async function freezePlan(
  sql: Sql,
  fence: Fence,
  plan: Pick<EnginePlan, "targetsCount" | "width" | "errorsMax"> & { readonly digest: string },
): Promise<boolean> {
  const rows = await sql.query(
    `update executions e set targets_count = $5, width = $6, errors_max = $7, targets_digest = $8
     where ${fenced} and e.state = 'planning' returning 1`,
    [...fenceValues(fence), plan.targetsCount, plan.width, plan.errorsMax, plan.digest],
  )
  return rows.length > 0
}

/** Statistics of a table that just grew by a lot would give the hot statement a bad plan. */
const analyzeShare = 0.1

/** Takes statistics where the table grew by a tenth since they were taken last (D17). */
export async function refreshStatistics(sql: Sql, added: number): Promise<boolean> {
  const [row] = await sql.query<{ known: number }>(
    "select reltuples::float8 as known from pg_class where oid = 'execution_targets'::regclass",
  )
  if (row && row.known > 0 && added < row.known * analyzeShare) return false
  await sql.query("analyze execution_targets, execution_tasks")
  return true
}

export interface FrozenPlan {
  readonly definition: unknown
  readonly parameters: ParameterValues
  readonly targets: unknown
  readonly targetsMax: number
}

export async function getPlan(sql: Sql, fence: Fence): Promise<FrozenPlan> {
  const [row] = await sql.query<FrozenPlan>(
    `select definition, parameters, targets, targets_max as "targetsMax" from execution_plans
     where execution_id = $1 and account = $2`,
    [fence.id, fence.account],
  )
  if (!row) throw new Error(`execution ${fence.id} has no plan`)
  return row
}

/** The rows from which an owner goes on. */
export async function readOpenRows(sql: Database, claimed: ClaimedExecution): Promise<ExecutionRows> {
  const openTasks = await sql.query<OpenTask>(
    `select g.ordinal, coalesce(t.state, 'starting') as state, coalesce(t.rollback, 'none') as rollback,
       coalesce(t.attempt, 1) as attempt, t.class
     from execution_targets g
     left join execution_tasks t on t.execution_id = g.execution_id and t.ordinal = g.ordinal
     where g.execution_id = $1 and g.account = $2 and g.ordinal < $3
       and (t.state is null or t.state in ('queued', 'starting', 'running') or t.rollback in ('pending', 'running'))
     order by g.ordinal`,
    [claimed.id, claimed.account, claimed.nextOrdinal],
  )
  const { state: execution, stop, wish, nextOrdinal, counts, rollbacks } = claimed
  return { execution, stop, wish, openTasks, nextOrdinal, counts, rollbacks }
}

export interface WindowNode {
  readonly ordinal: number
  readonly id: string
  readonly name: string
  readonly tags: Readonly<Record<string, string>> | null
}

/** The nodes of a range of ordinals, and of single ones. */
export async function readNodes(
  sql: Sql,
  tasks: {
    readonly account: string
    readonly execution: string
    readonly from: number
    readonly to: number
  },
): Promise<WindowNode[]> {
  return sql.query<WindowNode>(
    `select ordinal, node_id as id, node_name as name, tags from execution_targets
     where execution_id = $1 and account = $2 and ordinal >= $3 and ordinal < $4 order by ordinal`,
    [tasks.execution, tasks.account, tasks.from, tasks.to],
    { name: "executions-window" },
  )
}

export async function readNodesOf(
  sql: Sql,
  tasks: { readonly account: string; readonly execution: string; readonly ordinals: readonly number[] },
): Promise<WindowNode[]> {
  return sql.query<WindowNode>(
    `select ordinal, node_id as id, node_name as name, tags from execution_targets
     where execution_id = $1 and account = $2 and ordinal = any ($3::int[])`,
    [tasks.execution, tasks.account, tasks.ordinals],
  )
}

/** Of tasks that late reports name: which are on record with that node, and whether their execution has ended. */
export async function readLateTasks(
  sql: Sql,
  tasks: { readonly executions: readonly string[]; readonly ordinals: readonly number[] },
): Promise<Array<{ number: number; known: boolean; ended: boolean; node: string | null }>> {
  return sql.query(
    `select n.number::int as number, e.id is not null as known,
       (e.id is null or e.finished_at is not null) as ended, t.node_id as node
     from unnest($1::text[], $2::int[]) with ordinality as n (execution, ordinal, number)
     left join executions e on e.id = n.execution
     left join execution_targets t on t.execution_id = n.execution and t.ordinal = n.ordinal
     order by n.number`,
    [tasks.executions, tasks.ordinals],
  )
}
