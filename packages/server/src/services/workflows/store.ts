/** The SQL of workflows: their names and versions. Executions are in execution-store.ts, batches in batch-store.ts. */
import { AppError } from "@signalbox/kernel/app-error"
import { limits } from "@signalbox/contracts/schemas"
import type { Sql, Tx } from "../../storage/database.ts"
import { versionsKept } from "../../storage/removal-task.ts"

export interface WorkflowRow {
  readonly name: string
  readonly version: number
  readonly description: string | null
  readonly document: string
  readonly definition: unknown
  readonly digest: string
  readonly createdAt: number
  readonly createdBy: string
}

const columns = `v.name, v.version, v.description, v.document, v.definition, v.digest, v.created_at as "createdAt",
  v.created_by as "createdBy"`

/** The newest version of a workflow, or a given one. */
export async function findWorkflow(
  sql: Sql,
  key: { readonly account: string; readonly name: string; readonly version?: number | undefined },
): Promise<WorkflowRow | undefined> {
  const [row] = await sql.query<WorkflowRow>(
    `select ${columns} from workflow_versions v
     where v.account = $1 and v.name = $2
       and v.version = coalesce($3, (select w.version from workflows w where w.account = $1 and w.name = $2))`,
    [key.account, key.name, key.version ?? null],
  )
  return row
}

/** As `findWorkflow`. @throws workflows.not-found, workflows.version-not-found */
export async function getStoredWorkflow(
  sql: Sql,
  key: { readonly account: string; readonly name: string; readonly version?: number | undefined },
): Promise<WorkflowRow> {
  const row = await findWorkflow(sql, key)
  if (row) return row
  const exists = key.version !== undefined && (await findWorkflow(sql, { account: key.account, name: key.name }))
  if (exists) throw new AppError("workflows.version-not-found", `workflow "${key.name}" has no version ${key.version}`)
  throw new AppError("workflows.not-found", `there is no workflow "${key.name}" in this account`)
}

export async function listWorkflows(
  sql: Sql,
  page: { readonly account: string; readonly after: string; readonly limit: number },
): Promise<WorkflowRow[]> {
  return sql.query<WorkflowRow>(
    `select ${columns} from workflows w
     join workflow_versions v on v.account = w.account and v.name = w.name and v.version = w.version
     where w.account = $1 and w.name > $2 order by w.name limit $3`,
    [page.account, page.after, page.limit],
  )
}

/** Which of these names are there. */
export async function findWorkflowNames(sql: Sql, account: string, names: readonly string[]): Promise<string[]> {
  const rows = await sql.query<{ name: string }>("select name from workflows where account = $1 and name = any ($2)", [
    account,
    names,
  ])
  return rows.map(({ name }) => name)
}

/** Locks the workflow's name for this transaction, making it where it is new; gives its newest version, 0 where new. @throws workflows.too-many */
export async function lockWorkflow(tx: Tx, account: string, name: string): Promise<number> {
  await tx.query(
    "insert into workflows (account, name, version) values ($1, $2, 0) on conflict (account, name) do nothing",
    [account, name],
  )
  const [row] = await tx.query<{ version: number }>(
    "select version from workflows where account = $1 and name = $2 for update",
    [account, name],
  )
  if (row && row.version > 0) return row.version
  const [all] = await tx.query<{ count: number }>("select count(*)::int as count from workflows where account = $1", [
    account,
  ])
  if ((all?.count ?? 0) > limits.workflowsMax)
    throw new AppError("workflows.too-many", `an account has ${limits.workflowsMax} workflows at most`)
  return 0
}

export async function insertWorkflowVersion(
  tx: Tx,
  row: {
    readonly account: string
    readonly name: string
    readonly version: number
    readonly description: string | undefined
    readonly document: string
    readonly canonical: string
    readonly digest: string
    readonly createdBy: string
  },
): Promise<WorkflowRow> {
  await tx.query("update workflows set version = $3 where account = $1 and name = $2", [
    row.account,
    row.name,
    row.version,
  ])
  const [inserted] = await tx.query<WorkflowRow>(
    `insert into workflow_versions as v (account, name, version, description, document, definition, digest, created_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8) returning ${columns}`,
    [
      row.account,
      row.name,
      row.version,
      row.description ?? null,
      row.document,
      row.canonical,
      row.digest,
      row.createdBy,
    ],
  )
  if (!inserted) throw new Error("an insert gives its row")
  // Executions carry their own copy.
  await tx.query("delete from workflow_versions where account = $1 and name = $2 and version <= $3", [
    row.account,
    row.name,
    row.version - versionsKept,
  ])
  return inserted
}
