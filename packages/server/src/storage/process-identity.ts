import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import { promisify } from "node:util"

/** A running process. `startMark` tells it from another one that was given the same number later. */
export interface RunningProcess {
  readonly processId: number
  readonly startMark: string
  readonly args: readonly string[]
}

/** The process with this number, or undefined where none runs (a zombie does not run). */
export async function findProcess(processId: number): Promise<RunningProcess | undefined> {
  return process.platform === "linux" ? findInProc(processId) : findByPs(processId)
}

/** This very process, by number and start, as one word that fits a file name and a command line. */
export async function ownIdentity(): Promise<string> {
  const own = await findProcess(process.pid)
  return `${process.pid}-${own?.startMark ?? "0"}`
}

/** True where the process that wrote this `ownIdentity` still runs. */
export async function isIdentityAlive(identity: string): Promise<boolean> {
  const [processId = "", startMark] = identity.split("-")
  const found = await findProcess(Number(processId))
  return found !== undefined && found.startMark === startMark
}

async function findInProc(processId: number): Promise<RunningProcess | undefined> {
  try {
    const stat = await readFile(`/proc/${processId}/stat`, "utf8")
    // The second field is the name in parentheses and may hold anything, so the rest is counted from its end.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    const [state, startMark] = [fields[0], fields[19]]
    if (state === "Z" || state === "X" || startMark === undefined) return undefined
    const args = (await readFile(`/proc/${processId}/cmdline`, "utf8")).split("\0").slice(0, -1)
    return { processId, startMark, args }
  } catch {
    return undefined
  }
}

async function findByPs(processId: number): Promise<RunningProcess | undefined> {
  try {
    const { stdout } = await promisify(execFile)("ps", ["-o", "stat=,lstart=,args=", "-p", String(processId)])
    const match = /^(\S+)\s+(\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s+(.*)$/.exec(stdout.trim())
    if (!match || match[1]?.startsWith("Z")) return undefined
    return { processId, startMark: (match[2] ?? "").replace(/\W+/g, "."), args: [match[3] ?? ""] }
  } catch {
    return undefined
  }
}
