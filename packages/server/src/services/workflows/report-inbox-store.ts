/** The SQL of reports on their way to the server that owns their execution. */
import type { ExecutorReport } from "../../router/ports.ts"
import type { CronTask } from "../../storage/background-queue.ts"
import type { Sql } from "../../storage/database.ts"

export interface WrittenReport {
  /** The execution of the attempt, and the task's place in it. */
  readonly execution: string
  readonly ordinal: number
  /** Whose session it came over. */
  readonly nodeId: string
  readonly key: string
  readonly type: string
  readonly phase: "task" | "rollback"
  /** JSON text. */
  readonly report: string
}

export interface RoutedReport {
  /** Of the report in the list that was given, from 1. */
  readonly number: number
  /** The run that waits for it. */
  readonly execution: string
}

/**
 * Writes reports for the runs that wait for them: of a rollback's the run that puts the other one back, else the
 * attempt's own. Gives those that a run waits for; none of a node that the task isn't given to. A report that is there
 * already stays.
 */
export async function writeReports(sql: Sql, reports: readonly WrittenReport[]): Promise<RoutedReport[]> {
  return sql.query<RoutedReport>(
    `with routed as (
       select g.number::int as number, g.key, g.type, g.phase, g.report, e.account, waiting.id as execution
       from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[]) with ordinality
         as g (execution, key, type, phase, report, ordinal, node, number)
       join executions e on e.id = g.execution
       join execution_targets t on t.execution_id = g.execution and t.ordinal = g.ordinal
         and coalesce(t.runner, t.node_id) = g.node
       cross join lateral (
         select r.id, 1 as place from executions r
         where g.phase = 'rollback' and r.account = e.account and r.rollback_of = e.id and r.finished_at is null
         union all select e.id, 2 where e.finished_at is null
         order by place limit 1) as waiting
     ), written as (
       insert into agent_inbox (execution_id, key, type, phase, account, report)
       select execution, key, type, phase, account, report::json from routed order by execution, key, type, phase, number
       on conflict do nothing
     )
     select number, execution from routed`,
    [
      reports.map((report) => report.execution),
      reports.map((report) => report.key),
      reports.map((report) => report.type),
      reports.map((report) => report.phase),
      reports.map((report) => report.report),
      reports.map((report) => report.ordinal),
      reports.map((report) => report.nodeId),
    ],
    { name: "executions-write-reports" },
  )
}

export interface FoundReport {
  readonly execution: string
  readonly key: string
  readonly type: string
  readonly phase: string
  readonly report: ExecutorReport
}

/** Reports for these runs, oldest first. */
export async function findReports(sql: Sql, executions: readonly string[], limit: number): Promise<FoundReport[]> {
  return sql.query<FoundReport>(
    `select i.execution_id as execution, i.key, i.type, i.phase, i.report
     from agent_inbox i where i.execution_id = any ($1::text[]) order by i.written_at, i.key limit $2`,
    [executions, limit],
    { name: "executions-find-reports" },
  )
}

/** Removes reports that their owner has. */
export async function removeReports(sql: Sql, reports: readonly FoundReport[]): Promise<void> {
  await sql.query(
    `delete from agent_inbox i using unnest($1::text[], $2::text[], $3::text[], $4::text[]) as g (execution, key, type, phase)
     where i.execution_id = g.execution and i.key = g.key and i.type = g.type and i.phase = g.phase`,
    [
      reports.map((report) => report.execution),
      reports.map((report) => report.key),
      reports.map((report) => report.type),
      reports.map((report) => report.phase),
    ],
    { name: "executions-remove-reports" },
  )
}

const keptHours = 1
const rowsRemovedMax = 5_000

/** Removes reports that no run took: it ended meanwhile. A result that was not acknowledged comes again. */
export const inboxRetention: CronTask = {
  name: "workflows.inbox-retention",
  cron: "*/10 * * * *",
  async run({ database, signal }) {
    let removed: unknown[]
    do
      removed = await database.query(
        `delete from agent_inbox where (execution_id, key, type, phase) in (
           select execution_id, key, type, phase from agent_inbox
           where written_at < now() - make_interval(hours => $1) order by written_at limit $2)
         returning 1`,
        [keptHours, rowsRemovedMax],
      )
    while (removed.length === rowsRemovedMax && !signal.aborted)
  },
}
