/** The SQL of registered services. Instants are milliseconds. */
import type { servicesPut } from "@signalbox/contracts/gateway/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import { assert } from "@signalbox/kernel/assert"
import type { Sql, Tx } from "../../storage/database.ts"

/** What is kept of a service beside its name, its description and its document. */
export type ServiceSpec = Omit<InputOf<typeof servicesPut>, "name" | "description" | "document">

export interface ServiceRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly description: string | null
  readonly spec: ServiceSpec
  /** JSON. */
  readonly document: string
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const columns = `account, name, id, description, spec, document, version, created_at as "createdAt",
  changed_at as "changedAt", changed_by as "changedBy"`

export async function findService(sql: Sql, account: string, name: string): Promise<ServiceRow | undefined> {
  const [row] = await sql.query<ServiceRow>(
    `select ${columns} from external_services where account = $1 and name = $2`,
    [account, name],
  )
  return row
}

export async function lockService(tx: Tx, account: string, name: string): Promise<ServiceRow | undefined> {
  const [row] = await tx.query<ServiceRow>(
    `select ${columns} from external_services where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

export function readServices(sql: Sql, account: string): Promise<ServiceRow[]> {
  return sql.query<ServiceRow>(`select ${columns} from external_services where account = $1 order by name`, [account])
}

export function listServices(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<ServiceRow[]> {
  return sql.query<ServiceRow>(
    `select ${columns} from external_services where account = $1 and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

export async function countServices(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    "select count(*)::int as count from external_services where account = $1",
    [account],
  )
  return row?.count ?? 0
}

/** Creates or replaces a service; its id and the time of its creation stay. */
export async function putService(
  tx: Tx,
  service: Pick<ServiceRow, "account" | "name" | "id" | "description" | "spec" | "document" | "changedBy">,
  now: number,
): Promise<ServiceRow> {
  const { account, name, id, description, spec, document, changedBy } = service
  const [row] = await tx.query<ServiceRow>(
    `insert into external_services (account, name, id, description, spec, document, created_at, changed_at, changed_by)
     values ($1, $2, $3, $4, $5, $6, to_timestamp($7::float8 / 1000), to_timestamp($7::float8 / 1000), $8)
     on conflict (account, name) do update set description = excluded.description, spec = excluded.spec,
       document = excluded.document, changed_at = excluded.changed_at, changed_by = excluded.changed_by,
       version = external_services.version + 1
     returning ${columns}`,
    [account, name, id, description, JSON.stringify(spec), document, now, changedBy],
  )
  assert(row, "an upsert returns its row")
  return row
}

export async function deleteService(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("delete from external_services where account = $1 and name = $2", [account, name])
}
