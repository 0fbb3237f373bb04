import { lstat, realpath } from "node:fs/promises"
import { dirname, isAbsolute, join, normalize, relative, sep } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"

/** Symbolic links and ancestors are looked at for at most so many components. */
const componentsMax = 256

/**
 * The place of `path` under the agent's root (D18): `etc/app.conf` and `/etc/app.conf` both mean `<root>/etc/app.conf`.
 * Links in the directories above it are followed as long as they stay in the root; the last name is not followed, so
 * a link can be saved as a link. What doesn't exist yet is appended to the nearest directory that does.
 *
 * @throws agent.path-refused for `..`, NUL, and links that lead out of the root.
 */
export async function resolveInRoot(root: string, path: string): Promise<string> {
  if (path.includes("\0")) throw new AppError("agent.path-refused", "a path can't contain a NUL byte")
  const parts = path.split("/").filter((part) => part !== "" && part !== ".")
  if (parts.includes(".."))
    throw new AppError("agent.path-refused", `"${path}" contains "..", which may lead out of the root`)
  if (parts.length > componentsMax)
    throw new AppError("agent.path-refused", `"${path.slice(0, 80)}…" has too many parts`)
  const realRoot = await realpath(root)
  const last = parts.pop()
  if (last === undefined) return realRoot
  const parent = await resolveDirectory(realRoot, parts, path)
  return join(parent, last)
}

/** As `resolveInRoot`, but the last name is followed too: for a working directory. */
export async function resolveDirectoryInRoot(root: string, path: string): Promise<string> {
  if (path === "") return await realpath(root)
  const resolved = await resolveInRoot(root, path)
  const real = await realpath(resolved).catch(() => undefined)
  if (real === undefined) throw new AppError("agent.path-refused", `the directory "${path}" doesn't exist`)
  if (!isInside(await realpath(root), real)) throw leadsOut(path)
  return real
}

async function resolveDirectory(realRoot: string, parts: readonly string[], path: string): Promise<string> {
  let current = realRoot
  for (const [index, part] of parts.entries()) {
    const next = join(current, part)
    const stat = await lstat(next).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined
      if (error.code === "ENOTDIR") return undefined
      throw error
    })
    if (!stat) return join(current, ...parts.slice(index))
    current = stat.isSymbolicLink() ? await followLink(next, path) : next
    if (!isInside(realRoot, current)) throw leadsOut(path)
  }
  return current
}

async function followLink(link: string, path: string): Promise<string> {
  try {
    return await realpath(link)
  } catch (cause) {
    throw new AppError("agent.path-refused", `"${path}" passes through a link that leads nowhere: ${link}`, { cause })
  }
}

function leadsOut(path: string): AppError {
  return new AppError("agent.path-refused", `"${path}" leads out of the root through a symbolic link`)
}

/** True where `path` is `directory` or lies in it; both absolute. */
export function isInside(directory: string, path: string): boolean {
  const way = relative(normalize(directory), normalize(path))
  return way === "" || (way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way))
}

/** The directories between `root` (left out) and `path` (left out), from the top. */
export function ancestorsInside(root: string, path: string): string[] {
  const found: string[] = []
  for (let current = dirname(path); current !== root && isInside(root, current); current = dirname(current)) {
    found.unshift(current)
    if (current === dirname(current)) break
  }
  return found
}
