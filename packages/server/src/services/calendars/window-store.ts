import type { Sql, Tx } from "../../storage/database.ts"

/** The SQL of maintenance windows. Instants and durations are milliseconds. */
export interface WindowRow {
  readonly account: string
  readonly name: string
  readonly id: string
  readonly description: string | null
  readonly cron: string | null
  readonly at: number | null
  readonly zone: string
  readonly durationMs: number
  readonly cutoffMs: number
  readonly excludedDates: readonly string[]
  readonly version: number
  readonly createdAt: number
  readonly changedAt: number
  readonly changedBy: string
}

const columns = `account, name, id, description, cron, at, zone, duration_ms as "durationMs", cutoff_ms as "cutoffMs",
  excluded_dates as "excludedDates", version, created_at as "createdAt", changed_at as "changedAt",
  changed_by as "changedBy"`

export async function findWindow(sql: Sql, account: string, name: string): Promise<WindowRow | undefined> {
  const [row] = await sql.query<WindowRow>(
    `select ${columns} from maintenance_windows where account = $1 and name = $2`,
    [account, name],
  )
  return row
}

export async function lockWindow(tx: Tx, account: string, name: string): Promise<WindowRow | undefined> {
  const [row] = await tx.query<WindowRow>(
    `select ${columns} from maintenance_windows where account = $1 and name = $2 for update`,
    [account, name],
  )
  return row
}

export async function readWindows(sql: Sql, account: string): Promise<WindowRow[]> {
  return sql.query<WindowRow>(`select ${columns} from maintenance_windows where account = $1`, [account])
}

export async function listWindows(
  sql: Sql,
  account: string,
  page: { readonly after: string; readonly limit: number },
): Promise<WindowRow[]> {
  return sql.query<WindowRow>(
    `select ${columns} from maintenance_windows where account = $1 and name > $2 order by name limit $3`,
    [account, page.after, page.limit],
  )
}

/** Those of the names that no window has. */
export async function findUnknownWindows(sql: Sql, account: string, names: readonly string[]): Promise<string[]> {
  const rows = await sql.query<{ name: string }>(
    `select name from unnest($2::text[]) as wanted (name)
     where not exists (select 1 from maintenance_windows w where w.account = $1 and w.name = wanted.name)`,
    [account, names],
  )
  return rows.map(({ name }) => name)
}

/** Creates or replaces a window; its id and the time of its creation stay. */
export async function putWindow(
  tx: Tx,
  window: Omit<WindowRow, "version" | "createdAt" | "changedAt">,
  now: number,
): Promise<WindowRow | undefined> {
  const [row] = await tx.query<WindowRow>(
    `insert into maintenance_windows (account, name, id, description, cron, at, zone, duration_ms, cutoff_ms,
       excluded_dates, created_at, changed_at, changed_by)
     values ($1, $2, $3, $4, $5, to_timestamp($6::float8 / 1000), $7, $8, $9, $10, to_timestamp($11::float8 / 1000),
       to_timestamp($11::float8 / 1000), $12)
     on conflict (account, name) do update
       set description = excluded.description, cron = excluded.cron, at = excluded.at, zone = excluded.zone,
         duration_ms = excluded.duration_ms, cutoff_ms = excluded.cutoff_ms, excluded_dates = excluded.excluded_dates,
         changed_at = excluded.changed_at, changed_by = excluded.changed_by, version = maintenance_windows.version + 1
     returning ${columns}`,
    [
      window.account,
      window.name,
      window.id,
      window.description,
      window.cron,
      window.at,
      window.zone,
      window.durationMs,
      window.cutoffMs,
      window.excludedDates,
      now,
      window.changedBy,
    ],
  )
  return row
}

export async function deleteWindow(tx: Tx, account: string, name: string): Promise<void> {
  await tx.query("delete from maintenance_windows where account = $1 and name = $2", [account, name])
}
