/**
 * What the owner of an execution writes. Every statement here is fenced: it changes nothing unless the execution still
 * has this owner and epoch, so an owner that lost its lease can't write. The batch of a commit is one statement and so
 * one round trip; its plan is pinned by a test (D17), because a bad one costs a factor of a hundred.
 */
import type {
  ClassCounts,
  ExecutionChange,
  ExecutionRows,
  ExecutionState,
  OpenTask,
  RollbackCounts,
  Stop,
  TaskCounts,
} from "@signalbox/engine/types"
import type { Database, Sql, Tx } from "../../storage/database.ts"
import type { ClaimedExecution, CommitFence, Fence, HealthRow, Wished } from "./claimed-execution.ts"
import type { KeptBlob } from "./report-queue.ts"
import type { FrozenParts } from "./frozen-parts.ts"
import type { ParameterValues } from "../../parameters/parameter-values.ts"
import type { RunStrategy } from "./strategy-model.ts"

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
  readonly classes: ClassCounts
  /** Undefined leaves what the row has. */
  readonly pace: Pick<ExecutionChange, "width" | "wave" | "bakeUntil" | "hold"> | undefined
  readonly tasks: readonly TaskUpdate[]
  readonly events: readonly BatchEvent[]
  /** Whole outcomes whose rows have only a part; referenced in the same transaction. */
  readonly blobs: readonly KeptBlob[]
}

const taskColumns = `execution_id, ordinal, account, state, rollback, attempt, class, message, started_at, finished_at,
    outcome, rollback_outcome`
const changeColumns = `$1, c.ordinal, $2, c.state, c.rollback, c.attempt, nullif(c.class, ''),
    nullif(c.message, '')::json #>> '{}', to_timestamp(c.started_at / 1000), case when c.ended then now() end,
    nullif(c.outcome, '')::json, nullif(c.rollback_outcome, '')::json`

export const wishOfFence = `wish, wish_version as "wishVersion", wish_by as "wishBy", wish_width as "wishWidth",
  wish_rollback as "wishRollback"`

/** A task's first row needs no look for one that is there: that would cost a fifth of the statement. */
export const batchStatement = `
with fence as (
  update executions set batches = batches + 1, state = $5, stop = $6, reason = $7, next_ordinal = $8, in_flight = $9, counts = $10,
    rollbacks = $11, version = version + $12, classes = $28,
    width = coalesce($29, width), wave = coalesce($30, wave),
    bake_until = case when $29::int is null then bake_until else to_timestamp($31::float8 / 1000) end,
    hold = case when $29::int is null then hold else $32::json end,
    started_at = coalesce(started_at, case when $5 <> 'planning' then now() end),
    finished_at = case when $13 then now() end
  where id = $1 and account = $2 and owner = $3 and epoch = $4 and batches = $33 and finished_at is null
  returning version - $12 as version, wish, wish_version, wish_by, wish_width, wish_rollback, cause, depth
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
select ${wishOfFence} from fence`

/**
 * One commit of the engine, with what goes along with it in the same transaction. Gives what people wish by now; undefined
 * where the lease is lost and nothing was written.
 */
export async function commitBatch(
  database: Database,
  fence: CommitFence,
  batch: Batch & { readonly accompany?: ((tx: Tx) => Promise<void>) | undefined },
): Promise<Wished | undefined> {
  const { accompany } = batch
  if (!accompany) return writeBatch(database, fence, batch)
  return database.transaction(async (tx) => {
    const wished = await writeBatch(tx, fence, batch)
    if (wished) await accompany(tx)
    return wished
  })
}

/** The same for a batch that nothing goes along with: one statement, which may be sent behind others. */
export async function writeBatch(sql: Sql, fence: CommitFence, batch: Batch): Promise<Wished | undefined> {
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
      JSON.stringify(batch.classes),
      batch.pace?.width ?? null,
      batch.pace?.wave ?? null,
      batch.pace?.bakeUntil ?? null,
      batch.pace?.hold ? JSON.stringify(batch.pace.hold) : null,
      fence.batches,
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

export function numbers(values: ReadonlyArray<number | boolean | null>): string {
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

export const fenceValues = ({ id, account, owner, epoch }: Fence): unknown[] => [id, account, owner, epoch]
export const fenced = "e.id = $1 and e.account = $2 and e.owner = $3 and e.epoch = $4 and e.finished_at is null"

export interface FrozenPlan {
  readonly definition: unknown
  readonly parameters: ParameterValues
  readonly targets: unknown
  readonly targetsMax: number
  /** Null in plans of before strategies. */
  readonly strategy: RunStrategy | null
  /** What the targets' digest has to be; null where nobody said. */
  readonly expectedDigest: string | null
  readonly parts: FrozenParts
  /** The tag query that whoever started it was narrowed to. */
  readonly scope: string | null
}

export const planColumns = `definition, parameters, targets, targets_max as "targetsMax", strategy,
  expected_digest as "expectedDigest", coalesce(parts, '{"secrets":{},"artifacts":{}}') as parts, scope`

export async function getPlan(sql: Sql, fence: Fence): Promise<FrozenPlan> {
  const [row] = await sql.query<FrozenPlan>(
    `select ${planColumns} from execution_plans where execution_id = $1 and account = $2`,
    [fence.id, fence.account],
  )
  if (!row) throw new Error(`execution ${fence.id} has no plan`)
  return row
}

/** Keeps what a health check said. Writes nothing where the lease is lost. */
export async function keepHealth(sql: Sql, fence: Fence, health: HealthRow): Promise<void> {
  await sql.query(`update executions e set health = $5 where ${fenced}`, [
    ...fenceValues(fence),
    JSON.stringify(health),
  ])
}

const domainsPerRead = 100_000

/** The failure domains of a run's targets, by ordinal. */
export async function readDomains(sql: Sql, claimed: ClaimedExecution): Promise<Int32Array> {
  const domains = new Int32Array(claimed.targetsCount).fill(-1)
  for (let from = 0; from < claimed.targetsCount; from += domainsPerRead) {
    const [row] = await sql.query<{ ordinals: number[]; domains: number[] }>(
      `select coalesce(array_agg(ordinal), '{}') as ordinals, coalesce(array_agg(domain), '{}') as domains
       from execution_targets
       where execution_id = $1 and account = $2 and ordinal >= $3 and ordinal < $4 and domain is not null`,
      [claimed.id, claimed.account, from, from + domainsPerRead],
    )
    for (const [index, ordinal] of (row?.ordinals ?? []).entries()) domains[ordinal] = row?.domains[index] ?? -1
  }
  return domains
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
  const { state: execution, stop, wish, nextOrdinal, counts, rollbacks, classes, width, bakeUntil, hold } = claimed
  const pace = { width, bakeUntil, hold, ...(classes && { classes }) }
  return { execution, stop, wish, openTasks, nextOrdinal, counts, rollbacks, ...pace }
}

export interface WindowNode {
  readonly ordinal: number
  readonly id: string
  readonly name: string
  readonly tags: Readonly<Record<string, string>> | null
  readonly originOrdinal?: number | null
  readonly originAttempt?: number | null
  readonly runner?: string | null
}

const windowColumns = `ordinal, node_id as id, node_name as name, tags, origin_ordinal as "originOrdinal",
  origin_attempt as "originAttempt", runner`

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
    `select ${windowColumns} from execution_targets
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
    `select ${windowColumns} from execution_targets
     where execution_id = $1 and account = $2 and ordinal = any ($3::int[])`,
    [tasks.execution, tasks.account, tasks.ordinals],
  )
}
