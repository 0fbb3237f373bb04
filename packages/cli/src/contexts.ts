import { AppError } from "@signalbox/kernel/app-error"
import { randomUUID } from "node:crypto"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { homedir } from "node:os"
import { dirname, join } from "node:path"

/**
 * The servers that this person has logged in to, in $XDG_CONFIG_HOME/signalbox/config.json. It holds keys, so it is
 * readable by its owner only and is replaced as a whole. Only the command line reads and writes it.
 */
export interface Context {
  readonly url: string
  readonly key: string
  readonly caPem?: string
  readonly caFingerprint?: string
}

export interface ContextFile {
  readonly current?: string
  readonly contexts: Readonly<Record<string, Context>>
}

export function contextFilePath(environment: Readonly<Record<string, string | undefined>>): string {
  const base = environment["XDG_CONFIG_HOME"] || join(environment["HOME"] || homedir(), ".config")
  return join(base, "signalbox", "config.json")
}

/** An empty file where there is none. @throws cli.file-unreadable */
export async function readContexts(path: string): Promise<ContextFile> {
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return { contexts: {} }
    throw new AppError("cli.file-unreadable", `${path} can't be read`, { cause })
  }
  try {
    return checkFile(JSON.parse(text))
  } catch (cause) {
    throw new AppError("cli.file-unreadable", `${path} is damaged; remove it and log in again`, { cause })
  }
}

export async function writeContexts(path: string, file: ContextFile): Promise<void> {
  const draft = `${path}.${randomUUID()}`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeFile(draft, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600, flag: "wx" })
    await rename(draft, path)
  } catch (cause) {
    throw new AppError("cli.file-unreadable", `${path} can't be written`, { cause })
  }
}

/** By hand: commands read this file before their first call, and schemas take longer to load than that takes. */
function checkFile(value: unknown): ContextFile {
  const { current, contexts } = membersOf(value)
  if (current !== undefined && typeof current !== "string") throw new Error("current is no text")
  const checked = Object.entries(membersOf(contexts)).map(([name, given]) => [name, checkContext(given)] as const)
  return { ...(current === undefined ? {} : { current }), contexts: Object.fromEntries(checked) }
}

function checkContext(value: unknown): Context {
  const { url, key, caPem, caFingerprint } = membersOf(value)
  if (typeof url !== "string" || typeof key !== "string") throw new Error("a login has a url and a key")
  return {
    ...{ url, key },
    ...(typeof caPem === "string" && { caPem }),
    ...(typeof caFingerprint === "string" && { caFingerprint }),
  }
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("this is no object")
  return value as Readonly<Record<string, unknown>>
}
