import { execFile } from "node:child_process"
import { readFile, stat, statfs } from "node:fs/promises"
import { arch, availableParallelism, hostname, release, totalmem } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { type Inventory, inventoryPackagesMax } from "@signalbox/contracts/fleet/inventory"
import { readMachineId } from "./agent-identity.ts"
import { errorText } from "./agent-logger.ts"
import { parseInstalled, parsePending } from "./apt-lists.ts"
import { readBootId } from "./process-identity.ts"

const run = promisify(execFile)
const commandOutputBytesMax = 32 * 1024 * 1024

export interface InventoryOptions {
  /** The agent's root: its own dpkg database is read where it has one. */
  readonly root?: string
  /** How long each package command may take. */
  readonly commandMilliseconds?: number
}

/** What this machine is and has. Never throws: what could not be read is listed in `problems`. Reads only. */
export async function collectInventory(options: InventoryOptions = {}): Promise<Inventory> {
  const root = options.root ?? "/"
  const problems: string[] = []
  const note = (what: string) => (error: unknown) => {
    problems.push(`${what}: ${errorText(error)}`.replaceAll("\0", "").slice(0, 500))
    return undefined
  }
  const [os, disk, packages] = await Promise.all([
    readOsRelease(root).catch(note("os-release")),
    statfs(root).catch(note("disk")),
    readPackages(root, options.commandMilliseconds ?? 60_000, note),
  ])
  const bootId = readBootId()
  return {
    hostname: hostname().slice(0, 255),
    machineId: readMachineId(),
    ...(bootId !== undefined && { bootId }),
    os: {
      name: (os?.["PRETTY_NAME"] ?? process.platform).slice(0, 128),
      id: (os?.["ID"] ?? process.platform).slice(0, 64),
      ...(os?.["VERSION_ID"] !== undefined && { version: os["VERSION_ID"].slice(0, 64) }),
      kernel: release().slice(0, 128),
      architecture: arch(),
    },
    hardware: {
      cpus: availableParallelism(),
      memoryBytes: totalmem(),
      ...(disk && { diskBytes: disk.blocks * disk.bsize, diskFreeBytes: disk.bavail * disk.bsize }),
    },
    ...packages,
    problems: problems.slice(0, 20),
  }
}

async function readOsRelease(root: string): Promise<Record<string, string>> {
  const candidates = [join(root, "etc/os-release"), "/etc/os-release", "/usr/lib/os-release"]
  for (const path of candidates) {
    const text = await readFile(path, "utf8").catch(() => undefined)
    if (text === undefined) continue
    const pairs = [...text.matchAll(/^([A-Z_]+)=(.*)$/gm)]
    return Object.fromEntries(pairs.map(([, key = "", value = ""]) => [key, value.replace(/^(["'])(.*)\1$/, "$2")]))
  }
  throw new Error("no os-release file")
}

type Note = (what: string) => (error: unknown) => undefined
type PackageLists = Pick<Inventory, "packageManager" | "packages" | "pending">

async function readPackages(root: string, timeout: number, note: Note): Promise<PackageLists> {
  const ownDatabase = root !== "/" && (await isFile(join(root, "var/lib/dpkg/status")))
  const environment = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C", HOME: "/" }
  const settings = { env: environment, timeout, maxBuffer: commandOutputBytesMax, encoding: "utf8" as const }
  const admindir = ownDatabase ? [`--admindir=${join(root, "var/lib/dpkg")}`] : []
  const format = "${Package}\\t${Version}\\t${Architecture}\\t${db:Status-Status}\\n"
  let installed: string
  try {
    installed = (await run("dpkg-query", [...admindir, "-W", `-f=${format}`], settings)).stdout
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { packageManager: "none", packages: [], pending: [] }
    // An empty database is no problem: dpkg-query says so by its exit code.
    if (!/no packages found/i.test((error as { stderr?: string }).stderr ?? "")) note("dpkg-query")(error)
    installed = ""
  }
  const dirs = ownDatabase ? ["-o", `Dir=${root}`, "-o", `Dir::State::status=${join(root, "var/lib/dpkg/status")}`] : []
  const readOnly = ["-o", "Debug::NoLocking=1", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]
  const upgrade = await run(
    "apt-get",
    ["-s", "-q", ...readOnly, ...dirs, "--with-new-pkgs", "upgrade"],
    settings,
  ).catch(note("apt-get"))
  const packages = parseInstalled(installed)
  const pending = parsePending(upgrade?.stdout ?? "")
  if (packages.length > inventoryPackagesMax) note("packages")(new Error(`only ${inventoryPackagesMax} are listed`))
  return {
    packageManager: "apt",
    packages: packages.slice(0, inventoryPackagesMax),
    pending: pending.slice(0, inventoryPackagesMax),
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false
}
