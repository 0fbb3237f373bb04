/** Removes what is past its retention (D23): the outputs of executions first, later the executions with all their rows. */
import type { CronTask } from "../../storage/background-queue.ts"
import type { Blobs } from "../../storage/blobs.ts"
import type { Database } from "../../storage/database.ts"

export interface RetentionSettings {
  readonly executionsKeptMilliseconds: number
  readonly outputsKeptMilliseconds: number
}

const dayMilliseconds = 86_400_000
export const retentionSettings: RetentionSettings = {
  executionsKeptMilliseconds: 400 * dayMilliseconds,
  outputsKeptMilliseconds: 30 * dayMilliseconds,
}

/** What belongs to an execution by its tasks; each task's part is bounded. */
const tablesByOrdinal = ["execution_step_calls", "execution_approvals", "execution_tasks", "execution_targets"] as const

/** Rows that one statement removes, and executions that one run of the task looks after. */
const rowsPerStatement = 5_000
const executionsPerRun = 1_000

export function executionsRetention(
  now: () => number,
  blobs: Pick<Blobs, "unreference">,
  settings: RetentionSettings = retentionSettings,
): CronTask {
  return {
    name: "workflows.executions-retention",
    cron: "43 * * * *",
    async run({ database, signal }) {
      const stores = { database, blobs }
      await removeExecutions(stores, now() - settings.executionsKeptMilliseconds, signal)
      await removeOutputs(stores, now() - settings.outputsKeptMilliseconds, signal)
    },
  }
}

export interface RetainedStores {
  readonly database: Database
  readonly blobs: Pick<Blobs, "unreference">
}

/** Executions that ended before an instant; each in statements of its own, the row that names it last. */
export async function removeExecutions(
  { database: sql, blobs }: RetainedStores,
  before: number,
  signal: AbortSignal,
): Promise<number> {
  const old = await sql.query<{ id: string; account: string }>(
    "select id, account from executions where finished_at < to_timestamp($1::float8 / 1000) order by finished_at limit $2",
    [before, executionsPerRun],
  )
  for (const { id, account } of old) {
    for (const table of tablesByOrdinal) await removeRows(sql, signal, { table, id, account })
    if (signal.aborted) return 0
    await sql.transaction((tx) => blobs.unreference(tx, { account, aggregate: id }))
    await sql.query(
      `with plan as (delete from execution_plans where execution_id = $1 and account = $2)
       delete from executions where id = $1 and account = $2`,
      [id, account],
    )
  }
  return old.length
}

/** The outcomes of tasks whose execution ended before an instant; states and messages stay. */
export async function removeOutputs(
  { database: sql, blobs }: RetainedStores,
  before: number,
  signal: AbortSignal,
): Promise<number> {
  const old = await sql.query<{ id: string; account: string }>(
    `select id, account from executions
     where finished_at < to_timestamp($1::float8 / 1000) and not outputs_removed order by finished_at limit $2`,
    [before, executionsPerRun],
  )
  for (const { id, account } of old) {
    await inChunks(signal, () =>
      sql.query(
        `update execution_tasks set outcome = null, rollback_outcome = null
         where execution_id = $1 and account = $2 and ordinal in (
           select ordinal from execution_tasks
           where execution_id = $1 and (outcome is not null or rollback_outcome is not null) order by ordinal limit $3)
         returning 1`,
        [id, account, rowsPerStatement],
      ),
    )
    await removeRows(sql, signal, { table: "execution_step_calls", id, account })
    if (signal.aborted) return 0
    await sql.transaction((tx) => blobs.unreference(tx, { account, aggregate: id }))
    await sql.query("update executions set outputs_removed = true where id = $1 and account = $2", [id, account])
  }
  return old.length
}

interface RowsOf {
  readonly table: (typeof tablesByOrdinal)[number]
  readonly id: string
  readonly account: string
}

async function removeRows(sql: Database, signal: AbortSignal, { table, id, account }: RowsOf): Promise<void> {
  await inChunks(signal, () =>
    sql.query(
      `delete from ${table} where execution_id = $1 and account = $2 and ordinal in (
         select ordinal from ${table} where execution_id = $1 order by ordinal limit $3) returning 1`,
      [id, account, rowsPerStatement],
    ),
  )
}

async function inChunks(signal: AbortSignal, change: () => Promise<readonly object[]>): Promise<void> {
  while (!signal.aborted) {
    if ((await change()).length < rowsPerStatement) return
  }
}
