import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import { chown, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { AppError } from "@signalbox/kernel/app-error"
import type { PostgresBinaries } from "./postgres-binaries.ts"
import { toPostgresFailure } from "./postgres-failure.ts"
import { isIdentityAlive } from "./process-identity.ts"
import { syncDirectory } from "./sync-directory.ts"
import type { UnixAccount } from "./unix-account.ts"

/** The folders, programs and user of one start. */
export interface ClusterPlace {
  readonly data: string
  readonly cluster: string
  readonly binaries: PostgresBinaries
  /** This server process (`ownIdentity`). */
  readonly identity: string
  readonly account?: UnixAccount
}

const initializeTimeoutMilliseconds = 180_000
const unfinishedPrefix = "postgres-unfinished-"

/**
 * Makes the cluster where there is none. It is made under another name and renamed when whole, so a death half way
 * leaves rubbish (removed next time) and never a broken cluster, and of two servers that do it at once one wins.
 *
 * @throws storage.data-version-mismatch, storage.data-directory-unusable, storage.disk-full
 */
export async function initializeCluster(place: ClusterPlace): Promise<void> {
  await removeLeftovers(place.data, unfinishedPrefix)
  const version = await findClusterVersion(place)
  if (version === undefined) return createCluster(place)
  if (version !== place.binaries.majorVersion) {
    throw new AppError(
      "storage.data-version-mismatch",
      `${place.cluster} was made by PostgreSQL ${version}, and this is PostgreSQL ${place.binaries.majorVersion}`,
    )
  }
}

async function findClusterVersion({ cluster, account }: ClusterPlace): Promise<number | undefined> {
  let names: string[]
  try {
    names = await readdir(cluster)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined
    throw toPostgresFailure(`reading ${cluster}`, [String(cause)], { cause })
  }
  if (names.length === 0) return undefined
  const { uid } = await stat(cluster)
  const own = account?.uid ?? process.getuid?.()
  if (own !== undefined && uid !== own) {
    throw new AppError(
      "storage.data-directory-unusable",
      `${cluster} belongs to user ${uid}, and PostgreSQL would run as ${own}`,
    )
  }
  const version = Number((await readFile(join(cluster, "PG_VERSION"), "utf8").catch(() => "")).trim())
  if (version > 0) return version
  throw new AppError(
    "storage.data-directory-unusable",
    `${cluster} holds files that are no PostgreSQL data; move them away`,
  )
}

async function createCluster(place: ClusterPlace): Promise<void> {
  const unfinished = join(place.data, `${unfinishedPrefix}${place.identity}-${randomBytes(4).toString("hex")}`)
  try {
    await mkdir(unfinished, { mode: 0o700 })
    if (place.account) await chown(unfinished, place.account.uid, place.account.gid)
    await runInitdb(place, unfinished)
    await rename(unfinished, place.cluster).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error
    })
    await syncDirectory(dirname(place.cluster))
  } catch (cause) {
    throw toPostgresFailure(`making a database in ${place.data}`, reasonsOf(cause), { cause })
  } finally {
    await rm(unfinished, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function runInitdb({ binaries, account }: ClusterPlace, directory: string): Promise<void> {
  const args = ["-D", directory, "-U", "signalbox", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8"]
  // The built-in collation does not change under an index when the machine's C library or ICU does.
  args.push("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions")
  await promisify(execFile)(binaries.initdb, args, {
    ...account,
    cwd: "/",
    env: { ...binaries.environment },
    timeout: initializeTimeoutMilliseconds,
  })
}

function reasonsOf(error: unknown): string[] {
  const { stderr, message } = error as Error & { stderr?: string }
  return (stderr || message || String(error))
    .split("\n")
    .filter((line) => line !== "" && !line.includes("initdb: removing"))
}

/** Removes entries named prefix and identity whose process is gone. */
export async function removeLeftovers(directory: string, prefix: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.startsWith(prefix) || (await isIdentityAlive(name.slice(prefix.length)))) continue
    await rm(join(directory, name), { recursive: true, force: true, maxRetries: 5 }).catch(() => {})
  }
}
