import type { Sql, Tx } from "../../storage/database.ts"
import type { PackageChange, PackageState } from "./package-changes.ts"

/** Of each node; about one large upgrade and years of small ones. */
export const packageChangesKeptMax = 5000

export interface EarlierPackages extends PackageState {
  readonly collectedAt: number
}

/** What the node's inventory on record says of its packages. */
export async function findEarlierPackages(
  tx: Tx,
  account: string,
  nodeId: string,
): Promise<EarlierPackages | undefined> {
  const [row] = await tx.query<EarlierPackages>(
    `select inventory->>'packageManager' as "packageManager", inventory->'packages' as packages,
       inventory->'problems' as problems, collected_at as "collectedAt"
     from node_inventories where node_id = $1 and account = $2`,
    [nodeId, account],
  )
  return row
}

export async function writePackageChanges(
  tx: Tx,
  changes: {
    readonly account: string
    readonly nodeId: string
    readonly seenAt: number
    readonly seenAfter: number
    readonly rows: readonly PackageChange[]
  },
): Promise<void> {
  const { account, nodeId, rows } = changes
  if (rows.length === 0) return
  await tx.query(
    `insert into node_package_changes
       (node_id, account, package, architecture, seen_at, seen_after, changed_at, from_version, to_version)
     select $1, $2, c.package, c.architecture, to_timestamp($3::float8 / 1000), to_timestamp($4::float8 / 1000),
       to_timestamp(c.changed_at / 1000), c.from_version, c.to_version
     from unnest($5::text[], $6::text[], $7::float8[], $8::text[], $9::text[])
       as c (package, architecture, changed_at, from_version, to_version)
     on conflict do nothing`,
    [
      nodeId,
      account,
      changes.seenAt,
      changes.seenAfter,
      rows.map((row) => row.package),
      rows.map((row) => row.architecture),
      rows.map((row) => row.changedAt),
      rows.map((row) => row.fromVersion),
      rows.map((row) => row.toVersion),
    ],
  )
  await tx.query(
    `delete from node_package_changes where node_id = $1 and account = $2 and seen_at < (
       select seen_at from node_package_changes where node_id = $1 and account = $2
       order by seen_at desc offset $3 limit 1)`,
    [nodeId, account, packageChangesKeptMax - 1],
  )
}

export interface PackageChangeRow extends PackageChange {
  readonly seenAt: number
  readonly seenAfter: number
}

/** The newest first. */
export function listPackageChanges(
  sql: Sql,
  filter: {
    readonly account: string
    readonly nodeId: string
    readonly package?: string | undefined
    readonly before?: { readonly seenAt: number; readonly package: string; readonly architecture: string } | undefined
    readonly limit: number
  },
): Promise<PackageChangeRow[]> {
  const { before } = filter
  return sql.query<PackageChangeRow>(
    `select package, architecture, from_version as "fromVersion", to_version as "toVersion", changed_at as "changedAt",
       seen_at as "seenAt", seen_after as "seenAfter"
     from node_package_changes
     where node_id = $1 and account = $2 and ($3::text is null or package = $3)
       and ($4::float8 is null or seen_at < to_timestamp($4::float8 / 1000)
         or (seen_at = to_timestamp($4::float8 / 1000) and (package, architecture) > ($5, $6)))
     order by seen_at desc, package, architecture limit $7`,
    [
      filter.nodeId,
      filter.account,
      filter.package ?? null,
      before?.seenAt ?? null,
      before?.package ?? null,
      before?.architecture ?? null,
      filter.limit,
    ],
  )
}
