import { constants, type Stats } from "node:fs"
import { chmod, type FileHandle, lchown, lstat, open, utimes } from "node:fs/promises"

/** What can be changed of a file or a directory beside its content. */
export interface Itself {
  stat(): Promise<Stats>
  chown(uid: number, gid: number): Promise<void>
  chmod(mode: number): Promise<void>
  utimes(accessedSeconds: number, changedSeconds: number): Promise<void>
}

/**
 * Changes the file or directory that a name stands for now, and nothing else: in a directory that belongs to another user
 * the name may become a link to anything between two calls, and root would give away what it points at.
 *
 * @throws ELOOP where it is a link
 */
export async function changeItself<T>(path: string, change: (itself: Itself) => Promise<T>): Promise<T> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    // Closed to its own owner. An agent that is not root has nothing to give away.
    if ((error as NodeJS.ErrnoException).code !== "EACCES" || process.geteuid?.() === 0) throw error
    return await change({
      stat: () => lstat(path),
      chown: (uid, gid) => lchown(path, uid, gid),
      chmod: (mode) => chmod(path, mode),
      utimes: (accessedSeconds, changedSeconds) => utimes(path, accessedSeconds, changedSeconds),
    })
  }
  try {
    return await change(file)
  } finally {
    await file.close()
  }
}
