/**
 * A content-addressed directory: `ab/cd/<digest>`. Owns everything below its directory. A blob appears under its name
 * only when it is whole and on disk (temporary file, fsync, link), so a crash leaves nothing half written; leftovers
 * are removed when the store is opened. Bytes in use are counted at opening and kept from then on, by this process alone.
 */
import { createHash, randomBytes, type Hash } from "node:crypto"
import { createReadStream } from "node:fs"
import { link, mkdir, open, readdir, rm, stat, unlink, type FileHandle } from "node:fs/promises"
import { dirname, join } from "node:path"
import { Transform, type Readable } from "node:stream"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { syncDirectory } from "./sync-directory.ts"
import type { BlobStore, StoredBlob } from "./blob-store.ts"

const digestPattern = /^[0-9a-f]{64}$/

/** Opens the store of a directory, which is made if missing. `bytesMax` is its quota. */
export async function openDirectoryBlobStore(options: { directory: string; bytesMax: number }): Promise<BlobStore> {
  const unfinished = join(options.directory, "unfinished")
  await rm(unfinished, { recursive: true, force: true })
  await mkdir(unfinished, { recursive: true, mode: 0o700 })
  const store = new DirectoryBlobStore(options)
  await store.count()
  return store
}

/** The content of a directory, which need not be there, for reading beside the process that owns it. */
export function readDirectoryBlobs(directory: string): Pick<BlobStore, "list" | "open"> {
  return new DirectoryBlobStore({ directory, bytesMax: 0 })
}

class DirectoryBlobStore implements BlobStore {
  readonly #directory: string
  readonly #bytesMax: number
  #bytesUsed = 0
  #bytesWriting = 0

  constructor({ directory, bytesMax }: { directory: string; bytesMax: number }) {
    this.#directory = directory
    this.#bytesMax = bytesMax
  }

  get bytesUsed(): number {
    return this.#bytesUsed
  }

  async count(): Promise<void> {
    for await (const { bytes } of this.list()) this.#bytesUsed += bytes
  }

  async put(content: Uint8Array | Readable): Promise<StoredBlob> {
    const temporary = join(this.#directory, "unfinished", randomBytes(12).toString("hex"))
    try {
      const stored = await this.#write(temporary, content)
      await this.#publish(temporary, stored)
      return stored
    } catch (error) {
      await rm(temporary, { force: true })
      throw toBlobError(error)
    }
  }

  async open(digest: string): Promise<Readable> {
    const path = this.#pathOf(digest)
    const found = await stat(path).catch(() => undefined)
    if (!found) throw new AppError("storage.blob-not-found", `no content ${digest} in the blob store`)
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
        if (this.#bytesUsed + this.#bytesWriting > this.#bytesMax) {
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
