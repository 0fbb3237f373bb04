/**
 * One directory for the temporary files of a whole run, of tests (this is a global set-up of Vitest) or of a benchmark,
 * which goes with it. What the run starts finds it as `TMPDIR`. What a killed run left is removed by the next one.
 */
import { chmod, mkdir, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isIdentityAlive, ownIdentity } from "@signalbox/server/storage/process-identity"

/** A process that has been ended may still be closing its files. */
const removal = { recursive: true, force: true, maxRetries: 50, retryDelay: 20 } as const

/** Ours: what compilers and other programs cache goes without a word, and so do the sockets of a server that was killed. */
const isLeft = (name: string): boolean => name.startsWith("signalbox") && !name.startsWith("signalbox-socket-")

export interface RunDirectory {
  readonly path: string
  /** Removes all of it, and gives the names of what we left in it. */
  remove(): Promise<readonly string[]>
}

/** Makes the directory of this process's run and sets `TMPDIR` to it. Directories with this prefix of killed runs go. */
export async function makeRunDirectory(prefix: string): Promise<RunDirectory> {
  const parent = tmpdir()
  for (const name of await readdir(parent)) {
    if (!name.startsWith(prefix) || (await isIdentityAlive(name.slice(prefix.length)))) continue
    await rm(join(parent, name), { recursive: true, force: true }).catch(() => {})
  }
  const path = join(parent, prefix + (await ownIdentity()))
  await mkdir(path, { mode: 0o700 })
  // PostgreSQL and steps run as other users when this one is root, and have to pass through.
  if (process.getuid?.() === 0) await chmod(path, 0o711)
  process.env["TMPDIR"] = path
  return {
    path,
    async remove() {
      const left = (await readdir(path)).filter(isLeft)
      await rm(path, removal)
      return left
    },
  }
}

let directory: RunDirectory | undefined

export async function setup(): Promise<void> {
  directory = await makeRunDirectory("signalbox-tests-")
}

/** @throws where tests left something, which is removed all the same: a test removes what it made */
export async function teardown(): Promise<void> {
  const left = (await directory?.remove()) ?? []
  if (left.length > 0) throw new Error(`tests left in their temporary directory: ${left.join(", ")}`)
}
