/**
 * What a data directory holds beside the database and the blobs and what nothing can make again: without the authority
 * no enrolled agent would trust the server, without the first administrator's key nobody may have one, without the
 * master key no stored secret could be read, and without the signing key nobody could go on signing in its name.
 */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"
import { writeNewFile } from "./write-new-file.ts"

/** A new secret of an installation that is kept in a file has to be named here. */
const keptPaths = [
  "admin.json",
  "master.key",
  "master.key.next",
  "master.key.previous",
  "signing.key",
  "tls/authority.pem",
] as const

export interface KeptFile {
  /** Relative to the data directory. */
  readonly path: string
  readonly bytes: Uint8Array
}

/** Those that there are; an installation with foreign certificates has no authority. */
export async function readKeptFiles(dataDirectory: string): Promise<KeptFile[]> {
  const files: KeptFile[] = []
  for (const path of keptPaths) {
    const bytes = await readIfThere(join(dataDirectory, path))
    if (bytes) files.push({ path, bytes })
  }
  return files
}

/** Puts a file of a backup in its place, readable by its owner alone. @throws storage.file-differs */
export async function keepFile(dataDirectory: string, { path, bytes }: KeptFile): Promise<void> {
  if (!keptPaths.some((known) => known === path))
    throw new AppError("storage.backup-unreadable", `the backup names a file that is none of ours: ${path}`)
  const target = join(dataDirectory, path)
  const existing = await readIfThere(target)
  if (existing && Buffer.compare(existing, bytes) === 0) return
  if (existing) throw new AppError("storage.file-differs", `${target} is there already and differs from the backup's`)
  await writeNewFile(target, bytes)
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  return await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined
    throw error
  })
}
