/**
 * Load, memory and disk of the system that this agent sees, out of files of the kernel below a root. A container may lack
 * some of them, or see those of its host: what can't be told is an error and never another number.
 */
import { readFile, statfs } from "node:fs/promises"
import { freemem, loadavg, totalmem } from "node:os"
import { join } from "node:path"

/** A limit beyond this is none: version 1 of control groups writes the largest number of pages there is. */
const limitBytesMax = 2 ** 60

/** The 1-minute load average. Of the whole machine, in a container too: the kernel keeps no other. @throws where there is none */
export async function loadAverage(systemRoot: string): Promise<number> {
  if (process.platform !== "linux") return loadElsewhere()
  const text = await readFile(join(systemRoot, "proc/loadavg"), "utf8")
  const value = Number(text.split(" ", 1)[0] || Number.NaN)
  if (!Number.isFinite(value)) throw new Error("/proc/loadavg holds no load average")
  return value
}

/** Windows has no load average, and Node.js says 0. */
function loadElsewhere(): number {
  if (process.platform === "win32") throw new Error("this system has no load average")
  return loadavg()[0] ?? Number.NaN
}

/**
 * Memory in use in percent, without what the kernel gives back when asked: of the container's limit where it has one, else
 * of the machine. A limit that only the agent's own service has says nothing of the machine, and is passed over.
 *
 * @throws where it can't be told
 */
export async function memoryPercent(systemRoot: string): Promise<number> {
  if (process.platform !== "linux") return (1 - freemem() / totalmem()) * 100
  const machine = await readMachine(systemRoot)
  const group = await findGroup(systemRoot)
  const total = machine instanceof Error ? limitBytesMax : machine.totalBytes
  if (group && group.limitBytes < total) return (await usedOfGroup(systemRoot, group)) * 100
  if (machine instanceof Error) throw machine
  return (1 - machine.availableBytes / machine.totalBytes) * 100
}

/** The error is for where there is no container's limit either. */
async function readMachine(systemRoot: string): Promise<{ totalBytes: number; availableBytes: number } | Error> {
  try {
    const text = await readFile(join(systemRoot, "proc/meminfo"), "utf8")
    const totalBytes = bytesOf(text, "MemTotal")
    const availableBytes = bytesOf(text, "MemAvailable")
    if (!totalBytes || availableBytes === undefined) return new Error("/proc/meminfo lacks MemTotal or MemAvailable")
    return { totalBytes, availableBytes }
  } catch (error) {
    return error as Error
  }
}

function bytesOf(meminfo: string, name: string): number | undefined {
  const [, kibibytes] = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(meminfo) ?? []
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
}

interface GroupFiles {
  readonly limit: string
  readonly usage: string
  readonly statistics: string
  /** Of files that nobody used for long, in the statistics: given back when asked. */
  readonly inactive: string
}

/**
 * Of the group that is mounted as the topmost one: the machine's own, which has no limit, or a container's. Versions 2 and
 * 1 of control groups.
 */
const groupFiles: readonly GroupFiles[] = [
  {
    limit: "sys/fs/cgroup/memory.max",
    usage: "sys/fs/cgroup/memory.current",
    statistics: "sys/fs/cgroup/memory.stat",
    inactive: "inactive_file",
  },
  {
    limit: "sys/fs/cgroup/memory/memory.limit_in_bytes",
    usage: "sys/fs/cgroup/memory/memory.usage_in_bytes",
    statistics: "sys/fs/cgroup/memory/memory.stat",
    inactive: "total_inactive_file",
  },
]

interface Group {
  readonly files: GroupFiles
  readonly limitBytes: number
}

/** @throws where there is a limit that can't be read */
async function findGroup(systemRoot: string): Promise<Group | undefined> {
  for (const files of groupFiles) {
    const text = await readFile(join(systemRoot, files.limit), "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined
      throw error
    })
    if (text === undefined) continue
    const limitBytes = text.trim() === "max" ? Number.POSITIVE_INFINITY : wholeNumber(text, files.limit)
    return limitBytes >= limitBytesMax ? undefined : { files, limitBytes }
  }
  return undefined
}

/** As a share of the limit. */
async function usedOfGroup(systemRoot: string, { files, limitBytes }: Group): Promise<number> {
  const usage = wholeNumber(await readFile(join(systemRoot, files.usage), "utf8"), files.usage)
  const statistics = await readFile(join(systemRoot, files.statistics), "utf8")
  const [, inactive] = new RegExp(`^${files.inactive} (\\d+)$`, "m").exec(statistics) ?? []
  if (inactive === undefined) throw new Error(`/${files.statistics} lacks ${files.inactive}`)
  return Math.max(0, usage - Number(inactive)) / limitBytes
}

function wholeNumber(text: string, file: string): number {
  const value = Number(/^\d+$/.exec(text.trim())?.[0] ?? Number.NaN)
  if (!Number.isFinite(value)) throw new Error(`/${file} holds no number`)
  return value
}

/** As df reckons it: of what ordinary users can have. @throws for a file system without a size, such as /proc */
export async function diskPercent(path: string): Promise<number> {
  const { blocks, bfree, bavail } = await statfs(path)
  const used = blocks - bfree
  if (used + bavail <= 0) throw new Error(`the file system of ${path} has no size`)
  return (used / (used + bavail)) * 100
}
