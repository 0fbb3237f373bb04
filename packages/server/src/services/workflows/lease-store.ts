/**
 * The leases of executions: which server runs which. The database's clock decides; each claim raises the epoch, by which
 * the statements of batch-store.ts tell a former owner from the present one.
 */
import type { Sql } from "../../storage/database.ts"
import type { ClaimedExecution, Fence, Wished } from "./claimed-execution.ts"

const wishColumns = `e.wish, e.wish_version as "wishVersion", e.wish_by as "wishBy", e.wish_width as "wishWidth",
  e.wish_rollback as "wishRollback"`
const claimedColumns = `e.id, e.account, e.owner, e.epoch, e.batches, e.state, e.stop, ${wishColumns},
  e.targets_count as "targetsCount", e.width, e.errors_max as "errorsMax", e.concurrency, e.error_limit as "errorLimit",
  e.next_ordinal as "nextOrdinal", e.counts, e.rollbacks, e.classes, e.bake_until as "bakeUntil", e.hold, e.health,
  e.workflow_name as "workflowName", e.workflow_version as "workflowVersion", e.created_by as "createdBy",
  e.retry_of as "retryOf", e.rollback_of as "rollbackOf", e.cause, e.depth`

/**
 * Takes executions that nobody owns, whose owner's lease has lapsed, or that an earlier process of this server
 * (`predecessors`) owned. One statement; two claimants never get the same one.
 */
export async function claimExecutions(
  sql: Sql,
  claim: {
    readonly owner: string
    readonly leaseMilliseconds: number
    readonly limit: number
    readonly predecessors?: string
    readonly except: readonly string[]
  },
): Promise<ClaimedExecution[]> {
  return sql.query<ClaimedExecution>(
    `update executions e set owner = $1, epoch = e.epoch + 1,
       leased_until = clock_timestamp() + $2 * interval '1 millisecond'
     where e.finished_at is null and e.id in (
       select o.id from executions o
       where o.finished_at is null and o.id <> all ($5::text[])
         and (o.owner is null or o.owner = $1 or o.leased_until < clock_timestamp() or starts_with(o.owner, $4))
       order by o.id limit $3 for update skip locked)
     returning ${claimedColumns}`,
    [claim.owner, claim.leaseMilliseconds, claim.limit, claim.predecessors ?? null, claim.except],
  )
}

/** Prolongs the leases of an owner; gives those that are still its own. */
export async function renewLeases(
  sql: Sql,
  renewal: {
    readonly owner: string
    readonly leaseMilliseconds: number
    readonly executions: ReadonlyArray<{ readonly id: string; readonly epoch: number }>
  },
): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `update executions e set leased_until = clock_timestamp() + $2 * interval '1 millisecond'
     from unnest($3::text[], $4::bigint[]) as o (id, epoch)
     where e.id = o.id and e.owner = $1 and e.epoch = o.epoch and e.finished_at is null returning e.id`,
    [
      renewal.owner,
      renewal.leaseMilliseconds,
      renewal.executions.map(({ id }) => id),
      renewal.executions.map(({ epoch }) => epoch),
    ],
  )
  return rows.map(({ id }) => id)
}

/** Gives executions back, so that another server need not wait for the lease to lapse. */
export async function releaseExecution(sql: Sql, fence: Fence): Promise<void> {
  await sql.query(
    `update executions e set owner = null, leased_until = null where e.id = $1 and e.account = $2 and e.owner = $3 and e.epoch = $4 and e.finished_at is null`,
    [fence.id, fence.account, fence.owner, fence.epoch],
  )
}

/** What people wish of an owner's executions. */
export async function readWishes(
  sql: Sql,
  owner: string,
  ids: readonly string[],
): Promise<Array<Wished & { id: string }>> {
  return sql.query(`select e.id, ${wishColumns} from executions e where e.id = any ($2::text[]) and e.owner = $1`, [
    owner,
    ids,
  ])
}
