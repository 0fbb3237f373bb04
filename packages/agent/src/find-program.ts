import { constants } from "node:fs"
import { access } from "node:fs/promises"
import { join } from "node:path"

/** A program's place in a search path; undefined where it isn't in any directory that this process may look into. */
export async function findProgram(name: string, searchPath: string): Promise<string | undefined> {
  for (const directory of searchPath.split(":")) {
    const path = join(directory, name)
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return path
  }
  return undefined
}
