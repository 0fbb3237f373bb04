import { spawn } from "node:child_process"
import { homedir } from "node:os"
import type { Readable } from "node:stream"
import type { InstallTarget } from "./install-plan.ts"

export const sshLimits = {
  connectSeconds: 15,
  outputBytesMax: 64 * 1024,
  scriptMilliseconds: 180_000,
  uploadMilliseconds: 900_000,
} as const

export interface SshResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface SshRun {
  readonly target: InstallTarget
  /** For /bin/sh there, as root where the target becomes root. */
  readonly script: string
  readonly input?: string | Readable
  readonly timeoutMilliseconds?: number
  /** Given to `ssh -o`. */
  readonly options: readonly string[]
  readonly signal: AbortSignal
}

/** A word as any shell takes it. @example quoteWord("it's") // "'it'\\''s'" */
export function quoteWord(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}

/** The arguments of `ssh`. Never asks: a host key or a password that ssh would ask for is a failure. */
export function sshArguments({ target, script, options }: Pick<SshRun, "target" | "script" | "options">): string[] {
  const { address, port, user, identityFile, become } = target
  const fixed = ["BatchMode=yes", `ConnectTimeout=${sshLimits.connectSeconds}`, "ServerAliveInterval=15"]
  const command = `/bin/sh -c ${quoteWord(script)}`
  return [
    "-T",
    // The first value of an option counts: those given win over ours.
    ...[...options, ...fixed].flatMap((option) => ["-o", option]),
    ...(port === undefined ? [] : ["-p", port]),
    ...(user === undefined ? [] : ["-l", user]),
    ...(identityFile === undefined ? [] : ["-i", identityFile.replace(/^~(?=\/)/, homedir())]),
    "--",
    address,
    become ? `sudo -n -- ${command}` : command,
  ]
}

/** Runs a script on a host by the system's ssh. Never throws: what went wrong is in the result. */
export async function runSsh(run: SshRun): Promise<SshResult> {
  const { promise, resolve } = Promise.withResolvers<SshResult>()
  const limit = AbortSignal.timeout(run.timeoutMilliseconds ?? sshLimits.scriptMilliseconds)
  const child = spawn("ssh", sshArguments(run), {
    stdio: ["pipe", "pipe", "pipe"],
    signal: AbortSignal.any([run.signal, limit]),
  })
  let [stdout, stderr] = ["", ""]
  const keep = (kept: string, more: string): string => (kept + more).slice(-sshLimits.outputBytesMax)
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout = keep(stdout, text)))
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = keep(stderr, text)))
  child.once("error", (error: NodeJS.ErrnoException) => {
    const isMissing = error.code === "ENOENT"
    const why = limit.aborted
      ? "it took too long"
      : isMissing
        ? "there is no program `ssh` on this machine"
        : error.message
    resolve({ code: null, stdout, stderr: why })
  })
  child.once("close", (code) => resolve({ code, stdout, stderr }))
  // The other side may end without reading all of it; its exit code tells.
  child.stdin.on("error", () => undefined)
  if (run.input === undefined || typeof run.input === "string") child.stdin.end(run.input ?? "")
  else run.input.on("error", () => child.kill()).pipe(child.stdin)
  return await promise
}
