import { lstat, readdir, readFile, readlink } from "node:fs/promises"
import { join } from "node:path"

/** One file of a node as it was found. */
export interface FileCopy {
  readonly path: string
  /** Type and permission bits, owner and group. */
  readonly mode: number
  readonly owner: string
  /** Its bytes in base64; of a link, where it leads; empty for a directory. */
  readonly content: string
  /** Changes with every write, also with one of the same bytes. */
  readonly identity: string
}

const filesMax = 1_000

/** All that lies under `root`, by path, but for the folders named. */
export async function copyFiles(root: string, without: readonly string[]): Promise<ReadonlyMap<string, FileCopy>> {
  const names = await readdir(root, { recursive: true })
  const copies = new Map<string, FileCopy>()
  for (const path of names.toSorted().slice(0, filesMax)) {
    if (without.some((folder) => path === folder || path.startsWith(`${folder}/`))) continue
    const full = join(root, path)
    const found = await lstat(full, { bigint: true })
    const content = found.isFile()
      ? (await readFile(full)).toString("base64")
      : found.isSymbolicLink()
        ? await readlink(full)
        : ""
    const identity = found.isDirectory() ? "" : `${found.ino}:${found.mtimeNs}:${found.ctimeNs}`
    copies.set(path, { path, mode: Number(found.mode), owner: `${found.uid}:${found.gid}`, content, identity })
  }
  return copies
}

/** Paths that differ, in content, mode or owner, or exist on one side only. Pure. */
export function differingPaths(
  before: ReadonlyMap<string, FileCopy>,
  after: ReadonlyMap<string, FileCopy>,
  options: { readonly identity: boolean },
): string[] {
  const paths = [...new Set([...before.keys(), ...after.keys()])].toSorted()
  return paths.filter((path) => {
    const one = before.get(path)
    const other = after.get(path)
    if (!one || !other) return true
    if (options.identity && one.identity !== other.identity) return true
    return one.mode !== other.mode || one.owner !== other.owner || one.content !== other.content
  })
}
