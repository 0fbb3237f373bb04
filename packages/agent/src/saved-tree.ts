import { createHash } from "node:crypto"
import { constants, type BigIntStats, type Stats } from "node:fs"
import { lstat, open, readdir, readlink, type FileHandle } from "node:fs/promises"
import { AppError } from "@signalbox/kernel/app-error"

/** What one name was: everything a rollback puts back. Extended attributes and hard links are not covered. */
export type SavedNode = { readonly name: string } & (
  | { readonly type: "absent" }
  | ({ readonly type: "file"; readonly offset: number; readonly size: number; readonly sha256: string } & Meta)
  | ({ readonly type: "symlink"; readonly target: string } & Meta)
  | ({ readonly type: "directory"; readonly children: readonly SavedNode[] } & Meta)
  /** Without what is in it. */
  | ({ readonly type: "directory-itself" } & Meta)
)

export interface Meta {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly accessedSeconds: number
  readonly changedSeconds: number
}

const chunkBytes = 256 * 1024

export interface TreeLimits {
  readonly entriesMax: number
  readonly bytesMax: number
}

/** Walks what is to be saved and appends the content of its files to one file; without one it only looks. */
export class TreeSaver {
  readonly #content: FileHandle | undefined
  readonly #limits: TreeLimits
  readonly #stop: AbortSignal
  readonly #buffer = Buffer.alloc(chunkBytes)
  #entries = 0
  #bytes = 0

  constructor(content: FileHandle | undefined, limits: TreeLimits, stop: AbortSignal) {
    this.#content = content
    this.#limits = limits
    this.#stop = stop
  }

  get bytes(): number {
    return this.#bytes
  }

  /** @throws agent.save-refused for what could not be put back exactly */
  async save(path: string, name: string, isShallow = false): Promise<SavedNode> {
    this.#stop.throwIfAborted()
    if (++this.#entries > this.#limits.entriesMax) {
      throw refused(`more than ${this.#limits.entriesMax} files and directories are to be saved`)
    }
    const stat = await lstatIfThere(path)
    if (!stat) return { name, type: "absent" }
    checkOwner(path, stat)
    const meta = metaOf(stat)
    if (stat.isFile()) return { name, type: "file", ...meta, ...(await this.#saveContent(path)) }
    if (stat.isSymbolicLink()) return { name, type: "symlink", ...meta, target: await readTarget(path) }
    if (!stat.isDirectory())
      throw refused(`${path} is a ${specialKind(stat)}; only files, directories and links are saved`)
    if (isShallow) return { name, type: "directory-itself", ...meta }
    const children: SavedNode[] = []
    for (const child of await readNames(path)) {
      const text = child.toString("utf8")
      if (!Buffer.from(text).equals(child)) throw refused(`${path} holds a name that is not UTF-8`)
      const saved = await this.save(`${path}/${text}`, text)
      if (saved.type !== "absent") children.push(saved)
    }
    return { name, type: "directory", ...meta, children }
  }

  async #saveContent(path: string): Promise<{ offset: number; size: number; sha256: string }> {
    const source = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch((cause: unknown) => {
      throw refused(`${path} can't be read`, cause)
    })
    try {
      const offset = this.#bytes
      const hash = createHash("sha256")
      for (;;) {
        this.#stop.throwIfAborted()
        const { bytesRead } = await source.read(this.#buffer, 0, chunkBytes)
        if (bytesRead === 0) break
        this.#bytes += bytesRead
        if (this.#bytes > this.#limits.bytesMax) {
          throw refused(`more than ${this.#limits.bytesMax} bytes are to be saved`)
        }
        const chunk = this.#buffer.subarray(0, bytesRead)
        hash.update(chunk)
        await this.#content?.writeFile(chunk)
      }
      return { offset, size: this.#bytes - offset, sha256: hash.digest("hex") }
    } finally {
      await source.close()
    }
  }
}

export function refused(message: string, cause?: unknown): AppError {
  return new AppError("agent.save-refused", message, cause === undefined ? {} : { cause })
}

function checkOwner(path: string, stat: Stats): void {
  const own = process.geteuid?.()
  if (own === undefined || own === 0) return
  const groups = [process.getegid?.(), ...(process.getgroups?.() ?? [])]
  if (stat.uid !== own || !groups.includes(stat.gid)) {
    throw refused(
      `${path} belongs to ${stat.uid}:${stat.gid}; only root can put that owner back (the agent runs as ${own})`,
    )
  }
}

export function metaOf(stat: Stats): Meta {
  const { uid, gid } = stat
  return {
    mode: stat.mode & 0o7777,
    uid,
    gid,
    accessedSeconds: stat.atimeMs / 1000,
    changedSeconds: stat.mtimeMs / 1000,
  }
}

export async function lstatIfThere(path: string | Buffer): Promise<Stats | undefined> {
  try {
    return await lstat(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT" || code === "ENOTDIR") return undefined
    throw error
  }
}

/** The names in a directory as the bytes they are, in a fixed order. */
export async function readNames(path: string | Buffer): Promise<Buffer[]> {
  return (await readdir(path, { encoding: "buffer" })).toSorted((a, b) => Buffer.compare(a, b))
}

async function readTarget(path: string): Promise<string> {
  const target = await readlink(path, { encoding: "buffer" })
  const text = target.toString("utf8")
  if (!Buffer.from(text).equals(target)) throw refused(`the link ${path} has a target that is not UTF-8`)
  return text
}

function specialKind(stat: Stats | BigIntStats): string {
  if (stat.isSocket()) return "socket"
  if (stat.isFIFO()) return "named pipe"
  return "device"
}
