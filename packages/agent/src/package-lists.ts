import { execFile } from "node:child_process"
import { readdir, stat } from "node:fs/promises"
import { constants, setPriority } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { type Inventory, inventoryPackagesMax } from "@signalbox/contracts/fleet/inventory"
import { mapBounded } from "@signalbox/kernel/map-bounded"
import { parseInstalled, parsePending } from "./apt-lists.ts"

export type PackageLists = Pick<Inventory, "packageManager" | "packages" | "pending">

/** The lists of an earlier look and what the databases looked like then: asking apt costs seconds of processor time. */
export interface PackageCache {
  signature?: string
  lists?: PackageLists
}

export interface PackageSource {
  readonly root: string
  readonly commandMilliseconds: number
  readonly cache: PackageCache
  readonly note: (what: string) => (error: unknown) => undefined
}

const run = promisify(execFile)
const commandOutputBytesMax = 32 * 1024 * 1024
const none: PackageLists = { packageManager: "none", packages: [], pending: [] }

/** Whatever apt's answer depends on. */
const databasePaths = [
  ...["var/lib/dpkg/status", "var/lib/apt/lists", "var/lib/apt/extended_states"],
  ...[
    "etc/apt/sources.list",
    "etc/apt/sources.list.d",
    "etc/apt/preferences",
    "etc/apt/preferences.d",
    "etc/apt/apt.conf.d",
  ],
]

/** Packages installed and pending, from the root's own database. A root without one has no packages of its own. */
export async function readPackageLists(source: PackageSource): Promise<PackageLists> {
  const { root, cache, note } = source
  const signature = await signDatabases(root)
  if (signature === undefined) return none
  if (cache.signature === signature && cache.lists) return cache.lists
  let complete = true
  const problem = (what: string) => (error: unknown) => {
    complete = false
    return note(what)(error)
  }
  const installed = await queryInstalled(source, problem)
  if (installed === undefined) return none
  const packages = await tellNewest(root, parseInstalled(installed))
  const pending = parsePending((await simulateUpgrade(source, problem)) ?? "")
  if (packages.length > inventoryPackagesMax) note("packages")(new Error(`only ${inventoryPackagesMax} are listed`))
  const lists: PackageLists = {
    packageManager: "apt",
    packages: packages.slice(0, inventoryPackagesMax),
    pending: pending.slice(0, inventoryPackagesMax),
  }
  if (complete) Object.assign(cache, { signature, lists })
  return lists
}

/** Undefined where the root has no dpkg database. */
async function signDatabases(root: string): Promise<string | undefined> {
  const stats = await Promise.all(databasePaths.map((path) => stat(join(root, path)).catch(() => undefined)))
  if (!stats[0]?.isFile()) return undefined
  return stats.map((found) => (found ? `${found.ino}:${found.size}:${found.mtimeMs}` : "-")).join(" ")
}

/** Packages whose time is told: those that changed last, which is all that anybody asks about. */
const newestMax = 200
const statsAtOnce = 50

/** Adds when each of the newest packages was unpacked: dpkg writes its file list then. */
async function tellNewest(root: string, packages: Inventory["packages"]): Promise<Inventory["packages"]> {
  const directory = join(root, "var/lib/dpkg/info")
  const times = new Map<string, number>()
  const lists = (await readdir(directory).catch(() => [])).filter((name) => name.endsWith(".list"))
  await mapBounded(lists, statsAtOnce, async (name) => {
    const found = await stat(join(directory, name)).catch(() => undefined)
    if (found) times.set(name.slice(0, -".list".length), Math.floor(found.mtimeMs / 1000))
  })
  const timed = packages.map((each) => {
    return { each, time: times.get(`${each.name}:${each.architecture}`) ?? times.get(each.name) }
  })
  const oldest = timed.flatMap(({ time }) => time ?? []).toSorted((a, b) => b - a)[newestMax - 1] ?? 0
  return timed.map(({ each, time }) => (time !== undefined && time >= oldest ? { ...each, changedAt: time } : each))
}

type Problem = (what: string) => (error: unknown) => undefined

async function queryInstalled(source: PackageSource, problem: Problem): Promise<string | undefined> {
  const admindir = source.root === "/" ? [] : [`--admindir=${join(source.root, "var/lib/dpkg")}`]
  const format = "-f=${Package}\\t${Version}\\t${Architecture}\\t${db:Status-Status}\\n"
  try {
    return await runQuietly("dpkg-query", [...admindir, "-W", format], source)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined
    // An empty database is no problem, though dpkg-query's exit code makes it one.
    if (!/no packages found/i.test((error as { stderr?: string }).stderr ?? "")) problem("dpkg-query")(error)
    return ""
  }
}

/** No network and no lock; in a root of its own, no cache is written there either. */
async function simulateUpgrade(source: PackageSource, problem: Problem): Promise<string | undefined> {
  const { root } = source
  const status = `Dir::State::status=${join(root, "var/lib/dpkg/status")}`
  const ownRoot = [`Dir=${root}`, status, "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache="]
  const settings = ["Debug::NoLocking=1", ...(root === "/" ? [] : ownRoot)].flatMap((setting) => ["-o", setting])
  return await runQuietly("apt-get", ["-s", "-q", ...settings, "--with-new-pkgs", "upgrade"], source).catch(
    problem("apt-get"),
  )
}

/** Runs a query at low priority: the machine's own work goes first. */
async function runQuietly(file: string, words: readonly string[], source: PackageSource): Promise<string> {
  const environment = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C", HOME: "/" }
  const running = run(file, words, {
    ...{ env: environment, timeout: source.commandMilliseconds, maxBuffer: commandOutputBytesMax, encoding: "utf8" },
  })
  lowerPriority(running.child.pid)
  return (await running).stdout
}

function lowerPriority(pid: number | undefined): void {
  try {
    if (pid !== undefined) setPriority(pid, constants.priority.PRIORITY_LOW)
  } catch {
    return // It has ended already.
  }
}
