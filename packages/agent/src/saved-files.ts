import { existsSync } from "node:fs"
import { mkdir, open, readFile, realpath, rename, rm, rmdir } from "node:fs/promises"
import { basename, join } from "node:path"
import type { AgentRunLimits } from "./agent-limits.ts"
import { errorText } from "./agent-logger.ts"
import { syncDirectory } from "./journal.ts"
import { lstatIfThere, type Meta, metaOf, refused, type SavedNode, TreeSaver } from "./saved-tree.ts"
import { removeTree, setMeta, TreeRestorer } from "./restore-tree.ts"
import { ancestorsInside, isInside, resolveInRoot } from "./root-path.ts"

/**
 * The saved state of an attempt: `saved/<attempt>/manifest.json` and `content`, the bytes of all files one after the
 * other. Written once, before the first step; complete where the manifest exists; read by a rollback any number of
 * times, also by an agent that was started since.
 */
interface Manifest {
  readonly version: 1
  readonly paths: readonly SavedPath[]
}

interface SavedPath {
  /** As the order wrote it. */
  readonly path: string
  readonly absolute: string
  /** The directories above it inside the root, from the top; those that were missing have no meta. */
  readonly ancestors: ReadonlyArray<{ readonly path: string; readonly meta?: Meta }>
  readonly node: SavedNode
}

export interface SaveOptions {
  readonly root: string
  readonly dataDirectory: string
  /** Where to keep it; replaced where it exists (a save that a crash cut short). */
  readonly into: string
  readonly paths: readonly string[]
  /** True: of a directory only the directory itself. */
  readonly isShallow?: boolean
  readonly limits: Pick<AgentRunLimits, "savedEntriesMax" | "savedBytesMax">
  readonly stop: AbortSignal
}

/**
 * Saves files and directories byte for byte. Returns the bytes of content kept.
 *
 * @throws agent.path-refused, agent.save-refused (special files, foreign owners, over the limits)
 */
export async function saveFiles(options: SaveOptions): Promise<number> {
  const { into, root, limits, stop } = options
  if (existsSync(into)) await rm(into, { recursive: true, force: true })
  if (options.paths.length === 0) return 0
  await mkdir(into, { recursive: true, mode: 0o700 })
  const content = await open(join(into, "content"), "wx", 0o600)
  const bounds = { entriesMax: limits.savedEntriesMax, bytesMax: limits.savedBytesMax }
  const saver = new TreeSaver(content, bounds, stop)
  try {
    const realRoot = await realpath(root)
    const ownDirectory = await realpath(options.dataDirectory)
    const paths: SavedPath[] = []
    for (const path of options.paths) {
      const absolute = await resolveInRoot(root, path)
      if (isInside(absolute, ownDirectory) || isInside(ownDirectory, absolute)) {
        throw refused(`"${path}" touches the agent's own directory ${ownDirectory}`)
      }
      const node = await saver.save(absolute, basename(absolute), options.isShallow)
      paths.push({ path, absolute, ancestors: await readAncestors(realRoot, absolute), node })
    }
    await content.sync()
    await writeManifest(into, { version: 1, paths })
  } catch (error) {
    await rm(into, { recursive: true, force: true })
    throw error
  } finally {
    await content.close()
  }
  return saver.bytes
}

async function readAncestors(root: string, absolute: string): Promise<SavedPath["ancestors"]> {
  const found = []
  for (const path of ancestorsInside(root, absolute)) {
    const stat = await lstatIfThere(path)
    found.push({ path, ...(stat && { meta: metaOf(stat) }) })
  }
  return found
}

async function writeManifest(directory: string, manifest: Manifest): Promise<void> {
  const draft = join(directory, "manifest.draft")
  const file = await open(draft, "w", 0o600)
  try {
    await file.writeFile(JSON.stringify(manifest))
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, join(directory, "manifest.json"))
  await syncDirectory(directory)
  await syncDirectory(join(directory, ".."))
  await syncDirectory(join(directory, "../.."))
}

export interface Restored {
  /** Saved paths that are as they were. */
  readonly restored: number
  readonly problems: readonly string[]
}

/** What was saved of the first path; undefined where nothing was. */
export async function readSavedNode(from: string): Promise<SavedNode | undefined> {
  return (await readManifest(from))?.paths[0]?.node
}

async function readManifest(from: string): Promise<Manifest | undefined> {
  const text = await readFile(join(from, "manifest.json"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined
    throw error
  })
  return text === undefined ? undefined : (JSON.parse(text) as Manifest)
}

/** Puts everything back, going on after a path that can't be; undefined where nothing was saved. */
export async function restoreFiles(from: string): Promise<Restored | undefined> {
  const manifest = await readManifest(from)
  if (!manifest) return undefined
  const content = await open(join(from, "content"), "r")
  const restorer = new TreeRestorer(content)
  const problems: string[] = []
  let restored = 0
  try {
    for (const saved of manifest.paths) {
      try {
        await restorePath(restorer, saved)
        restored++
      } catch (error) {
        problems.push(`${saved.path}: ${errorText(error)}`)
      }
    }
  } finally {
    await content.close()
  }
  return { restored, problems }
}

async function restorePath(restorer: TreeRestorer, saved: SavedPath): Promise<void> {
  const existed = saved.ancestors.filter((ancestor) => ancestor.meta !== undefined)
  for (const { path, meta } of existed) {
    const stat = await lstatIfThere(path)
    if (stat && !stat.isDirectory()) throw new Error(`the directory ${path} above it was replaced by something else`)
    if (stat || !meta) continue
    await mkdir(path, { mode: 0o700 })
    await setMeta(path, meta)
  }
  if (saved.node.type !== "absent") return await restorer.restore(saved.absolute, saved.node)
  await removeAbsent(saved)
}

/** What was not there goes; of the directories made for it those that nobody else uses, and any link in their place. */
async function removeAbsent(saved: SavedPath): Promise<void> {
  const missing = saved.ancestors.filter((ancestor) => ancestor.meta === undefined).map(({ path }) => path)
  for (const path of [...missing, saved.absolute]) {
    const stat = await lstatIfThere(path)
    if (!stat) break
    if (path === saved.absolute || !stat.isDirectory()) {
      await removeTree(Buffer.from(path))
      break
    }
  }
  for (const path of missing.toReversed()) {
    await rmdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "ENOENT") throw error
    })
  }
}
