import { createHash } from "node:crypto"
import { constants, type Stats } from "node:fs"
import { copyFile, mkdir, open, readFile, realpath, rename, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import type { FileOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import { changeItself, type Itself } from "./change-itself.ts"
import { syncDirectory } from "./journal.ts"
import { hashFile, hashOpenFile, removeTree } from "./restore-tree.ts"
import { ancestorsInside, isInside, resolveInRoot } from "./root-path.ts"
import { lstatIfThere } from "./saved-tree.ts"
import { fillText, type StepTry } from "./step-try.ts"
import type { TryResult } from "./try-result.ts"

const fileModeUsual = 0o644
const directoryModeUsual = 0o755

interface Target {
  readonly path: string
  readonly stat: Stats | undefined
  readonly mode: number | undefined
  readonly uid: number | undefined
  readonly gid: number | undefined
}

/**
 * Brings one name to what the order says; `changed` is false where it is so already. A file is written beside its place
 * and renamed into it, so that nobody ever sees half of it; a link in its place is replaced, not followed. Missing
 * directories above it are made.
 */
export async function performFile(attempt: StepTry, file: FileOrder): Promise<TryResult> {
  const path = await placeOf(attempt, file.path)
  const stat = await lstatIfThere(path)
  if (file.absent) {
    if (!stat) return { state: "succeeded", changed: false }
    await removeTree(Buffer.from(path))
    await syncDirectory(dirname(path))
    return { state: "succeeded", changed: true }
  }
  const target: Target = { path, stat, mode: file.mode, ...(await findOwner(file)) }
  checkRights(target)
  const changed = file.directory ? await putDirectory(attempt, target) : await putFile(attempt, file, target)
  return { state: "succeeded", changed }
}

async function placeOf({ context }: StepTry, given: string): Promise<string> {
  const path = await resolveInRoot(context.root, given)
  const own = await realpath(context.dataDirectory)
  if (path === (await realpath(context.root))) throw refused(`"${given}" is the agent's root itself`)
  if (isInside(path, own) || isInside(own, path)) throw refused(`"${given}" touches the agent's own directory ${own}`)
  return path
}

async function putDirectory(attempt: StepTry, target: Target): Promise<boolean> {
  const { path, stat } = target
  if (stat && !stat.isDirectory()) throw refused(`${path} is there and is no directory`)
  if (stat) return await changeItself(path, (itself) => setRights(itself, target))
  await makeDirectories(attempt, path)
  await mkdir(path, { mode: 0o700 })
  await changeItself(path, (itself) => setRights(itself, { ...target, mode: target.mode ?? directoryModeUsual }))
  await syncDirectory(dirname(path))
  return true
}

async function makeDirectories({ context }: StepTry, path: string): Promise<void> {
  for (const directory of ancestorsInside(await realpath(context.root), path)) {
    if (await lstatIfThere(directory)) continue
    await mkdir(directory)
    await changeItself(directory, (itself) => itself.chmod(directoryModeUsual))
    await syncDirectory(dirname(directory))
  }
}

async function putFile(attempt: StepTry, file: FileOrder, target: Target): Promise<boolean> {
  const { path, stat } = target
  if (stat?.isDirectory()) throw refused(`${path} is there and is a directory`)
  const source = await findContent(attempt, file)
  if (stat?.isFile() && stat.size === source.bytes && (await hashFile(path)) === source.digest) {
    return await changeItself(path, (itself) => setRights(itself, target))
  }
  await makeDirectories(attempt, path)
  const draft = join(dirname(path), `.signalbox-put-${sha256(path).slice(0, 16)}`)
  await unlink(draft).catch(() => undefined)
  try {
    await source.write(draft)
    // As it is where there is a file: its owner too, as far as the agent may give files away.
    const kept = stat?.isFile() ? stat : undefined
    const mayGive = process.geteuid?.() === 0
    const uid = target.uid ?? (mayGive ? kept?.uid : undefined)
    const gid = target.gid ?? (mayGive ? kept?.gid : undefined)
    const mode = target.mode ?? (kept ? kept.mode & 0o7777 : fileModeUsual)
    await finishDraft(draft, source.digest, { path, mode, uid, gid })
    await rename(draft, path)
    await syncDirectory(dirname(path))
    return true
  } catch (error) {
    await unlink(draft).catch(() => undefined)
    throw error
  }
}

interface Source {
  readonly digest: string
  readonly bytes: number
  write(path: string): Promise<void>
}

async function findContent(attempt: StepTry, { content, artifact }: FileOrder): Promise<Source> {
  if (artifact) {
    const { digest, bytes } = artifact
    return {
      digest,
      bytes,
      write: async (path) => {
        const fetched = await attempt.context.fetchArtifact(artifact, attempt.stop)
        await copyFile(fetched, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
        await changeItself(path, (itself) => itself.chmod(0o600))
        await unlink(fetched)
      },
    }
  }
  const text = Buffer.from(fillText(content ?? "", attempt.inputs))
  return {
    digest: sha256(text),
    bytes: text.length,
    write: async (path) => {
      const file = await open(path, "wx", 0o600)
      try {
        await file.writeFile(text)
      } finally {
        await file.close()
      }
    },
  }
}

/** Checks the content and sets the rights of one and the same file, so that nobody else's comes to have them. */
async function finishDraft(draft: string, digest: string, target: Omit<Target, "stat">): Promise<void> {
  const file = await open(draft, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    if ((await file.stat()).uid !== process.geteuid?.() || (await hashOpenFile(file)) !== digest)
      throw new Error(`${target.path} could not be written as it was ordered`)
    await setRights(file, target)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Owner first: changing it takes the set-user-id bits away. True where something was not so yet. */
async function setRights(itself: Itself, { mode, uid, gid }: Omit<Target, "stat">): Promise<boolean> {
  const stat = await itself.stat()
  const isOwned = (uid ?? stat.uid) === stat.uid && (gid ?? stat.gid) === stat.gid
  const isModed = (mode ?? stat.mode & 0o7777) === (stat.mode & 0o7777)
  if (!isOwned) await itself.chown(uid ?? stat.uid, gid ?? stat.gid)
  if (!isModed || !isOwned) await itself.chmod(mode ?? stat.mode & 0o7777)
  return !isOwned || !isModed
}

function checkRights({ path, stat, uid, gid }: Target): void {
  const own = process.geteuid?.()
  if (own === undefined || own === 0) return
  const groups = [process.getegid?.(), ...(process.getgroups?.() ?? [])]
  const isOthers = uid !== undefined && uid !== own
  if (isOthers || (gid !== undefined && !groups.includes(gid))) {
    throw new AppError("agent.user-refused", `giving ${path} to another user or group needs an agent that runs as root`)
  }
  if (stat && stat.uid !== own) {
    throw new AppError("agent.user-refused", `${path} belongs to user ${stat.uid}; changing it needs an agent as root`)
  }
}

/** The machine's own users and groups, also where the agent has a private root. */
async function findOwner({ owner, group }: FileOrder): Promise<Pick<Target, "uid" | "gid">> {
  return {
    uid: owner === undefined ? undefined : await findNumber("/etc/passwd", owner, "user"),
    gid: group === undefined ? undefined : await findNumber("/etc/group", group, "group"),
  }
}

async function findNumber(file: string, name: string, what: string): Promise<number> {
  const line = (await readFile(file, "utf8")).split("\n").find((each) => each.startsWith(`${name}:`))
  if (line !== undefined) return Number(line.split(":")[2])
  throw new AppError("agent.user-refused", `there is no ${what} "${name}" on this machine`)
}

function sha256(content: string | Buffer): string {
  return createHash("sha256").update(content).digest("hex")
}

function refused(message: string): AppError {
  return new AppError("agent.step-refused", message)
}
