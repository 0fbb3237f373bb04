import { AppError } from "@signalbox/kernel/app-error"
import { randomUUID } from "node:crypto"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { homedir } from "node:os"
import { dirname, join } from "node:path"
import { z } from "zod"

/**
 * The servers that this person has logged in to, in $XDG_CONFIG_HOME/signalbox/config.json. It holds keys, so it is
 * readable by its owner only and is replaced as a whole. Only the command line reads and writes it.
 */
const context = z.object({
  url: z.string(),
  key: z.string(),
  caPem: z.string().optional(),
  caFingerprint: z.string().optional(),
})
const contextFile = z.object({ current: z.string().optional(), contexts: z.record(z.string(), context) })

export type Context = z.output<typeof context>
export type ContextFile = z.output<typeof contextFile>

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
    return contextFile.parse(JSON.parse(text))
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
