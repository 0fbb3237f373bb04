import { spawn, type ChildProcess } from "node:child_process"
import type { Readable } from "node:stream"
import type { CommandOrder, KeptOutput, Text } from "@signalbox/contracts/fleet/agent-protocol"
import { assert } from "@signalbox/kernel/assert"
import type { AgentRunLimits } from "./agent-limits.ts"
import { freeReadBuffers } from "./idle-memory.ts"
import { OutputKeeper } from "./kept-output.ts"
import { hasLiveMembers, signalProcess } from "./process-identity.ts"

export interface CommandRun {
  readonly command: CommandOrder
  readonly environment: Readonly<Record<string, string>>
  readonly directory: string
  readonly owner?: { readonly uid: number; readonly gid: number }
  readonly timeoutMilliseconds: number
  readonly outputKeptBytes: number
  /** Aborting it stops the process group. */
  readonly stop: AbortSignal
  readonly limits: AgentRunLimits
  readonly onProcess?: (pid: number) => void
  readonly onOutput?: (stream: "stdout" | "stderr", chunk: Buffer) => void
}

export interface CommandResult {
  readonly state: "succeeded" | "failed" | "timed-out" | "killed"
  readonly exitCode?: number
  readonly signal?: string
  readonly stdout: KeptOutput
  readonly stderr: KeptOutput
  readonly message?: string
}

type Exit = { code: number | null; signal: NodeJS.Signals | null } | { error: NodeJS.ErrnoException } | "stuck"

/**
 * Runs one command in a process group of its own and waits for its main process, not for what it left in the
 * background. Never throws for what a command does: a program that can't be found is a failed command.
 */
export async function runCommand(run: CommandRun): Promise<CommandResult> {
  const stdout = new OutputKeeper(run.outputKeptBytes)
  const stderr = new OutputKeeper(run.outputKeptBytes)
  const finish = (rest: Omit<CommandResult, "stdout" | "stderr">): CommandResult => ({
    ...rest,
    stdout: stdout.result(),
    stderr: stderr.result(),
  })
  if (run.stop.aborted) return finish({ state: "killed", message: "stopped before it began" })
  let child: ChildProcess
  try {
    child = spawnCommand(run)
  } catch (error) {
    return finish({ state: "failed", message: startFailure(run.command, error as Error) })
  }
  const pipes: Array<[Readable | null, "stdout" | "stderr", OutputKeeper]> = [
    [child.stdout, "stdout", stdout],
    [child.stderr, "stderr", stderr],
  ]
  let unfreedBytes = 0
  for (const [pipe, name, keeper] of pipes) {
    pipe?.on("data", (chunk: Buffer) => {
      keeper.write(chunk)
      unfreedBytes += chunk.length
      if (unfreedBytes > run.limits.outputUnfreedBytesMax) {
        freeReadBuffers()
        unfreedBytes = 0
      }
      run.onOutput?.(name, chunk)
    })
    pipe?.on("error", () => undefined)
  }
  const { exit, reason } = await superviseProcess(child, run)
  if (typeof exit === "object" && "error" in exit) {
    return finish({ state: "failed", message: startFailure(run.command, exit.error) })
  }
  const drained = await drainPipes(
    pipes.map(([pipe]) => pipe).filter((pipe) => pipe !== null),
    run.limits,
  )
  const held = drained ? {} : { message: "a background process still holds the output; redirect it to a file" }
  if (exit === "stuck") {
    return finish({ state: reason ?? "killed", message: "the process did not end after SIGKILL and was left behind" })
  }
  const state = reason ?? (exit.code === 0 ? "succeeded" : "failed")
  return finish({
    state,
    ...(exit.code !== null && { exitCode: exit.code }),
    ...(exit.signal !== null && { signal: exit.signal }),
    ...held,
  })
}

export function plain(text: Text): string {
  assert(typeof text === "string", "an order's texts are filled before they are run")
  return text
}

function spawnCommand(run: CommandRun): ChildProcess {
  const [file = "", ...words] =
    "argv" in run.command ? run.command.argv.map(plain) : ["/bin/sh", "-c", run.command.shell]
  return spawn(file, words, {
    cwd: run.directory,
    env: { ...run.environment },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    ...(run.owner && { uid: run.owner.uid, gid: run.owner.gid }),
  })
}

function startFailure(command: CommandOrder, error: NodeJS.ErrnoException): string {
  const name = "argv" in command ? plain(command.argv[0] ?? "") : "/bin/sh"
  if (error.code === "ENOENT") return `can't start "${name}": no such program, or its directory doesn't exist`
  if (error.code === "EACCES")
    return `can't start "${name}": it, or a directory on the way to it, is closed to this user`
  return `can't start "${name}": ${error.message}`.slice(0, 1900)
}

interface Supervised {
  readonly exit: Exit
  /** Why it was stopped, where it was. */
  readonly reason: "timed-out" | "killed" | undefined
}

/** Waits for the end; at the timeout or on request ends the whole group, politely and then surely. */
async function superviseProcess(child: ChildProcess, run: CommandRun): Promise<Supervised> {
  const ended = new Promise<Exit>((resolve) => {
    child.once("error", (error) => resolve({ error }))
    child.once("exit", (code, signal) => resolve({ code, signal }))
  })
  let reason: Supervised["reason"]
  const stopping = Promise.withResolvers<"stop">()
  const stopFor = (why: "timed-out" | "killed") => {
    reason ??= why
    stopping.resolve("stop")
  }
  const onAbort = () => stopFor("killed")
  run.stop.addEventListener("abort", onAbort)
  if (child.pid !== undefined) run.onProcess?.(child.pid)
  if (run.stop.aborted) onAbort()
  const timer = setTimeout(() => stopFor("timed-out"), Math.min(run.timeoutMilliseconds, 2 ** 31 - 1))
  try {
    const first = await Promise.race([ended, stopping.promise])
    if (first !== "stop") return { exit: first, reason: undefined }
    if (child.pid !== undefined) await endGroup(child.pid, run.limits)
    const stuck = Promise.withResolvers<"stuck">()
    const giveUp = setTimeout(() => stuck.resolve("stuck"), run.limits.killWaitMilliseconds)
    const exit = await Promise.race([ended, stuck.promise])
    clearTimeout(giveUp)
    return { exit, reason }
  } finally {
    clearTimeout(timer)
    run.stop.removeEventListener("abort", onAbort)
  }
}

const groupPollMilliseconds = 50

/** SIGTERM to a process group, and SIGKILL to what is left of it when the grace is over. */
export async function endGroup(group: number, limits: AgentRunLimits): Promise<void> {
  signalProcess(-group, "SIGTERM")
  const polls = Math.ceil(limits.terminateGraceMilliseconds / groupPollMilliseconds)
  for (let poll = 0; poll < polls; poll++) {
    if (!hasLiveMembers(group)) return
    await new Promise((resolve) => setTimeout(resolve, groupPollMilliseconds))
  }
  signalProcess(-group, "SIGKILL")
}

/** Pipes that daemons of finished steps still hold: read to nowhere, so that their next line doesn't end them. */
const orphanedPipes = new Set<Readable>()

/** True where all output was read to its end; otherwise the pipes are kept open for those who still write. */
async function drainPipes(pipes: readonly Readable[], limits: AgentRunLimits): Promise<boolean> {
  const open = pipes.filter((pipe) => !pipe.closed && !pipe.readableEnded)
  if (open.length === 0) return true
  const timeout = Promise.withResolvers<false>()
  const timer = setTimeout(() => timeout.resolve(false), limits.outputDrainMilliseconds)
  const ends = open.map((pipe) => new Promise<void>((resolve) => pipe.once("close", () => resolve())))
  const drained = await Promise.race([Promise.all(ends).then(() => true), timeout.promise])
  clearTimeout(timer)
  if (!drained) for (const pipe of open) orphanPipe(pipe, limits)
  return drained
}

function orphanPipe(pipe: Readable, limits: AgentRunLimits): void {
  if (pipe.closed) return
  pipe.removeAllListeners("data")
  pipe.resume()
  ;(pipe as Readable & { unref?: () => void }).unref?.()
  orphanedPipes.add(pipe)
  pipe.once("close", () => orphanedPipes.delete(pipe))
  for (const oldest of orphanedPipes) {
    if (orphanedPipes.size <= limits.orphanedPipesMax) break
    orphanedPipes.delete(oldest)
    oldest.destroy()
  }
}
