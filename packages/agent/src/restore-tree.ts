import { createHash } from "node:crypto"
import { constants, type Stats } from "node:fs"
import { chmod, lchown, lutimes, mkdir, open, rename, rmdir, symlink, unlink } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { changeItself } from "./change-itself.ts"
import { lstatIfThere, type Meta, readNames, type SavedNode } from "./saved-tree.ts"
import type { FileHandle } from "node:fs/promises"

const chunkBytes = 256 * 1024

/**
 * Puts saved nodes back so that type, content, mode, owner and times are what they were. Idempotent: what is right
 * already is left alone, so a restore that was cut short is simply done again.
 */
export class TreeRestorer {
  readonly #content: FileHandle
  readonly #buffer = Buffer.alloc(chunkBytes)

  constructor(content: FileHandle) {
    this.#content = content
  }

  async restore(path: string, node: SavedNode): Promise<void> {
    if (node.type === "absent") return await removeTree(Buffer.from(path))
    if (node.type === "file") return await this.#restoreFile(path, node)
    if (node.type === "symlink") return await restoreLink(path, node)
    if (node.type === "directory-itself") return await restoreDirectoryItself(path, node)
    await this.#restoreDirectory(path, node)
  }

  async #restoreDirectory(path: string, node: SavedNode & { type: "directory" }): Promise<void> {
    const stat = await lstatIfThere(path)
    if (stat && !stat.isDirectory()) await removeTree(Buffer.from(path))
    if (stat?.isDirectory()) await openDirectory(path, stat)
    else await mkdir(path, { mode: 0o700 })
    const kept = new Set(node.children.map((child) => child.name))
    for (const name of await readNames(path)) {
      const text = name.toString("utf8")
      if (!kept.has(text) || !Buffer.from(text).equals(name)) await removeTree(joinBytes(Buffer.from(path), name))
    }
    for (const child of node.children) await this.restore(join(path, child.name), child)
    await setMeta(path, node)
  }

  async #restoreFile(path: string, node: SavedNode & { type: "file" }): Promise<void> {
    const stat = await lstatIfThere(path)
    if (stat?.isFile() && stat.size === node.size && (await hashFile(path)) === node.sha256) {
      return await setMeta(path, node)
    }
    if (stat && !stat.isFile()) await removeTree(Buffer.from(path))
    const digest = createHash("sha256").update(basename(path)).digest("hex").slice(0, 16)
    const draft = join(dirname(path), `.signalbox-restore-${digest}`)
    try {
      await unlink(draft).catch(() => undefined)
      await this.#writeContent(draft, constants.O_CREAT | constants.O_EXCL, node)
      await setMeta(draft, node)
      await rename(draft, path)
    } catch (error) {
      await unlink(draft).catch(() => undefined)
      if (!stat?.isFile() || !canWriteInPlace(error)) throw error
      await chmod(path, 0o600).catch(() => undefined)
      await this.#writeContent(path, constants.O_TRUNC, node)
      await setMeta(path, node)
    }
  }

  async #writeContent(path: string, flags: number, node: SavedNode & { type: "file" }): Promise<void> {
    const target = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW | flags, 0o600)
    try {
      const hash = createHash("sha256")
      for (let done = 0; done < node.size;) {
        const want = Math.min(chunkBytes, node.size - done)
        const { bytesRead } = await this.#content.read(this.#buffer, 0, want, node.offset + done)
        if (bytesRead === 0) break
        hash.update(this.#buffer.subarray(0, bytesRead))
        await target.writeFile(this.#buffer.subarray(0, bytesRead))
        done += bytesRead
      }
      if (hash.digest("hex") !== node.sha256) throw new Error(`the saved content of ${path} is damaged`)
      await target.sync()
    } finally {
      await target.close()
    }
  }
}

/** A mount point can't be replaced by rename, and a directory may be closed to us while the file is not. */
function canWriteInPlace(error: unknown): boolean {
  return ["EBUSY", "EXDEV", "EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")
}

async function restoreLink(path: string, node: SavedNode & { type: "symlink" }): Promise<void> {
  await removeTree(Buffer.from(path))
  await symlink(node.target, path)
  const stat = await lstatIfThere(path)
  if (stat && (stat.uid !== node.uid || stat.gid !== node.gid)) await lchown(path, node.uid, node.gid)
  await lutimes(path, node.accessedSeconds, node.changedSeconds)
}

/** What is in it stays, as long as there is a directory. */
async function restoreDirectoryItself(path: string, node: SavedNode & { type: "directory-itself" }): Promise<void> {
  const stat = await lstatIfThere(path)
  if (stat && !stat.isDirectory()) await removeTree(Buffer.from(path))
  if (!stat?.isDirectory()) await mkdir(path, { mode: 0o700 })
  await setMeta(path, node)
}

/** Owner first: changing it takes the set-user-id bits away. */
export async function setMeta(path: string, meta: Meta): Promise<void> {
  await changeItself(path, async (itself) => {
    const { uid, gid } = await itself.stat()
    if (uid !== meta.uid || gid !== meta.gid) await itself.chown(meta.uid, meta.gid)
    await itself.chmod(meta.mode)
    await itself.utimes(meta.accessedSeconds, meta.changedSeconds)
  })
}

export async function hashFile(path: string): Promise<string | undefined> {
  let file: FileHandle | undefined
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
    return await hashOpenFile(file)
  } catch {
    return undefined
  } finally {
    await file?.close()
  }
}

export async function hashOpenFile(file: FileHandle): Promise<string> {
  const hash = createHash("sha256")
  const buffer = Buffer.alloc(chunkBytes)
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, chunkBytes)
    if (bytesRead === 0) return hash.digest("hex")
    hash.update(buffer.subarray(0, bytesRead))
  }
}

/** Removes whatever is there, never following a link; names may be any bytes. */
export async function removeTree(path: Buffer): Promise<void> {
  const stat = await lstatIfThere(path)
  if (!stat) return
  if (!stat.isDirectory()) return await unlink(path)
  await openDirectory(path, stat)
  for (const name of await readNames(path)) await removeTree(joinBytes(path, name))
  await rmdir(path)
}

/** Gives an ordinary user back the right to work in a directory of its own; root needs none. */
async function openDirectory(path: string | Buffer, stat: Stats): Promise<void> {
  if (process.geteuid?.() === 0) return
  if ((stat.mode & 0o700) !== 0o700) await chmod(path, (stat.mode & 0o7777) | 0o700).catch(() => undefined)
}

function joinBytes(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from("/"), name])
}
