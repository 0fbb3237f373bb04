import { readFile, stat } from "node:fs/promises"

/** The user that a child process runs as. */
export interface UnixAccount {
  readonly uid: number
  readonly gid: number
}

/** Existing users that PostgreSQL may run as when this process is root, best first. */
const accountNames = ["signalbox", "postgres", "nobody"]
const overflow: UnixAccount = { uid: 65_534, gid: 65_534 }

export function isRoot(): boolean {
  return process.getuid?.() === 0
}

/**
 * PostgreSQL refuses to run as root. The owner of an existing cluster stays its owner; else an unprivileged user of
 * this machine is taken. Undefined where this process is not root and so runs PostgreSQL as itself.
 */
export async function findUnprivilegedAccount(clusterDirectory: string): Promise<UnixAccount | undefined> {
  if (!isRoot()) return undefined
  const owner = await stat(clusterDirectory).catch(() => undefined)
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid }
  const users = parseUsers(await readFile("/etc/passwd", "utf8").catch(() => ""))
  for (const name of accountNames) {
    const account = users.get(name)
    if (account && account.uid !== 0) return account
  }
  return overflow
}

function parseUsers(passwd: string): Map<string, UnixAccount> {
  const lines = passwd.split("\n").map((line) => line.split(":"))
  return new Map(lines.map(([name = "", , uid, gid]) => [name, { uid: Number(uid), gid: Number(gid) }]))
}
