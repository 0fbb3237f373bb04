import type { RoleName } from "@signalbox/contracts/identity/roles"
import type { Sql, Tx } from "../../storage/database.ts"

export interface ServiceAccountRow {
  readonly id: string
  readonly name: string
  readonly displayName: string
  readonly roles: RoleName[]
  readonly teams: string[]
  readonly disabledAt: number | null
  readonly version: number
  readonly createdAt: number
  readonly createdBy: string
}

const columns = `id, name, display_name as "displayName", roles, teams, disabled_at as "disabledAt", version,
  created_at as "createdAt", created_by as "createdBy"`

/** Undefined where the name is taken. */
export async function insertServiceAccount(
  tx: Tx,
  account: string,
  row: Pick<ServiceAccountRow, "id" | "name" | "displayName" | "roles" | "teams" | "createdBy">,
): Promise<ServiceAccountRow | undefined> {
  const [inserted] = await tx.query<ServiceAccountRow>(
    `insert into service_accounts (account, id, name, display_name, roles, teams, created_by)
     values ($1, $2, $3, $4, $5, $6, $7) on conflict (account, name) do nothing returning ${columns}`,
    [account, row.id, row.name, row.displayName, row.roles, row.teams, row.createdBy],
  )
  return inserted
}

export async function countServiceAccounts(tx: Tx, account: string): Promise<number> {
  const [row] = await tx.query<{ count: number }>("select count(*) as count from service_accounts where account = $1", [
    account,
  ])
  return row?.count ?? 0
}

export async function listServiceAccounts(
  sql: Sql,
  account: string,
  page: { after: string; limit: number },
): Promise<ServiceAccountRow[]> {
  return sql.query<ServiceAccountRow>(
    `select ${columns} from service_accounts where account = $1 and id > $2 order by id limit $3`,
    [account, page.after, page.limit],
  )
}

export async function readServiceAccounts(sql: Sql, account: string): Promise<ServiceAccountRow[]> {
  return sql.query<ServiceAccountRow>(`select ${columns} from service_accounts where account = $1`, [account])
}

/** By id or by name. */
export async function findServiceAccount(
  sql: Sql,
  account: string,
  reference: string,
): Promise<ServiceAccountRow | undefined> {
  const [row] = await sql.query<ServiceAccountRow>(
    `select ${columns} from service_accounts where account = $1 and (id = $2 or name = $2)`,
    [account, reference],
  )
  return row
}

/** As `findServiceAccount`, locked until the transaction ends. */
export async function lockServiceAccount(
  tx: Tx,
  account: string,
  reference: string,
): Promise<ServiceAccountRow | undefined> {
  const [row] = await tx.query<ServiceAccountRow>(
    `select ${columns} from service_accounts where account = $1 and (id = $2 or name = $2) for update`,
    [account, reference],
  )
  return row
}

export async function updateServiceAccount(
  tx: Tx,
  account: string,
  row: ServiceAccountRow,
): Promise<ServiceAccountRow> {
  const [updated] = await tx.query<ServiceAccountRow>(
    `update service_accounts set display_name = $3, roles = $4, teams = $5,
       disabled_at = to_timestamp($6::float8 / 1000), version = version + 1
     where account = $1 and id = $2 returning ${columns}`,
    [account, row.id, row.displayName, row.roles, row.teams, row.disabledAt],
  )
  return updated as ServiceAccountRow
}
