/**
 * A content-addressed directory: `ab/cd/<digest>`. Owns everything below its directory. A blob appears under its name
 * only when it is whole and on disk (temporary file, fsync, link), so a crash leaves nothing half written; leftovers
 * are removed when the store is opened. Bytes in use are counted at opening and kept from then on, by this process
 * alone, and counted again before content is refused: another server may have removed some. Servers may share a
 * directory: the file `store-id` in it is how they know.
 */
import { createHash, randomBytes, type Hash } from "node:crypto"
import { createReadStream } from "node:fs"
import { link, mkdir, open, readdir, readFile, rm, stat, unlink, writeFile, type FileHandle } from "node:fs/promises"
import { dirname, join } from "node:path"
import { Readable, Transform } from "node:stream"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { syncDirectory } from "./sync-directory.ts"
import type { BlobStore, ByteRange, StagedBlob, StoredBlob } from "./blob-store.ts"

const digestPattern = /^[0-9a-f]{64}$/
const idFile = "store-id"
/** Content over the quota makes the directory be counted anew, at most so often. */
const recountMilliseconds = 10_000

/**
 * Opens the store of a directory, which is made if missing. `bytesMax` is its quota. What is left unfinished for longer
 * than `unfinishedKeptMilliseconds` is removed: all of it, unless other servers may be writing there.
 */
export async function openDirectoryBlobStore(options: {
  directory: string
  bytesMax: number
  unfinishedKeptMilliseconds?: number
}): Promise<BlobStore> {
  const unfinished = join(options.directory, "unfinished")
  await mkdir(unfinished, { recursive: true, mode: 0o700 })
  await removeUnfinished(unfinished, options.unfinishedKeptMilliseconds ?? 0)
  const store = new DirectoryBlobStore(options, await ensureStoreId(options.directory))
  await store.count()
  return store
}

async function removeUnfinished(directory: string, keptMilliseconds: number): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    const found = await stat(path).catch(() => undefined)
    if (found && Date.now() - found.mtimeMs >= keptMilliseconds) await rm(path, { recursive: true, force: true })
  }
}

/** The first server to open the directory names it; the link decides between two at once. */
async function ensureStoreId(directory: string): Promise<string> {
  const path = join(directory, idFile)
  const read = () => readFile(path, "utf8").then((text) => text.trim())
  const existing = await read().catch(() => undefined)
  if (existing !== undefined) return existing
  const temporary = join(directory, "unfinished", randomBytes(12).toString("hex"))
  await writeFile(temporary, `directory:${randomBytes(16).toString("hex")}\n`, { mode: 0o600, flush: true })
  await link(temporary, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error
  })
  await unlink(temporary)
  await syncDirectory(directory)
  return read()
}

/** The content of a directory, which need not be there, for reading beside the process that owns it. */
export function readDirectoryBlobs(directory: string): Pick<BlobStore, "list" | "open"> {
  return new DirectoryBlobStore({ directory, bytesMax: 0 }, "")
}

class DirectoryBlobStore implements BlobStore {
  readonly id: string
  readonly #directory: string
  readonly #bytesMax: number
  #bytesUsed = 0
  #bytesWriting = 0
  #recountedAt = -Infinity

  constructor({ directory, bytesMax }: { directory: string; bytesMax: number }, id: string) {
    this.id = id
    this.#directory = directory
    this.#bytesMax = bytesMax
  }

  get bytesUsed(): number {
    return this.#bytesUsed
  }

  async count(): Promise<void> {
    let sum = 0
    for await (const { bytes } of this.list()) sum += bytes
    this.#bytesUsed = sum
  }

  async stage(content: Uint8Array | Readable): Promise<StagedBlob> {
    const temporary = join(this.#directory, "unfinished", randomBytes(12).toString("hex"))
    const discard = (): Promise<void> => rm(temporary, { force: true })
    try {
      const stored = await this.#write(temporary, content)
      const publish = (): Promise<void> =>
        this.#publish(temporary, stored).catch(async (error: unknown) => {
          await discard()
          throw toBlobError(error)
        })
      return { ...stored, publish, discard }
    } catch (error) {
      await discard()
      throw toBlobError(error)
    }
  }

  async put(content: Uint8Array | Readable): Promise<StoredBlob> {
    const { digest, bytes, publish } = await this.stage(content)
    await publish()
    return { digest, bytes }
  }

  async open(digest: string, range?: ByteRange): Promise<Readable> {
    const path = this.#pathOf(digest)
    const found = await stat(path).catch(() => undefined)
    if (!found) throw new AppError("storage.blob-not-found", `no content ${digest} in the blob store`)
    const { start = 0, end = found.size } = range ?? {}
    if (start >= end) return Readable.from([])
    if (start > 0 || end < found.size) return createReadStream(path, { start, end: end - 1 })
    const file = createReadStream(path)
    const verified = verifier(digest)
    file.on("error", (error) => verified.destroy(error))
    verified.on("close", () => file.destroy())
    return file.pipe(verified)
  }

  async has(digest: string): Promise<boolean> {
    return (await stat(this.#pathOf(digest)).catch(() => undefined)) !== undefined
  }

  async remove(digest: string): Promise<boolean> {
    const path = this.#pathOf(digest)
    const found = await stat(path).catch(() => undefined)
    if (!found) return false
    const removed = await unlink(path).then(
      () => true,
      () => false,
    )
    if (removed) this.#bytesUsed -= found.size
    return removed
  }

  async *list(): AsyncIterable<StoredBlob> {
    for (const first of await listFolders(this.#directory)) {
      for (const second of await listFolders(join(this.#directory, first))) {
        const folder = join(this.#directory, first, second)
        for (const digest of (await readdir(folder)).filter((name) => digestPattern.test(name)).toSorted()) {
          const found = await stat(join(folder, digest)).catch(() => undefined)
          if (found) yield { digest, bytes: found.size }
        }
      }
    }
  }

  /** The quota is checked while writing, so that content of unknown length cannot fill the disk. */
  async #write(path: string, content: Uint8Array | Readable): Promise<StoredBlob> {
    const hash = createHash("sha256")
    let bytes = 0
    const handle = await open(path, "wx", 0o600)
    try {
      for await (const chunk of content instanceof Uint8Array ? [content] : content) {
        const part = typeof chunk === "string" ? Buffer.from(chunk) : (chunk as Uint8Array)
        bytes += part.length
        this.#bytesWriting += part.length
        if (this.#isOver() && performance.now() - this.#recountedAt > recountMilliseconds) {
          this.#recountedAt = performance.now()
          await this.count()
        }
        if (this.#isOver()) {
          throw new AppError(
            "storage.blob-quota",
            `the blob store holds ${this.#bytesUsed} of ${this.#bytesMax} bytes, so this content does not fit`,
          )
        }
        hash.update(part)
        await writeAll(handle, part)
      }
      await handle.sync()
    } finally {
      this.#bytesWriting -= bytes
      await handle.close()
    }
    return { digest: hash.digest("hex"), bytes }
  }

  #isOver(): boolean {
    return this.#bytesUsed + this.#bytesWriting > this.#bytesMax
  }

  async #publish(temporary: string, { digest, bytes }: StoredBlob): Promise<void> {
    const path = this.#pathOf(digest)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    // Unlike a rename, a link tells whether the content was there already, even if two store it at once.
    const isNew = await link(temporary, path).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error
        return false
      },
    )
    await unlink(temporary)
    if (!isNew) return
    this.#bytesUsed += bytes
    await syncDirectory(dirname(path))
  }

  #pathOf(digest: string): string {
    assert(digestPattern.test(digest), "a blob is named by 64 hexadecimal digits")
    return join(this.#directory, digest.slice(0, 2), digest.slice(2, 4), digest)
  }
}

async function writeAll(handle: FileHandle, part: Uint8Array): Promise<void> {
  for (let offset = 0; offset < part.length;) {
    const { bytesWritten } = await handle.write(part, offset)
    offset += bytesWritten
  }
}

/** Passes content on and fails at its end where it is not what the digest names. */
function verifier(digest: string): Transform {
  const hash: Hash = createHash("sha256")
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
    flush(done) {
      const good = hash.digest("hex") === digest
      done(good ? null : new AppError("storage.blob-damaged", `the content stored as ${digest} is not what it was`))
    },
  })
}

async function listFolders(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return []
    throw error
  })
  return names.filter((name) => /^[0-9a-f]{2}$/.test(name)).toSorted()
}

function toBlobError(error: unknown): unknown {
  if (isAppError(error)) return error
  const code = (error as NodeJS.ErrnoException).code
  if (code === "ENOSPC" || code === "EDQUOT")
    return new AppError("storage.disk-full", "storing content: the disk is full", { cause: error })
  return error
}
