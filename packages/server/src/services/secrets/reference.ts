/**
 * Secrets that stand elsewhere on the server's machine, read at each use. Whoever may write a reference may read what
 * the server may read, so a kind is read only where the settings list it, and nothing of the server's own.
 */
import { spawn } from "node:child_process"
import { constants } from "node:fs"
import { open, realpath } from "node:fs/promises"
import { sep } from "node:path"
import { secretLimits, type ReferenceKind } from "@signalbox/contracts/secrets/operations"
import { settingDeclarations, variableOf, type SettingName } from "@signalbox/contracts/server-settings"
import { AppError } from "@signalbox/kernel/app-error"

export interface ReferencePolicy {
  readonly kinds: readonly ReferenceKind[]
  /** The server's own keys lie here: no reference reads them. */
  readonly dataDirectory?: string
  /** Further files of the server's own: a master key kept elsewhere, the settings with their passwords. */
  readonly ownFiles?: readonly string[]
  readonly environment: Readonly<Record<string, string | undefined>>
}

const execMilliseconds = 10_000
const ownVariables = /^(?:SIGNALBOX_|PG)/
/** Settings that are known by other programs' names: the database's URL, the keys of the S3 store, the proxy. */
const settingVariables: ReadonlySet<string> = new Set(
  (Object.keys(settingDeclarations) as SettingName[]).map((name) => variableOf(name)),
)

export function kindOfReference(reference: string): ReferenceKind {
  return reference.slice(0, reference.indexOf(":")) as ReferenceKind
}

/** @throws secrets.reference-refused where this server doesn't read such references */
export function refuseReference(reference: string, policy: ReferencePolicy): void {
  const kind = kindOfReference(reference)
  if (!policy.kinds.includes(kind))
    throw new AppError("secrets.reference-refused", `the setting secret-references doesn't allow ${kind}: references`)
  const name = reference.slice("env:".length)
  if (kind === "env" && (ownVariables.test(name) || settingVariables.has(name)))
    throw new AppError("secrets.reference-refused", "a reference can't read the server's own settings")
}

/**
 * Reads the value; one newline at its end is not part of it.
 *
 * @throws secrets.reference-refused, secrets.reference-unreadable; a message names the reference, never what it gave
 */
export async function readReference(reference: string, policy: ReferencePolicy): Promise<string> {
  refuseReference(reference, policy)
  const place = reference.slice(reference.indexOf(":") + 1)
  const value = await readPlace(kindOfReference(reference), place, policy)
  if (value.length < secretLimits.valueCharactersMin)
    throw unreadable(reference, `it has fewer than ${secretLimits.valueCharactersMin} characters`)
  if (value.includes("\0")) throw unreadable(reference, "it holds a zero byte")
  return value
}

async function readPlace(kind: ReferenceKind, place: string, policy: ReferencePolicy): Promise<string> {
  switch (kind) {
    case "env": {
      const value = policy.environment[place]
      if (value === undefined) throw unreadable(`env:${place}`, "the variable is not set")
      return value
    }
    case "file":
      return withoutNewline(await readFileBounded(place, policy))
    case "exec":
      return withoutNewline(await runProgram(place, policy))
  }
}

async function readFileBounded(path: string, policy: ReferencePolicy): Promise<string> {
  const reference = `file:${path}`
  try {
    const real = await realpath(path)
    const own = policy.dataDirectory === undefined ? undefined : await realpath(policy.dataDirectory)
    if (own !== undefined && (real === own || real.startsWith(own + sep)))
      throw new AppError("secrets.reference-refused", "a reference can't read the server's own data directory")
    for (const file of policy.ownFiles ?? [])
      if ((await realpath(file).catch(() => file)) === real)
        throw new AppError("secrets.reference-refused", "a reference can't read the server's own keys and settings")
    // A pipe without a writer must not hold a thread: it is opened without waiting, and refused.
    const handle = await open(real, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      if (!(await handle.stat()).isFile()) throw unreadable(reference, "it is no regular file")
      const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(secretLimits.valueBytesMax + 1) })
      if (bytesRead > secretLimits.valueBytesMax) throw tooLong(reference)
      return buffer.subarray(0, bytesRead).toString("utf8")
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (error instanceof AppError) throw error
    throw unreadable(reference, (error as NodeJS.ErrnoException).code ?? "it can't be opened")
  }
}

/** Without a shell: words apart by blanks. The program sees neither our settings nor our standard input. */
function runProgram(command: string, policy: ReferencePolicy): Promise<string> {
  const [program = "", ...words] = command.split(/\s+/).filter(Boolean)
  const reference = `exec:${program}`
  const { PATH, HOME, LANG } = policy.environment
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, {
      stdio: ["ignore", "pipe", "ignore"],
      detached: true,
      env: { ...(PATH ? { PATH } : {}), ...(HOME ? { HOME } : {}), ...(LANG ? { LANG } : {}) },
    })
    const chunks: Buffer[] = []
    let bytes = 0
    const end = (error: AppError): void => {
      killGroup(child.pid)
      reject(error)
    }
    const timer = setTimeout(() => end(unreadable(reference, `it took over ${execMilliseconds} ms`)), execMilliseconds)
    child.stdout.on("data", (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > secretLimits.valueBytesMax) end(tooLong(reference))
      else chunks.push(chunk)
    })
    child.once("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer)
      reject(unreadable(reference, error.code ?? "it can't be run"))
    })
    child.once("close", (code, signal) => {
      clearTimeout(timer)
      if (code === 0) resolve(Buffer.concat(chunks).toString("utf8"))
      else
        reject(unreadable(reference, code === null ? `it ended by ${signal ?? "a signal"}` : `it ended with ${code}`))
    })
  })
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, "SIGKILL")
  } catch {
    // It ended by itself.
  }
}

function withoutNewline(text: string): string {
  return text.replace(/\r?\n$/, "")
}

function tooLong(reference: string): AppError {
  return unreadable(reference, `it has more than ${secretLimits.valueBytesMax} bytes`)
}

function unreadable(reference: string, reason: string): AppError {
  return new AppError("secrets.reference-unreadable", `reading ${reference}: ${reason}`)
}
