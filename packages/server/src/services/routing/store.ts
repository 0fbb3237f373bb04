import type { MapDocument } from "@signalbox/contracts/routing/map-document"
import { routingLimits } from "@signalbox/contracts/routing/map-document"
import { installationAccount } from "../../storage/configuration-versions.ts"
import type { Sql, Tx } from "../../storage/database.ts"

/** Who changed an entry of the map last, and when (milliseconds), by its place: `routes.nodes.list`. */
export type Stamps = Readonly<Record<string, { readonly by: string; readonly at: number }>>

export interface StoredMap {
  readonly version: number
  readonly document: MapDocument
  readonly stamps: Stamps
}

export interface StoredVersion {
  readonly version: number
  readonly changedAt: number
  readonly changedBy: string
  readonly operation: string
  readonly comment: string | null
  readonly requestId: string | null
}

/** The newest version, or a given one. */
export async function findMap(sql: Sql, version?: number): Promise<StoredMap | undefined> {
  const [row] = await sql.query<StoredMap>(
    `select version, document, stamps from routing_map_versions
     where account = $1 and ($2::bigint is null or version = $2) order by version desc limit 1`,
    [installationAccount, version ?? null],
  )
  return row
}

/** Serializes edits of the map: two edits that are good alone may be bad together. */
export async function lockMap(tx: Tx): Promise<void> {
  await tx.query("lock table routing_map_versions in share row exclusive mode")
}

/** Adds a version, and removes those beyond the ones that are kept. */
export async function insertMap(
  tx: Tx,
  map: StoredMap & {
    readonly operation: string
    readonly changedBy: string
    readonly comment?: string | undefined
    readonly requestId?: string | undefined
  },
): Promise<void> {
  await tx.query(
    `insert into routing_map_versions
       (account, version, document, stamps, operation, comment, request_id, changed_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      installationAccount,
      map.version,
      JSON.stringify(map.document),
      JSON.stringify(map.stamps),
      map.operation,
      map.comment ?? null,
      map.requestId ?? null,
      map.changedBy,
    ],
  )
  await tx.query("delete from routing_map_versions where account = $1 and version <= $2", [
    installationAccount,
    map.version - routingLimits.versionsMax,
  ])
}

/** The newest first. */
export async function listVersions(sql: Sql, before: number | undefined, limit: number): Promise<StoredVersion[]> {
  return sql.query<StoredVersion>(
    `select version, changed_at as "changedAt", changed_by as "changedBy", operation, comment,
            request_id as "requestId"
     from routing_map_versions where account = $1 and ($2::bigint is null or version < $2)
     order by version desc limit $3`,
    [installationAccount, before ?? null, limit],
  )
}
