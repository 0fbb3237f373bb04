/** An sshd of this benchmark's own: its port, its keys, only for the user who runs it. */
import { spawn, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { connect } from "node:net"
import { userInfo } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"

export interface Sshd {
  readonly version: string
  /** A text for /bin/sh that runs `true` on so many hosts at once. */
  command(hosts: number): string
  stop(): void
}

const program = "/usr/sbin/sshd"
const port = 14_022

/** Undefined where there is no sshd, or where it doesn't run for this user. */
export async function startSshd(directory: string): Promise<Sshd | undefined> {
  if (!existsSync(program)) {
    process.stderr.write("there is no sshd, so parallel ssh is left out\n")
    return undefined
  }
  if (process.getuid?.() === 0) await mkdir("/run/sshd", { recursive: true, mode: 0o755 })
  const path = (name: string): string => join(directory, name)
  for (const name of ["host-key", "user-key"])
    spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", path(name)])
  await writeFile(path("authorized"), await readFile(path("user-key.pub")), { mode: 0o600 })
  const settings = {
    ListenAddress: `127.0.0.1:${port}`,
    HostKey: path("host-key"),
    AuthorizedKeysFile: path("authorized"),
    PidFile: "none",
    MaxStartups: "200",
    StrictModes: "no",
    PermitRootLogin: "yes",
    UsePAM: "no",
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}"\n`)
  await writeFile(
    path("sshd.conf"),
    lines.join("").replace(/^(MaxStartups|StrictModes|PermitRootLogin|UsePAM) "(.*)"$/gm, "$1 $2"),
  )
  const log = path("sshd.log")
  const child = spawn(program, ["-D", "-E", log, "-f", path("sshd.conf")], { stdio: "ignore" })
  for (let n = 0; n < 100 && !(await isListening()); n++) {
    if (child.exitCode !== null) {
      process.stderr.write(`sshd did not start, so parallel ssh is left out: ${await readFile(log, "utf8")}\n`)
      return undefined
    }
    await delay(50)
  }
  const options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
  const words = [...options.map((option) => `-o ${option}`), `-i '${path("user-key")}'`, `-p ${port}`]
  return {
    version: /OpenSSH_(\S+?),?\s/.exec(spawnSync("ssh", ["-V"], { encoding: "utf8" }).stderr)?.[1] ?? "",
    command: (hosts) =>
      `seq ${hosts} | xargs -P ${hosts} -I{} ssh -n ${words.join(" ")} ${userInfo().username}@127.0.0.1 true`,
    stop: () => void child.kill("SIGTERM"),
  }
}

async function isListening(): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect(port, "127.0.0.1")
  socket.once("connect", () => resolve(true))
  socket.once("error", () => resolve(false))
  const listens = await promise
  socket.destroy()
  return listens
}
