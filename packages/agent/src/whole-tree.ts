import { createHash } from "node:crypto"
import { realpath } from "node:fs/promises"
import { join } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"
import { type AttemptContext, savedDirectory } from "./attempt-context.ts"
import { readSavedNode, restoreFiles, saveFiles } from "./saved-files.ts"
import { type SavedNode, TreeSaver } from "./saved-tree.ts"
import { readAttributes, restoreAttributes } from "./extended-attributes.ts"

/**
 * The whole tree of an agent's private root, saved before a task and put back after it (W6, mode `whole`). All content
 * is copied into one file: hard links would change with a file that is written in place, and reflinks would need a file
 * for each, which not every file system can share. What makes two trees equal is in `describeNode`.
 */
const differencesShownMax = 3

interface WholeSave {
  readonly context: AttemptContext
  readonly key: string
  readonly stop: AbortSignal
}

function wholeDirectory(context: AttemptContext, key: string): string {
  return join(savedDirectory(context, key), "whole")
}

/**
 * Saves the root. Returns the bytes of content kept.
 *
 * @throws agent.save-refused without a private root, over the limits, or with what can't be put back
 */
export async function saveWhole({ context, key, stop }: WholeSave): Promise<number> {
  const { root, dataDirectory, limits } = context
  if ((await realpath(root)) === "/") {
    throw new AppError("agent.save-refused", "the whole tree is saved only where the agent has a private root (--root)")
  }
  const bounds = { savedEntriesMax: limits.wholeEntriesMax, savedBytesMax: limits.wholeBytesMax }
  const into = wholeDirectory(context, key)
  const bytes = await saveFiles({ root, dataDirectory, into, paths: ["/"], limits: bounds, stop })
  return bytes + (await readAttributes(root, into))
}

export interface WholeRestored {
  /** Why the tree isn't what it was; empty where it is. */
  readonly problems: readonly string[]
  readonly notCovered: readonly string[]
}

/** Puts the whole root back and compares it with what it was; undefined where nothing was saved. */
export async function restoreWhole({ context, key, stop }: WholeSave): Promise<WholeRestored | undefined> {
  const from = wholeDirectory(context, key)
  const before = await readSavedNode(from)
  if (!before) return undefined
  const restored = await restoreFiles(from)
  const attributes = await restoreAttributes(context.root, from)
  const problems = [...(restored?.problems ?? []), ...attributes.problems]
  const root = await realpath(context.root)
  const bounds = { entriesMax: context.limits.wholeEntriesMax, bytesMax: context.limits.wholeBytesMax }
  const after = await new TreeSaver(undefined, bounds, stop).save(root, before.name)
  if (digestOf(before) !== digestOf(after)) problems.push(...differences(before, after))
  return { problems, notCovered: attributes.notCovered }
}

/** SHA-256 over path, type, mode, owner, content and link target of all names. */
export function digestOf(tree: SavedNode): string {
  const hash = createHash("sha256")
  for (const [path, node] of walk(tree, "")) hash.update(`${path}\0${describeNode(node)}\n`)
  return hash.digest("hex")
}

function differences(before: SavedNode, after: SavedNode): string[] {
  const was = new Map(walk(before, ""))
  const is = new Map(walk(after, ""))
  const found: string[] = []
  for (const path of new Set([...was.keys(), ...is.keys()])) {
    const [old, now] = [was.get(path), is.get(path)]
    if (old && now && describeNode(old) === describeNode(now)) continue
    found.push(`/${path} ${old ? (now ? "is not what it was" : "is missing") : "was not there"}`)
  }
  const more = found.length - differencesShownMax
  return [...found.slice(0, differencesShownMax), ...(more > 0 ? [`and ${more} more`] : [])]
}

function* walk(node: SavedNode, path: string): Generator<[string, SavedNode]> {
  yield [path, node]
  if (node.type !== "directory") return
  for (const child of node.children) yield* walk(child, path === "" ? child.name : `${path}/${child.name}`)
}

function describeNode(node: SavedNode): string {
  if (node.type === "absent") return node.type
  const rights = `${node.type} ${node.mode.toString(8)} ${node.uid}:${node.gid}`
  if (node.type === "file") return `${rights} ${node.size} ${node.sha256}`
  return node.type === "symlink" ? `${rights} ${node.target}` : rights
}
