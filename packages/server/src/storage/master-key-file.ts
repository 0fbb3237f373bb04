import { randomBytes } from "node:crypto"
import { link, open, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"
import { syncDirectory } from "./sync-directory.ts"
import { writeNewFile } from "./write-new-file.ts"

export const masterKeyFile = "master.key"
const keyBytes = 32

type Beside = "next" | "previous"

interface MasterKeyInFile {
  readonly place: string
  read(): Promise<Buffer | undefined>
  create(): Promise<Buffer>
  readonly rotation: {
    read(which: Beside): Promise<Buffer | undefined>
    makeNext(): Promise<Buffer>
    promoteNext(): Promise<void>
    removePrevious(): Promise<void>
  }
}

/** A file that somebody else provides, and those beside it of a rotation. */
export function masterKeyFiles(file: string | undefined): string[] {
  return file === undefined ? [] : [file, besideOf(file, "next"), besideOf(file, "previous")]
}

/**
 * The master key of a data directory, or of a file that somebody else provides, which is never made here nor moved.
 *
 * @throws settings.invalid where a file is not such a key or others may read it
 */
export function masterKeyInFile(options: {
  readonly dataDirectory: string
  readonly file?: string | undefined
}): MasterKeyInFile {
  const isOurs = options.file === undefined
  const path = options.file ?? join(options.dataDirectory, masterKeyFile)
  const next = besideOf(path, "next")
  const previous = besideOf(path, "previous")
  return {
    place: path,
    async read() {
      const key = await readKey(path)
      if (key || isOurs) return key
      throw new AppError("settings.invalid", `the master key ${path} can't be read (ENOENT)`)
    },
    create: () => makeKey(path),
    rotation: {
      read: (which) => readKey(besideOf(path, which)),
      async makeNext() {
        if (isOurs) return makeKey(next)
        throw new AppError(
          "secrets.next-key-missing",
          `${next} is not there, and the key beside it is not ours to make`,
        )
      },
      async promoteNext() {
        if (!isOurs || (await readKey(next)) === undefined) return
        // At no moment is there less than before: where this ends halfway it begins anew.
        await rm(previous, { force: true })
        await link(path, previous)
        await rename(next, path)
        await syncDirectory(dirname(path))
      },
      async removePrevious() {
        if (isOurs) await rm(previous, { force: true })
      },
    },
  }
}

function besideOf(path: string, which: Beside): string {
  return `${path}.${which}`
}

async function readKey(path: string): Promise<Buffer | undefined> {
  const found = await readFound(path)
  if (found === undefined) return undefined
  const { text, mode } = found
  if ((mode & 0o007) !== 0)
    throw new AppError("settings.invalid", `everybody on this machine can open the master key ${path}: chmod 600`)
  const key = Buffer.from(text.trim(), "base64")
  if (key.length !== keyBytes || key.toString("base64") !== text.trim())
    throw new AppError("settings.invalid", `${path} is no master key: ${keyBytes} bytes in base64`)
  return key
}

/** Text and mode of the same file: a rotation may remove or replace it meanwhile. */
async function readFound(path: string): Promise<{ readonly text: string; readonly mode: number } | undefined> {
  try {
    await using file = await open(path, "r")
    const { mode } = await file.stat()
    return { text: await file.readFile("utf8"), mode }
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === "ENOENT") return undefined
    throw new AppError("settings.invalid", `the master key ${path} can't be read (${code ?? message})`, { cause })
  }
}

async function makeKey(path: string): Promise<Buffer> {
  const key = randomBytes(keyBytes)
  await writeNewFile(path, `${key.toString("base64")}\n`)
  return key
}
