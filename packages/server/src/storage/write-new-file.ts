import { randomBytes } from "node:crypto"
import { link, mkdir, open, rm } from "node:fs/promises"
import { dirname } from "node:path"
import { syncDirectory } from "./sync-directory.ts"

/** Writes a secret file that only its owner may read: whole or not at all, and never over a file that is there (EEXIST). */
export async function writeNewFile(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const unfinished = `${path}.${randomBytes(6).toString("hex")}.unfinished`
  try {
    const handle = await open(unfinished, "wx", 0o600)
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await link(unfinished, path)
    await syncDirectory(dirname(path))
  } finally {
    await rm(unfinished, { force: true })
  }
}
