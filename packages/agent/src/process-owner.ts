import { readFile } from "node:fs/promises"
import { homedir, userInfo } from "node:os"
import { AppError } from "@signalbox/kernel/app-error"

export interface ProcessOwner {
  readonly name: string
  readonly home: string
  /** Present where the process must change to another user. */
  readonly change?: { readonly uid: number; readonly gid: number }
}

/**
 * Who a step runs as. Another user than one's own needs root; its supplementary groups are dropped.
 *
 * @throws agent.user-refused
 */
export async function findProcessOwner(user: string | undefined): Promise<ProcessOwner> {
  const own = ownUser()
  if (user === undefined || user === own.name) return own
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"))
  const found = lines.find(([name]) => name === user)
  if (!found) throw new AppError("agent.user-refused", `there is no user "${user}" on this machine`)
  const uid = Number(found[2])
  const gid = Number(found[3])
  if (process.geteuid?.() === uid) return { name: user, home: found[5] ?? "/" }
  if (process.geteuid?.() !== 0) {
    throw new AppError(
      "agent.user-refused",
      `running as "${user}" needs an agent that runs as root (this one is ${own.name})`,
    )
  }
  return { name: user, home: found[5] ?? "/", change: { uid, gid } }
}

/** Whom this process runs as; by its number where the machine has no name for it, as in many containers. */
export function ownUser(): ProcessOwner {
  try {
    const { username, homedir: home } = userInfo()
    return { name: username, home }
  } catch {
    return { name: String(process.geteuid?.() ?? "unknown"), home: homedir() }
  }
}

const systemPath = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]

/** What every step finds in its environment; the rest of the agent's own environment stays with the agent. */
export function baseEnvironment(root: string, owner: ProcessOwner): Record<string, string> {
  const inherited = (process.env["PATH"] ?? "").split(":").filter((directory) => directory !== "")
  return {
    PATH: [...new Set([...inherited, ...systemPath])].join(":"),
    HOME: owner.home,
    USER: owner.name,
    LOGNAME: owner.name,
    LANG: process.env["LANG"] ?? "C.UTF-8",
    SIGNALBOX_ROOT: root,
  }
}
