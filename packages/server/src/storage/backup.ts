/**
 * Backup, restore and move of a whole installation's data with nothing but database connections: one consistent
 * snapshot, every table and every blob with its count and digest, checked again where it arrives, and the few files
 * that an installation can't do without. Events that were handed out and not handled yet go along; the rest of the job
 * queue does not.
 */
import { Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import type pg from "pg"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { migrateBackgroundQueue } from "./background-queue.ts"
import { verifyAuditChains, type AuditVerdict } from "./audit-verify.ts"
import { readBackupFile, unreadable, writeBackupFile, type Frame } from "./backup-container.ts"
import type { BlobStore } from "./blob-store.ts"
import { type KeptFile, keepFile, readKeptFiles } from "./kept-files.ts"
import { connectDirect, schemaName, type Connection, type Sql, type StorageLogger } from "./database.ts"
import { sqlOf } from "./statements.ts"
import { listLiveServers } from "./server-lease.ts"
import { migrate, readLedger, readMigrations, type AppliedMigration } from "./migrator.ts"
import {
  checkPart,
  fixTextForm,
  listCopyParts,
  makePendingJobTable,
  pendingJobs,
  queuePendingJobs,
  readPart,
  writePart,
  type CopyDigest,
  type CopyPart,
} from "./table-copy.ts"

export interface CopySummary {
  readonly tables: ReadonlyArray<{ readonly name: string; readonly rows: number }>
  readonly blobs: number
  /** Files of the data directory that went along: the certificate authority, the first administrator's key and others. */
  readonly files: readonly string[]
  /** What the copied audit chains say of themselves; absent where the data are of a time before chains. */
  readonly audit?: AuditVerdict
}

interface CopyOptions {
  readonly programVersion: string
  readonly components: readonly string[]
  readonly logger?: StorageLogger
}

interface Header {
  readonly programVersion: string
  readonly ledger: AppliedMigration[]
  /** The outbox's position at the snapshot: everything in it comes before, everything written later must come after. */
  readonly position: number
}

/**
 * Writes everything to one file: the database, the blobs and, of a server's data directory, what agents and people
 * know the server by. Servers may go on working.
 *
 * @throws storage.unavailable, storage.disk-full, storage.blob-damaged, storage.files-changed
 */
export async function backupDatabase(options: {
  connection: Connection
  path: string
  programVersion: string
  blobs?: Pick<BlobStore, "list" | "open">
  dataDirectory?: string
}): Promise<CopySummary> {
  const tables: Array<{ name: string; rows: number }> = []
  const counts = { blobs: 0 }
  const files = options.dataDirectory === undefined ? [] : await readKeptFiles(options.dataDirectory)
  const audit = await withSnapshot(options.connection, async (source) => {
    await refuseChangedFiles(options.dataDirectory, files)
    await writeBackupFile(options.path, giveFrames(source))
    return await verifyChains(source)
  })
  return { tables, blobs: counts.blobs, files: files.map((file) => file.path), ...audit }

  async function* giveFrames(source: Source): AsyncGenerator<Frame> {
    yield { kind: "header", fields: { ...source.header, programVersion: options.programVersion } }
    for (const part of source.parts) {
      yield { kind: "table", fields: { name: part.name, target: part.target } }
      const { stream, finish } = readPart(source.client, part)
      for await (const bytes of stream) yield { kind: "data", bytes: bytes as Uint8Array }
      const digest = finish()
      tables.push({ name: part.name, rows: digest.rows })
      yield { kind: "table-end", fields: { ...digest } }
    }
    // Blobs never change, so those that the snapshot's rows name are there unless collected meanwhile.
    for await (const { digest, bytes: size } of options.blobs?.list() ?? []) {
      const content = await openUnlessCollected(options.blobs, digest)
      if (!content) continue
      yield { kind: "blob", fields: { digest, bytes: size } }
      for await (const bytes of content) yield { kind: "data", bytes: bytes as Uint8Array }
      counts.blobs++
    }
    for (const { path, bytes } of files) {
      yield { kind: "file", fields: { path } }
      yield { kind: "data", bytes }
    }
  }
}

/** Files read before the snapshot that are the same after its begin belong to it: no key was changed in between. */
async function refuseChangedFiles(dataDirectory: string | undefined, files: readonly KeptFile[]): Promise<void> {
  const now = dataDirectory === undefined ? [] : await readKeptFiles(dataDirectory)
  const isSame =
    now.length === files.length &&
    now.every(({ path, bytes }, index) => {
      const before = files[index]
      return before?.path === path && Buffer.compare(before.bytes, bytes) === 0
    })
  if (!isSame)
    throw new AppError("storage.files-changed", `the keys in ${dataDirectory} changed while the backup began`)
}

async function verifyChains({ client }: { readonly client: pg.Client }): Promise<Pick<CopySummary, "audit">> {
  const audit = await verifyAuditChains(sqlOf(client))
  return audit === undefined ? {} : { audit }
}

/** Content that nothing needs any more may go between the list and its turn: a server's collection works on. */
function openUnlessCollected(
  blobs: Pick<BlobStore, "open"> | undefined,
  digest: string,
): Promise<Readable | undefined> | undefined {
  return blobs?.open(digest).catch((error: unknown) => {
    if (hasCode(error, "storage.blob-not-found")) return undefined
    throw error
  })
}

/**
 * Loads a backup into an empty database, as it was at the backup's level of migrations; `migrate` then brings it up to
 * date. Nothing is left behind in the database where it fails. Files that the data directory has already stay as they
 * are, unless they differ: then the restore is refused.
 *
 * @throws storage.backup-unreadable, storage.target-not-empty, storage.program-too-old, storage.migration-changed,
 *   storage.file-differs
 */
export async function restoreDatabase(
  options: CopyOptions & { connection: Connection; path: string; blobs?: BlobStore; dataDirectory?: string },
): Promise<CopySummary> {
  const { path, blobs, dataDirectory } = options
  // The whole file is read once before anything is written: damage at its end must not leave half an installation.
  for await (const _frame of readBackupFile(path)) continue
  const frames = readBackupFile(path)
  const first = (await frames.next()).value as Frame | undefined
  if (first?.kind !== "header") throw unreadable(path, "it has no header")
  const reader = new FrameReader(frames)
  return withTarget(options, first.fields as unknown as Header, async (target) => {
    const tables: Array<{ name: string; rows: number }> = []
    for (let begin = await reader.next(); begin?.kind === "table"; begin = await reader.next()) {
      const part = target.getPart(String(begin.fields["name"]), String(begin.fields["target"]))
      await writePart(target.client, part, reader.data())
      const end = await reader.next()
      assert(end?.kind === "table-end", "a table's frames end with its count")
      tables.push({ name: part.name, rows: await target.finish(part, end.fields as unknown as CopyDigest) })
    }
    const audit = await verifyChains(target)
    const restored = { blobs: await restoreBlobs(reader, blobs), files: await restoreFiles(reader, dataDirectory) }
    return { tables, ...restored, ...audit }
  })
}

/**
 * Copies a database straight into another, empty one. Its servers are stopped before: what they wrote afterwards would
 * be missing. @throws storage.servers-running, storage.target-not-empty, storage.program-too-old
 */
export async function moveDatabase(options: CopyOptions & { from: Connection; to: Connection }): Promise<CopySummary> {
  return withSnapshot(options.from, async (source) => {
    const servers = await listLiveServers(sqlOf(source.client))
    if (servers.length > 0) {
      throw new AppError("storage.servers-running", `the database to be moved is in use by ${servers.join(", ")}`)
    }
    return withTarget({ ...options, connection: options.to }, source.header, async (target) => {
      const tables: Array<{ name: string; rows: number }> = []
      for (const from of source.parts) {
        const part = target.getPart(from.name, from.target)
        const { stream, finish } = readPart(source.client, from)
        await writePart(target.client, part, stream)
        tables.push({ name: part.name, rows: await target.finish(part, finish()) })
      }
      return { tables, blobs: 0, files: [], ...(await verifyChains(target)) }
    })
  })
}

interface Source {
  readonly client: pg.Client
  readonly header: Omit<Header, "programVersion">
  readonly parts: readonly CopyPart[]
}

/** Reads one state of a database, whatever is written meanwhile. */
async function withSnapshot<T>(connection: Connection, work: (source: Source) => Promise<T>): Promise<T> {
  const client = await connectDirect(connection)
  const sql = sqlOf(client)
  try {
    await sql.query("begin isolation level repeatable read read only")
    await fixTextForm(sql)
    const ledger = await readLedger(sql)
    if (ledger.length === 0) throw new AppError("storage.unavailable", "the database holds no Signalbox data")
    const [row] = await sql.query<{ position: number; jobs: boolean }>(
      `select outbox_position(pg_snapshot_xmax(pg_current_snapshot()))::text::bigint as position,
         to_regclass('graphile_worker._private_jobs') is not null as jobs`,
    )
    assert(row, "the position query gives one row")
    const parts = await listCopyParts(sql)
    return await work({
      client,
      header: { ledger, position: row.position },
      parts: row.jobs ? [...parts, pendingJobs] : parts,
    })
  } finally {
    await client.end().catch(() => {})
  }
}

interface Target {
  readonly client: pg.Client
  getPart(name: string, into: string): CopyPart
  /** Checks what was written and gives its number of rows. */
  finish(part: CopyPart, expected: CopyDigest): Promise<number>
}

/** Prepares an empty database, runs `work` in one transaction of it, and takes everything back should that fail. */
async function withTarget<T>(
  options: CopyOptions & { connection: Connection },
  header: Omit<Header, "programVersion">,
  work: (target: Target) => Promise<T>,
): Promise<T> {
  await checkLevels(options, header.ledger)
  const client = await connectDirect(options.connection)
  const sql = sqlOf(client)
  await checkEmpty(sql).catch(async (error: unknown) => {
    await client.end()
    throw error
  })
  try {
    await migrate({ ...options, levels: levelsOf(header.ledger) })
    await migrateBackgroundQueue(options.connection)
    await sql.query("begin")
    await fixTextForm(sql)
    const parts = await listCopyParts(sql)
    // Rows that migrations put in came along in the copy.
    await sql.query(`truncate ${parts.map(({ name }) => `${schemaName}.${name}`).join(", ")}`)
    await makePendingJobTable(sql)
    const result = await work(targetOf(client, [...parts, pendingJobs]))
    await sql.query("update outbox_base set xid_base = $1", [header.position])
    await sql.query("commit")
    return result
  } catch (error) {
    await sql.query("rollback").catch(() => {})
    await sql.query(`drop schema if exists ${schemaName} cascade`).catch(() => {})
    await sql.query("drop schema if exists graphile_worker cascade").catch(() => {})
    throw error
  } finally {
    await client.end().catch(() => {})
  }
}

function targetOf(client: pg.Client, parts: readonly CopyPart[]): Target {
  return {
    client,
    getPart(name, into) {
      const part = parts.find((one) => one.name === name)
      assert(part && part.target === into, `the table ${name} is the same in the copy and at its level of migrations`)
      return part
    },
    async finish(part, expected) {
      if (part === pendingJobs) await queuePendingJobs(client)
      await checkPart(client, part, expected)
      return expected.rows
    },
  }
}

/** The program must know every migration of the copy, with the same content. */
async function checkLevels(
  { components, programVersion }: CopyOptions,
  ledger: readonly AppliedMigration[],
): Promise<void> {
  const known = await readMigrations(components)
  for (const { component, number, name, sha256 } of ledger) {
    const migration = known.find((one) => one.component === component && one.number === number)
    if (!migration)
      throw new AppError(
        "storage.program-too-old",
        `the data knows ${component}/${name}, which Signalbox ${programVersion} does not`,
      )
    if (migration.sha256 !== sha256)
      throw new AppError("storage.migration-changed", `${component}/${name} ran with other content than it has now`)
  }
}

function levelsOf(ledger: readonly AppliedMigration[]): Map<string, number> {
  const levels = new Map<string, number>()
  for (const { component, number } of ledger) levels.set(component, Math.max(number, levels.get(component) ?? 0))
  return levels
}

async function checkEmpty(sql: Sql): Promise<void> {
  const found = await sql.query<{ name: string }>(
    "select nspname || '.' || relname as name from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = any ($1) and relkind in ('r', 'p') limit 1",
    [[schemaName, "graphile_worker"]],
  )
  if (found.length > 0)
    throw new AppError("storage.target-not-empty", `the target database already holds ${found[0]?.name}`)
}

async function restoreBlobs(reader: FrameReader, blobs: BlobStore | undefined): Promise<number> {
  let count = 0
  reader.back()
  for (let begin = await reader.next(); begin?.kind === "blob"; begin = await reader.next()) {
    const digest = String(begin.fields["digest"])
    if (!blobs) throw new AppError("settings.invalid", "the backup holds blobs; say where to put them")
    const stored = await blobs.put(Readable.from(reader.data()))
    if (stored.digest !== digest)
      throw new AppError("storage.blob-damaged", `the blob ${digest} arrived as ${stored.digest}`)
    count++
  }
  return count
}

async function restoreFiles(reader: FrameReader, dataDirectory: string | undefined): Promise<string[]> {
  const files: KeptFile[] = []
  reader.back()
  for (let begin = await reader.next(); begin?.kind === "file"; begin = await reader.next())
    files.push({ path: String(begin.fields["path"]), bytes: await buffer(Readable.from(reader.data())) })
  if (dataDirectory === undefined) return []
  for (const file of files) await keepFile(dataDirectory, file)
  return files.map((file) => file.path)
}

/** Frames with one of look-back, since a run of data ends where a frame of another kind begins. */
class FrameReader {
  readonly #frames: AsyncIterator<Frame>
  #last: Frame | undefined
  #again = false

  constructor(frames: AsyncIterator<Frame>) {
    this.#frames = frames
  }

  async next(): Promise<Exclude<Frame, { kind: "data" }> | undefined> {
    const frame = await this.#take()
    assert(frame?.kind !== "data", "data follows the table or blob that it belongs to")
    return frame
  }

  back(): void {
    this.#again = true
  }

  async *data(): AsyncGenerator<Uint8Array> {
    for (let frame = await this.#take(); ; frame = await this.#take()) {
      if (frame?.kind !== "data") return this.back()
      yield frame.bytes
    }
  }

  async #take(): Promise<Frame | undefined> {
    if (this.#again) {
      this.#again = false
      return this.#last
    }
    const { value, done } = await this.#frames.next()
    this.#last = done ? undefined : (value as Frame)
    return this.#last
  }
}
