import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { onTestFinished } from "vitest"
import { repositoryRoot, type Repository } from "./repository.ts"

/** A repository that is only in memory: path -> text. */
export function memoryRepository(files: Readonly<Record<string, string>>): Repository {
  return {
    root: "/nowhere",
    files: Object.keys(files).toSorted(),
    read: (path) => Promise.resolve(files[path] ?? ""),
  }
}

/** A folder (with a space in its name) that holds these files and the tools of this repository, until the test ends. */
export async function plantFolder(files: Readonly<Record<string, string>>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "signalbox gate "))
  onTestFinished(() => rm(root, { recursive: true, force: true }))
  await symlink(join(repositoryRoot, "node_modules"), join(root, "node_modules"))
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
  return root
}
