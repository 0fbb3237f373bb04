/**
 * The blob store as services use it. Owns the table `blob`; services say by `reference` which aggregate needs what, in
 * the transaction of their own change. Content without a reference is collected in two steps: condemned when it was not
 * touched for the grace, removed when it stood condemned for the grace again. `put` and `touch` come before the content
 * and before the reference, and lift the sentence, so that whoever references within the grace never loses.
 */
import type { Readable } from "node:stream"
import { AppError } from "@signalbox/kernel/app-error"
import type { BlobStore, ByteRange, StoredBlob } from "./blob-store.ts"
import type { CronTask } from "./background-queue.ts"
import type { Database, Sql, Tx } from "./database.ts"

export const blobLimits = {
  /** A reference has to be committed so long after `put` or `touch` at the latest. */
  graceSeconds: 3600,
  collectedMax: 1000,
  quotaLookMilliseconds: 10_000,
} as const

export interface Blobs {
  /** Stores content, to be referenced within the grace. @throws storage.blob-quota, storage.disk-full, storage.blob-unavailable */
  put(content: Uint8Array | Readable): Promise<StoredBlob>
  /** Keeps content that is there for the grace, to be referenced once more. @throws storage.blob-not-found */
  touch(digest: string): Promise<StoredBlob>
  /** @throws storage.blob-not-found, storage.blob-damaged (at the end of the stream), storage.blob-unavailable */
  open(digest: string, range?: ByteRange): Promise<Readable>
  /** Says that the aggregate needs this content, in the transaction that changes the aggregate. */
  reference(tx: Tx, need: { readonly account: string; readonly aggregate: string } & StoredBlob): Promise<void>
  /** The aggregate needs this content, or where none is named any content, no longer. */
  unreference(
    tx: Tx,
    need: { readonly account: string; readonly aggregate: string; readonly digest?: string },
  ): Promise<void>
}

export function createBlobs(options: {
  readonly database: Database
  readonly store: BlobStore
  /** For all servers together. */
  readonly bytesMax: number
}): Blobs {
  const { database, store } = options
  const quota = new Quota(options)
  return {
    async put(content) {
      const staged = await store.stage(content)
      const { digest, bytes } = staged
      try {
        await quota.take(bytes)
        await touchBlob(database, { digest, bytes })
      } catch (error) {
        await staged.discard()
        throw error
      }
      await staged.publish()
      return { digest, bytes }
    },
    async touch(digest) {
      const [row] = await database.query<StoredBlob>(
        "update blob set touched_at = now(), condemned_at = null where digest = $1 returning digest, bytes",
        [digest],
      )
      if (!row) throw new AppError("storage.blob-not-found", `no content ${digest} in the blob store`)
      return row
    },
    open: (digest, range) => store.open(digest, range),
    async reference(tx, { account, aggregate, digest, bytes }) {
      await tx.query(
        `insert into blob_reference (aggregate_id, digest, account, bytes) values ($1, $2, $3, $4) on conflict do nothing`,
        [aggregate, digest, account, bytes],
      )
    },
    async unreference(tx, { account, aggregate, digest }) {
      await tx.query(
        "delete from blob_reference where aggregate_id = $1 and account = $2 and ($3::text is null or digest = $3)",
        [aggregate, account, digest ?? null],
      )
    },
  }
}

async function touchBlob(sql: Sql, { digest, bytes }: StoredBlob): Promise<void> {
  await sql.query(
    `insert into blob (digest, bytes) values ($1, $2)
     on conflict (digest) do update set touched_at = now(), condemned_at = null`,
    [digest, bytes],
  )
}

/** What all servers store together. Looked up now and then: between looks a server counts what it adds itself. */
class Quota {
  readonly #options: { readonly database: Database; readonly bytesMax: number }
  #bytes = 0
  #lookedAt = -Infinity

  constructor(options: { readonly database: Database; readonly bytesMax: number }) {
    this.#options = options
  }

  async take(bytes: number): Promise<void> {
    const { database, bytesMax } = this.#options
    if (performance.now() - this.#lookedAt > blobLimits.quotaLookMilliseconds || this.#bytes + bytes > bytesMax) {
      const [row] = await database.query<{ bytes: number }>("select coalesce(sum(bytes), 0)::bigint as bytes from blob")
      this.#bytes = row?.bytes ?? 0
      this.#lookedAt = performance.now()
    }
    if (this.#bytes + bytes > bytesMax)
      throw new AppError(
        "storage.blob-quota",
        `the blob store holds ${this.#bytes} of ${bytesMax} bytes, so ${bytes} more do not fit`,
      )
    this.#bytes += bytes
  }
}

/** Removes what nothing needs. Gives the number of blobs removed. */
export async function collectBlobs(options: {
  readonly database: Database
  readonly store: BlobStore
  readonly graceSeconds?: number
  readonly signal?: AbortSignal
}): Promise<number> {
  const { database, store, graceSeconds = blobLimits.graceSeconds } = options
  await database.query(
    `update blob set condemned_at = now() where digest in (
       select digest from blob b where condemned_at is null and touched_at < now() - make_interval(secs => $1)
         and not exists (select from blob_reference r where r.digest = b.digest)
       order by touched_at limit $2)`,
    [graceSeconds, blobLimits.collectedMax],
  )
  const condemned = await database.query<{ digest: string }>(
    "select digest from blob where condemned_at <= now() - make_interval(secs => $1) order by condemned_at limit $2",
    [graceSeconds, blobLimits.collectedMax],
  )
  let removed = 0
  for (const { digest } of condemned) {
    if (options.signal?.aborted) break
    if (await removeCondemned(database, store, { digest, graceSeconds })) removed++
  }
  return removed
}

/** The content goes while the row is locked: who stores it again waits, and then finds that it has to be written. */
function removeCondemned(
  database: Database,
  store: BlobStore,
  { digest, graceSeconds }: { readonly digest: string; readonly graceSeconds: number },
): Promise<boolean> {
  return database.transaction(async (tx) => {
    const rows = await tx.query(
      `delete from blob b where digest = $1 and condemned_at <= now() - make_interval(secs => $2)
         and not exists (select from blob_reference r where r.digest = b.digest) returning 1`,
      [digest, graceSeconds],
    )
    if (rows.length === 0) {
      await tx.query("update blob set condemned_at = null where digest = $1 and condemned_at is not null", [digest])
      return false
    }
    await store.remove(digest)
    return true
  })
}

export function blobCollection(store: BlobStore): CronTask {
  return {
    name: "storage.blobs-collection",
    cron: "*/10 * * * *",
    run: async ({ database, signal }) => void (await collectBlobs({ database, store, signal })),
  }
}
