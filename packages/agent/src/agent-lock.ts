import { randomUUID } from "node:crypto"
import { link, open, readFile, rename, unlink } from "node:fs/promises"
import { join } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"
import { identifyProcess, isAlive, type ProcessIdentity } from "./process-identity.ts"

const attemptsMax = 5

export interface AgentLock {
  release(): Promise<void>
}

/**
 * Takes `lock` in the agent's directory: the file names the process that holds it, so one that a killed agent left is
 * recognised and replaced.
 *
 * @throws agent.already-running
 */
export async function takeLock(directory: string): Promise<AgentLock> {
  const path = join(directory, "lock")
  const text = `${JSON.stringify(identifyProcess(process.pid))}\n`
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    if (await create(path, text)) return { release: () => release(path, text) }
    const found = await readFile(path, "utf8").catch(() => undefined)
    if (found === undefined) continue
    const holder = parse(found)
    if (holder && isAlive(holder)) throw inUse(directory, holder.pid)
    await removeStale(path, found)
  }
  throw inUse(directory, undefined)
}

function inUse(directory: string, pid: number | undefined): AppError {
  return new AppError(
    "agent.already-running",
    `the agent directory ${directory} is in use${pid ? ` by process ${pid}` : ""}`,
  )
}

async function create(path: string, text: string): Promise<boolean> {
  const draft = `${path}.${randomUUID()}`
  const file = await open(draft, "w", 0o600)
  await file.writeFile(text)
  await file.close()
  try {
    await link(draft, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false
    throw error
  } finally {
    await unlink(draft)
  }
}

/** Moves the stale file away; what was moved is looked at, since another agent may just have replaced it. */
async function removeStale(path: string, stale: string): Promise<void> {
  const aside = `${path}.stale.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch {
    return
  }
  if ((await readFile(aside, "utf8")) !== stale) await link(aside, path).catch(() => undefined)
  await unlink(aside)
}

function parse(text: string): ProcessIdentity | undefined {
  try {
    const value = JSON.parse(text) as Partial<ProcessIdentity>
    return typeof value.pid === "number" && value.pid > 0 ? (value as ProcessIdentity) : undefined
  } catch {
    return undefined
  }
}

async function release(path: string, text: string): Promise<void> {
  const found = await readFile(path, "utf8").catch(() => undefined)
  if (found === text) await unlink(path).catch(() => undefined)
}
