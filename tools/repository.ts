import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** The files that the gates look at. Paths are relative to the root, with forward slashes, sorted. */
export interface Repository {
  readonly root: string
  readonly files: readonly string[]
  read(path: string): Promise<string>
}

export const repositoryRoot = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "")

/** Folders that hold what is installed or built. The walk does without git, so that it works in any copy. */
const foldersLeftOut = new Set([".git", "node_modules", "dist"])
const filesLeftOut = /\.(?:log|tsbuildinfo|tgz)$/
const filesMax = 20_000

export async function openRepository(root: string = repositoryRoot): Promise<Repository> {
  const files: string[] = []
  const folders = [""]
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`
      if (entry.isDirectory() && !foldersLeftOut.has(entry.name) && path !== "tmp") folders.push(path)
      if (entry.isFile() && !filesLeftOut.test(entry.name)) files.push(path)
    }
    if (files.length > filesMax)
      throw new Error(`more than ${filesMax} files under ${root}: is something unpacked there?`)
  }
  return { root, files: files.toSorted(), read: (path) => readFile(join(root, path), "utf8") }
}
