import { installationAccount } from "../../storage/configuration-versions.ts"
import type { Sql, Tx } from "../../storage/database.ts"
import type { RouteRow } from "../../router/routing-map.ts"

export interface StoredRoute extends RouteRow {
  readonly version: number
  readonly changed_at: number
  readonly changed_by: string
}

const columns = "operation, services, version, changed_at, changed_by"

export async function readRoutes(sql: Sql): Promise<StoredRoute[]> {
  return sql.query<StoredRoute>(`select ${columns} from routes where account = $1`, [installationAccount])
}

export async function listRoutes(sql: Sql, after: string, limit: number): Promise<StoredRoute[]> {
  return sql.query<StoredRoute>(
    `select ${columns} from routes where account = $1 and operation > $2 order by operation limit $3`,
    [installationAccount, after, limit],
  )
}

/** Serializes edits of the map: two edits that are good alone may be bad together. */
export async function lockRoutes(tx: Tx): Promise<void> {
  await tx.query("lock table routes in share row exclusive mode")
}

export async function putRoute(tx: Tx, row: RouteRow, changedBy: string): Promise<StoredRoute> {
  const [stored] = await tx.query<StoredRoute>(
    `insert into routes (account, operation, services, changed_by) values ($1, $2, $3, $4)
     on conflict (account, operation) do update
       set services = excluded.services, changed_by = excluded.changed_by, changed_at = now(), version = routes.version + 1
     returning ${columns}`,
    [installationAccount, row.operation, row.services, changedBy],
  )
  return stored as StoredRoute
}

/** Adds the rows that are not there yet. Gives how many were added. */
export async function addMissingRoutes(tx: Tx, rows: readonly RouteRow[], changedBy: string): Promise<number> {
  const added = await tx.query(
    `insert into routes (account, operation, services, changed_by)
     select $1, r.operation, array[r.service], $2 from unnest($3::text[], $4::text[]) as r (operation, service)
     on conflict do nothing returning operation`,
    [installationAccount, changedBy, rows.map((row) => row.operation), rows.map((row) => row.services[0] ?? "")],
  )
  return added.length
}

export async function deleteRoutes(tx: Tx): Promise<void> {
  await tx.query("delete from routes where account = $1", [installationAccount])
}
