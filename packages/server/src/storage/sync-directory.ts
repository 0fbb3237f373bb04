import { open } from "node:fs/promises"

/** Waits until the names in a directory are on disk: a rename or a link alone may be lost with the power. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
