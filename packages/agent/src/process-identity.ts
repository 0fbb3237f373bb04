import { readdirSync, readFileSync } from "node:fs"

/** A process that can be recognised later: its number alone may be used again by another one. */
export interface ProcessIdentity {
  readonly pid: number
  /** Ticks since the machine's start; absent where there is no /proc. */
  readonly startTime?: string
  readonly bootId?: string
}

/** Names every process of an attempt, so that what a killed agent left behind can be found. */
export const attemptMarker = "SIGNALBOX_ATTEMPT"

let bootId: { readonly value: string | undefined } | undefined

/** The same for as long as this process lives. */
export function readBootId(): string | undefined {
  bootId ??= { value: readText("/proc/sys/kernel/random/boot_id")?.trim() }
  return bootId.value
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

/** Fields of /proc/<pid>/stat after the command's name, which may itself hold spaces and parentheses. */
function readStat(pid: number): string[] | undefined {
  const text = readText(`/proc/${pid}/stat`)
  return text?.slice(text.lastIndexOf(")") + 2).split(" ")
}

export function identifyProcess(pid: number): ProcessIdentity {
  const startTime = readStat(pid)?.[19]
  const boot = readBootId()
  return { pid, ...(startTime !== undefined && { startTime }), ...(boot !== undefined && { bootId: boot }) }
}

/** True while exactly this process lives (a zombie does not). */
export function isAlive(identity: ProcessIdentity): boolean {
  if (identity.bootId !== undefined && identity.bootId !== readBootId()) return false
  const stat = readStat(identity.pid)
  if (stat) return stat[0] !== "Z" && (identity.startTime === undefined || stat[19] === identity.startTime)
  if (readText("/proc/self/stat") !== undefined) return false
  return signalProcess(identity.pid, 0)
}

/** Sends a signal to a process, or to a group where `pid` is negative; false where there is none. */
export function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/**
 * Process groups in which some process carries the marker: `text` is the beginning of the marker's value, or all of it
 * with a NUL at its end. `group` narrows the search to one.
 */
export function findMarkedGroups(text: string, group?: number): number[] {
  const needle = `${attemptMarker}=${text}`
  const groups = new Set<number>()
  for (const name of listProcesses()) {
    const stat = readStat(Number(name))
    const found = Number(stat?.[2])
    if (!stat || stat[0] === "Z" || !(found > 1) || (group !== undefined && found !== group)) continue
    if (readText(`/proc/${name}/environ`)?.includes(needle)) groups.add(found)
  }
  return [...groups]
}

/** True while a process of the group runs; one that has ended and waits for its parent does not count. */
export function hasLiveMembers(group: number): boolean {
  if (!signalProcess(-group, 0)) return false
  const processes = listProcesses()
  if (processes.length === 0) return true
  return processes.some((name) => {
    const stat = readStat(Number(name))
    return stat !== undefined && Number(stat[2]) === group && stat[0] !== "Z"
  })
}

function listProcesses(): string[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name))
  } catch {
    return []
  }
}
