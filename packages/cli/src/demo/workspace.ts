import { type ChildProcess, spawn } from "node:child_process"
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { AppError } from "@signalbox/kernel/app-error"
import { quoteShell } from "./service-files.ts"
import { type ProgramResult, runProgram } from "./run-program.ts"

/**
 * The demo's folder and everything that runs in it. Owns `stop.sh`, which ends those processes and removes the folder,
 * and a guard that runs it when this process is gone, however that happened. Invariant: a process is only ever stopped
 * if its command line names this folder. Used by `runDemo` alone.
 */
export class Workspace {
  readonly directory: string
  readonly stopScript: string
  readonly #guard: ChildProcess
  #ended = false

  private constructor(directory: string) {
    this.directory = directory
    this.stopScript = join(directory, "stop.sh")
    this.#guard = startGuard(this.stopScript)
  }

  /** @throws demo.part-failed where no folder can be made */
  static create(): Workspace {
    try {
      const directory = mkdtempSync(join(temporaryDirectory(), "signalbox-demo-"))
      // PostgreSQL runs as another user when this one is root, and has to pass through; names can't be listed.
      if (process.getuid?.() === 0) chmodSync(directory, 0o711)
      for (const name of ["processes", "logs", "nodes"]) mkdirSync(join(directory, name), { mode: 0o700 })
      writeFileSync(join(directory, "stop.sh"), stopScript(directory), { mode: 0o700 })
      return new Workspace(directory)
    } catch (cause) {
      throw new AppError("demo.part-failed", `no folder could be made in ${tmpdir()}: ${String(cause)}`, { cause })
    }
  }

  path(...parts: string[]): string {
    return join(this.directory, ...parts)
  }

  logPath(name: string): string {
    return this.path("logs", `${name}.log`)
  }

  /** Starts a process in a session of its own: Ctrl-C reaches the demo alone, which then stops all in order. */
  start(name: string, words: readonly string[], environment: NodeJS.ProcessEnv): ChildProcess {
    const [program = "", ...rest] = words
    const log = openSync(this.logPath(name), "a", 0o600)
    try {
      const child = spawn(program, rest, {
        detached: true,
        cwd: this.directory,
        env: environment,
        stdio: ["ignore", log, log],
      })
      child.on("error", () => undefined)
      if (child.pid !== undefined) writeFileSync(this.path("processes", name), `${child.pid}\n`)
      child.unref()
      return child
    } finally {
      closeSync(log)
    }
  }

  /** Runs a process to its end. */
  run(
    name: string,
    words: readonly string[],
    options: Omit<Parameters<typeof runProgram>[1], "onStart">,
  ): Promise<ProgramResult> {
    const onStart = (pid: number) => writeFileSync(this.path("processes", `once-${name}`), `${pid}\n`)
    return runProgram(words, { directory: this.directory, ...options, onStart })
  }

  /** Those of these processes that live and belong to this folder. */
  ownProcesses(processIds: readonly number[]): number[] {
    return processIds.filter((processId) => processId > 0 && isOurs(processId, this.directory))
  }

  /** The services of the nodes, by the files that they keep their numbers in. */
  serviceProcessIds(): number[] {
    return readdirSync(this.path("nodes")).flatMap((name) => {
      const path = this.path("nodes", name, "root", "run", "pid")
      return existsSync(path) ? [Number(readFileSync(path, "utf8"))] : []
    })
  }

  /** From here on everything stays when this process ends. */
  async keep(): Promise<void> {
    this.#ended = true
    const ended = new Promise((resolve) => this.#guard.once("exit", resolve))
    this.#guard.ref()
    this.#guard.stdin?.end("keep\n")
    await ended
  }

  /** Stops everything and removes the folder. True where nothing is left. */
  async remove(): Promise<boolean> {
    if (this.#ended) return true
    this.#ended = true
    const result = await runProgram(["/bin/sh", this.stopScript], { timeoutMilliseconds: removeTimeoutMilliseconds })
    this.#guard.stdin?.end("keep\n")
    return result.exitCode === 0
  }
}

/** A number alone may belong to another process by now; the command line tells, where the system shows it. */
function isOurs(processId: number, directory: string): boolean {
  if (existsSync("/proc/self/cmdline")) {
    try {
      return readFileSync(`/proc/${processId}/cmdline`, "utf8").includes(directory)
    } catch {
      return false
    }
  }
  try {
    return process.kill(processId, 0)
  } catch {
    return false
  }
}

const removeTimeoutMilliseconds = 60_000
/** An agent gives a running step five seconds to end. */
const stopLimits = { graceSeconds: 8, killSeconds: 15 } as const

/** The system's folder for temporary files, unless root's PostgreSQL, which isn't root, could not reach it. */
function temporaryDirectory(): string {
  const wanted = tmpdir()
  if (process.getuid?.() !== 0) return wanted
  for (let at = wanted; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return "/tmp"
    if (at === dirname(at)) return wanted
  }
}

/** Reads a pipe that only this process holds: its end is this process's end. */
function startGuard(script: string): ChildProcess {
  const text = 'trap "" INT TERM HUP; while read -r line; do [ "$line" = keep ] && exit 0; done; exec /bin/sh "$1"'
  const guard = spawn("/bin/sh", ["-c", text, "guard", script], {
    detached: true,
    cwd: "/",
    stdio: ["pipe", "ignore", "ignore"],
  })
  guard.on("error", () => undefined)
  guard.stdin.on("error", () => undefined)
  guard.unref()
  return guard
}

/** Agents first, since they start services; the server, which stops its database, last. */
function stopScript(directory: string): string {
  return `#!/bin/sh
# Stops everything that this demo started, and removes its folder.
here=${quoteShell(directory)}
trap "" INT HUP
cd / || exit 1

# Is this process one of ours? A number may belong to another process by now.
ours() {
  if [ -r "/proc/$1/cmdline" ]; then tr '\\0' ' ' < "/proc/$1/cmdline" 2>/dev/null | grep -qF "$here"
  elif [ -d /proc/self ]; then false
  else ps -o command= -p "$1" 2>/dev/null | grep -qF "$here"
  fi
}

# stop FILE...: the processes whose numbers these files hold; politely, and after a while surely
stop() {
  left=
  for file in "$@"; do
    pid=$(cat "$file" 2>/dev/null) || continue
    [ -n "$pid" ] && ours "$pid" && kill -TERM "$pid" 2>/dev/null && left="$left $pid"
  done
  begun=$(date +%s)
  while [ -n "$left" ]; do
    waited=$(($(date +%s) - begun))
    [ "$waited" -gt ${stopLimits.graceSeconds} ] && signal=KILL || signal=0
    [ "$waited" -gt ${stopLimits.killSeconds} ] && return 1
    still=
    for pid in $left; do ours "$pid" && kill -$signal "$pid" 2>/dev/null && still="$still $pid"; done
    left=$still
    [ -n "$left" ] && sleep 0.05
  done
  return 0
}

status=0
stop "$here"/processes/once-* || status=1
stop "$here"/processes/agent-* || status=1
stop "$here"/nodes/*/root/run/pid || status=1
stop "$here"/processes/server || status=1
tries=0
until rm -rf "$here" 2>/dev/null && [ ! -e "$here" ]; do
  tries=$((tries + 1))
  [ "$tries" -gt 100 ] && exit 1
  sleep 0.05
done
exit $status
`
}
