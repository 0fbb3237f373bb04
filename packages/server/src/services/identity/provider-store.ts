import type { identityProvidersApply } from "@signalbox/contracts/identity/identity-providers"
import type { InputOf } from "@signalbox/contracts/operation"
import type { Sql, Tx } from "../../storage/database.ts"

/** What a person wrote of a provider, without its name. */
export type ProviderSpec = Omit<InputOf<typeof identityProvidersApply>, "name">

export interface ProviderRow {
  readonly id: string
  readonly name: string
  readonly spec: ProviderSpec
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const columns = `id, name, spec, version, created_at as "createdAt", changed_at as "changedAt", changed_by as "changedBy"`

export async function readProviders(sql: Sql, account: string): Promise<ProviderRow[]> {
  return sql.query<ProviderRow>(`select ${columns} from identity_providers where account = $1 order by name`, [account])
}

export async function listProviders(
  sql: Sql,
  account: string,
  page: { after: string; limit: number },
): Promise<ProviderRow[]> {
  return sql.query<ProviderRow>(
    `select ${columns} from identity_providers where account = $1 and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

export async function findProvider(sql: Sql, account: string, name: string): Promise<ProviderRow | undefined> {
  const [row] = await sql.query<ProviderRow>(
    `select ${columns} from identity_providers where account = $1 and name = $2`,
    [account, name],
  )
  return row
}

export async function lockProvider(tx: Tx, account: string, name: string): Promise<ProviderRow | undefined> {
  const [row] = await tx.query<ProviderRow>(
    `select ${columns} from identity_providers where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

export async function countProviders(tx: Tx, account: string): Promise<number> {
  const [row] = await tx.query<{ count: number }>(
    "select count(*) as count from identity_providers where account = $1",
    [account],
  )
  return row?.count ?? 0
}

export async function putProvider(
  tx: Tx,
  account: string,
  provider: Pick<ProviderRow, "id" | "name" | "spec" | "changedBy"> & { readonly now: number },
): Promise<ProviderRow> {
  const [row] = await tx.query<ProviderRow>(
    `insert into identity_providers as p (account, id, name, spec, changed_by, created_at, changed_at)
     values ($1, $2, $3, $4, $5, to_timestamp($6::float8 / 1000), to_timestamp($6::float8 / 1000))
     on conflict (account, name) do update set spec = excluded.spec, changed_by = excluded.changed_by,
       changed_at = excluded.changed_at, version = p.version + 1
     returning ${columns}`,
    [account, provider.id, provider.name, JSON.stringify(provider.spec), provider.changedBy, provider.now],
  )
  return row as ProviderRow
}

export async function deleteProvider(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("delete from identity_providers where account = $1 and name = $2", [account, name])
}
