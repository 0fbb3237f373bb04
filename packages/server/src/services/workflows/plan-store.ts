/** What the owner of an execution writes while it plans; fenced like the batches of batch-store.ts. */
import type { EnginePlan } from "@signalbox/engine/plan"
import type { Sql } from "../../storage/database.ts"
import { fenced, fenceValues, numbers, wishOfFence } from "./batch-store.ts"
import type { Fence, Wished } from "./claimed-execution.ts"

/** Null where there is none. */
function someNumbers(values: ReadonlyArray<number | undefined>): string | null {
  return values.some((value) => value !== undefined) ? numbers(values.map((value) => value ?? null)) : null
}

export interface PlannedNode {
  readonly id: string
  readonly name: string
  readonly tags: string | null
  /** Its failure domain, numbered within the run. */
  readonly domain?: number | undefined
  /** What runs its task where it has no agent. */
  readonly runner?: string | undefined
  /** Of a rollback: the task that is put back. */
  readonly origin?: TaskOrigin | undefined
}

/** A task of another execution. */
export interface TaskOrigin {
  readonly ordinal: number
  readonly attempt: number
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
    `with fence as (select e.* from executions e where ${fenced} for share),
     added as (
       insert into execution_targets
         (execution_id, ordinal, account, node_id, node_name, tags, domain, origin_ordinal, origin_attempt, runner)
       select $1, $5 + n.number - 1, $2, n.id, n.name, n.tags, n.domain, n.origin_ordinal, n.origin_attempt, n.runner
       from fence, unnest(string_to_array($6, E'\\n'), string_to_array($7, E'\\n'), string_to_array($8, E'\\n')::json[],
           $9::int[], $10::int[], $11::int[], $12::text[])
         with ordinality as n (id, name, tags, domain, origin_ordinal, origin_attempt, runner, number))
     select ${wishOfFence} from fence`,
    [
      ...fenceValues(fence),
      from.ordinal,
      from.nodes.map((node) => node.id).join("\n"),
      from.nodes.map((node) => node.name).join("\n"),
      from.nodes.some((node) => node.tags !== null) ? from.nodes.map((node) => node.tags ?? "null").join("\n") : null,
      someNumbers(from.nodes.map((node) => node.domain)),
      someNumbers(from.nodes.map((node) => node.origin?.ordinal)),
      someNumbers(from.nodes.map((node) => node.origin?.attempt)),
      from.nodes.some((node) => node.runner !== undefined) ? from.nodes.map((node) => node.runner ?? null) : null,
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
  plan: Pick<EnginePlan, "targetsCount" | "width" | "errorsMax"> & {
    readonly digest: string
    readonly wavesCount: number
    readonly vanished: { readonly count: number; readonly nodes: readonly string[] } | undefined
  },
): Promise<boolean> {
  const rows = await sql.query(
    `with fence as (
       update executions e set targets_count = $5, width = $6, errors_max = $7, targets_digest = $8, waves_count = $9
       where ${fenced} and e.state = 'planning' returning e.id),
     plan as (
       update execution_plans p set vanished = $10 from fence where p.execution_id = fence.id and $10::json is not null)
     select 1 from fence`,
    [
      ...fenceValues(fence),
      plan.targetsCount,
      plan.width,
      plan.errorsMax,
      plan.digest,
      plan.wavesCount,
      plan.vanished ? JSON.stringify(plan.vanished) : null,
    ],
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
