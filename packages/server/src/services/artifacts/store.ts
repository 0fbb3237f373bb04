import type { StoredBlob } from "../../storage/blob-store.ts"
import type { Sql, Tx } from "../../storage/database.ts"

export interface ArtifactRow {
  readonly id: string
  readonly name: string
  readonly digest: string
  readonly bytes: number
  readonly received: number
  readonly state: "uploading" | "ready"
  readonly version: number
  readonly created_at: number
  readonly created_by: string
  readonly finished_at: number | null
}

const columns = "id, name, digest, bytes, received, state, version, created_at, created_by, finished_at"

export async function findArtifact(sql: Sql, account: string, id: string): Promise<ArtifactRow | undefined> {
  const [row] = await sql.query<ArtifactRow>(`select ${columns} from artifacts where account = $1 and id = $2`, [
    account,
    id,
  ])
  return row
}

/** The same, locked until the transaction ends. */
export async function lockArtifact(tx: Tx, account: string, id: string): Promise<ArtifactRow | undefined> {
  const [row] = await tx.query<ArtifactRow>(
    `select ${columns} from artifacts where account = $1 and id = $2 for update`,
    [account, id],
  )
  return row
}

/** What was begun or is there with this name and content, the ready one first. */
export async function findSame(
  sql: Sql,
  account: string,
  same: { readonly name: string; readonly digest: string; readonly bytes: number },
): Promise<ArtifactRow | undefined> {
  const [row] = await sql.query<ArtifactRow>(
    `select ${columns} from artifacts where account = $1 and name = $2 and digest = $3 and bytes = $4
     order by state, id desc limit 1`,
    [account, same.name, same.digest, same.bytes],
  )
  return row
}

/** The newest that is ready, by its name or its digest. */
export async function findReady(sql: Sql, account: string, nameOrDigest: string): Promise<ArtifactRow | undefined> {
  const [row] = await sql.query<ArtifactRow>(
    `select ${columns} from artifacts where account = $1 and (name = $2 or digest = $2) and state = 'ready'
     order by finished_at desc, id desc limit 1`,
    [account, nameOrDigest],
  )
  return row
}

export async function countArtifacts(sql: Sql, account: string): Promise<number> {
  const [row] = await sql.query<{ count: number }>("select count(*)::int as count from artifacts where account = $1", [
    account,
  ])
  return row?.count ?? 0
}

export async function insertArtifact(
  tx: Tx,
  account: string,
  row: Pick<ArtifactRow, "id" | "name" | "digest" | "bytes" | "created_by">,
): Promise<ArtifactRow> {
  const [made] = await tx.query<ArtifactRow>(
    `insert into artifacts (id, account, name, digest, bytes, created_by) values ($1, $2, $3, $4, $5, $6)
     returning ${columns}`,
    [row.id, account, row.name, row.digest, row.bytes, row.created_by],
  )
  return made as ArtifactRow
}

export async function insertPart(
  tx: Tx,
  account: string,
  part: StoredBlob & { readonly artifactId: string; readonly start: number },
): Promise<ArtifactRow> {
  await tx.query(
    "insert into artifact_parts (artifact_id, account, start, digest, bytes) values ($1, $2, $3, $4, $5)",
    [part.artifactId, account, part.start, part.digest, part.bytes],
  )
  const [row] = await tx.query<ArtifactRow>(
    `update artifacts set received = received + $3, touched_at = now() where account = $1 and id = $2
     returning ${columns}`,
    [account, part.artifactId, part.bytes],
  )
  return row as ArtifactRow
}

export function listParts(sql: Sql, account: string, artifactId: string): Promise<StoredBlob[]> {
  return sql.query<StoredBlob>(
    "select digest, bytes from artifact_parts where account = $1 and artifact_id = $2 order by start",
    [account, artifactId],
  )
}

export async function removeParts(tx: Tx, account: string, artifactId: string): Promise<void> {
  await tx.query("delete from artifact_parts where account = $1 and artifact_id = $2", [account, artifactId])
}

export async function markReady(tx: Tx, account: string, id: string): Promise<ArtifactRow> {
  const [row] = await tx.query<ArtifactRow>(
    `update artifacts set state = 'ready', finished_at = now(), version = version + 1 where account = $1 and id = $2
     returning ${columns}`,
    [account, id],
  )
  return row as ArtifactRow
}

/** An upload whose content is not what was announced begins anew. */
export async function forgetReceived(tx: Tx, account: string, id: string): Promise<void> {
  await removeParts(tx, account, id)
  await tx.query("update artifacts set received = 0 where account = $1 and id = $2", [account, id])
}

export async function removeArtifact(tx: Tx, account: string, id: string): Promise<void> {
  await removeParts(tx, account, id)
  await tx.query("delete from artifacts where account = $1 and id = $2", [account, id])
}

export function listArtifacts(
  sql: Sql,
  account: string,
  page: { readonly name?: string | undefined; readonly before?: string | undefined; readonly limit: number },
): Promise<ArtifactRow[]> {
  return sql.query<ArtifactRow>(
    `select ${columns} from artifacts where account = $1 and ($2::text is null or name = $2)
       and ($3::text is null or id < $3) order by id desc limit $4`,
    [account, page.name ?? null, page.before ?? null, page.limit],
  )
}

/** Uploads of any account that nobody went on with. */
export function listAbandoned(
  sql: Sql,
  days: number,
  limit: number,
): Promise<ReadonlyArray<{ readonly account: string; readonly id: string }>> {
  return sql.query(
    `select account, id from artifacts where state = 'uploading' and touched_at < now() - make_interval(days => $1)
     order by touched_at limit $2`,
    [days, limit],
  )
}

/** True where an upload is still one that nobody went on with; then it stays so until the transaction ends. */
export async function lockAbandoned(
  tx: Tx,
  account: string,
  upload: { readonly id: string; readonly days: number },
): Promise<boolean> {
  const rows = await tx.query(
    `select 1 from artifacts where account = $1 and id = $2 and state = 'uploading'
       and touched_at < now() - make_interval(days => $3) for update`,
    [account, upload.id, upload.days],
  )
  return rows.length > 0
}
