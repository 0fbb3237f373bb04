import type { Sql } from "../../storage/database.ts"
import { planColumns, type FrozenPlan } from "./batch-store.ts"

export interface LateTask {
  /** Of the report in the list that was asked for, from 1. */
  readonly number: number
  readonly known: boolean
  readonly ended: boolean
  readonly node: string | null
  /** This very attempt was given up without a word of its node, in a run that puts back what did not end well. */
  readonly givenUp: boolean
}

/** Of tasks that late reports name: which are on record with that node, and whether their execution has ended. */
export async function readLateTasks(
  sql: Sql,
  tasks: {
    readonly executions: readonly string[]
    readonly ordinals: readonly number[]
    readonly attempts: readonly number[]
  },
): Promise<LateTask[]> {
  return sql.query(
    `select n.number::int as number, e.id is not null as known,
       coalesce(k.state = 'unreachable' and k.rollback = 'none' and k.attempt = n.attempt
         and e.rollback_of is null and p.strategy ->> 'rollback' <> 'never', false) as "givenUp",
       (e.id is null or (e.finished_at is not null and not exists (
         select 1 from executions r
         where r.account = e.account and r.rollback_of = e.id and r.finished_at is null))) as ended, coalesce(t.runner, t.node_id) as node
     from unnest($1::text[], $2::int[], $3::int[]) with ordinality as n (execution, ordinal, attempt, number)
     left join executions e on e.id = n.execution
     left join execution_plans p on p.execution_id = n.execution
     left join execution_tasks k on k.execution_id = n.execution and k.ordinal = n.ordinal
     left join execution_targets t on t.execution_id = n.execution and t.ordinal = n.ordinal
     order by n.number`,
    [tasks.executions, tasks.ordinals, tasks.attempts],
  )
}

/** The plans of runs that are on record still, whoever owns them. */
export async function readPlans(
  sql: Sql,
  executions: readonly string[],
): Promise<Array<FrozenPlan & { readonly id: string; readonly account: string }>> {
  return sql.query(
    `select execution_id as id, account, ${planColumns} from execution_plans where execution_id = any ($1::text[])`,
    [executions],
  )
}
