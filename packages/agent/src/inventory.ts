import { readFile, statfs } from "node:fs/promises"
import { arch, availableParallelism, hostname, release, totalmem } from "node:os"
import { join } from "node:path"
import type { Inventory } from "@signalbox/contracts/fleet/inventory"
import { readMachineId } from "./agent-identity.ts"
import { errorText } from "./agent-logger.ts"
import { type PackageCache, readPackageLists } from "./package-lists.ts"
import { readBootId } from "./process-identity.ts"

export interface InventoryOptions {
  /** The agent's root, whose own package database is read. */
  readonly root?: string
  /** How long each package command may take. */
  readonly commandMilliseconds?: number
  /** Kept by a caller that asks again: package commands run only where the databases changed. */
  readonly cache?: PackageCache
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
    readPackageLists({
      root,
      note,
      commandMilliseconds: options.commandMilliseconds ?? 60_000,
      cache: options.cache ?? {},
    }),
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
