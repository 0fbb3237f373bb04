/** The SQL of what nodes are shown of a run's approval. */
import type { Sql, Tx } from "../../storage/database.ts"

/** Names the approval request that an execution was held for. */
export async function noteApproval(tx: Tx, execution: string, approval: string): Promise<void> {
  await tx.query("update execution_plans set approval = $2 where execution_id = $1", [execution, approval])
}

/** Undefined where there is no such execution; null where it was not held. */
export async function findApproval(sql: Sql, account: string, execution: string): Promise<string | null | undefined> {
  const [row] = await sql.query<{ approval: string | null }>(
    "select approval from execution_plans where account = $1 and execution_id = $2",
    [account, execution],
  )
  return row?.approval
}

export interface TargetRow {
  readonly ordinal: number
  readonly id: string
  readonly name: string
  readonly tags: Readonly<Record<string, string>> | null
  readonly runner: string | null
}

const columns = "ordinal, node_id as id, node_name as name, tags, runner"

export async function findTarget(
  sql: Sql,
  account: string,
  of: { readonly execution: string; readonly ordinal: number },
): Promise<TargetRow | undefined> {
  const [row] = await sql.query<TargetRow>(
    `select ${columns} from execution_targets where execution_id = $1 and account = $2 and ordinal = $3`,
    [of.execution, account, of.ordinal],
  )
  return row
}

/** By ordinal, from `from` on. */
export async function listTargets(
  sql: Sql,
  execution: string,
  page: { readonly from: number; readonly limit: number },
): Promise<TargetRow[]> {
  return sql.query<TargetRow>(
    `select ${columns} from execution_targets where execution_id = $1 and ordinal >= $2 order by ordinal limit $3`,
    [execution, page.from, page.limit],
  )
}
