import { spawn, type ChildProcess } from "node:child_process"
import type { Readable } from "node:stream"
import type { KeptOutput } from "@signalbox/contracts/fleet/agent-protocol"
import type { AgentRunLimits } from "./agent-limits.ts"
import { freeReadBuffers } from "./idle-memory.ts"
import { OutputKeeper } from "./kept-output.ts"
import { hasLiveMembers, signalProcess } from "./process-identity.ts"
import type { MaskStream, SecretMask } from "@signalbox/masking/secret-mask"

/** A command whose texts are filled: words that are run as they are, or a text for /bin/sh. */
export type CommandWords = { readonly argv: readonly string[] } | { readonly shell: string }

export interface CommandRun {
  readonly command: CommandWords
  readonly environment: Readonly<Record<string, string>>
  readonly directory: string
  readonly owner?: { readonly uid: number; readonly gid: number }
  readonly timeoutMilliseconds: number
  readonly outputKeptBytes: number
  /** Aborting it stops the process group. */
  readonly stop: AbortSignal
  readonly limits: AgentRunLimits
  /** Applied to the output before anybody sees it. */
  readonly mask?: SecretMask
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
  const stdout = new OutputStream("stdout", run)
  const stderr = new OutputStream("stderr", run)
  const finish = (rest: Omit<CommandResult, "stdout" | "stderr">): CommandResult => ({
    ...rest,
    stdout: stdout.end(),
    stderr: stderr.end(),
  })
  if (run.stop.aborted) return finish({ state: "killed", message: "stopped before it began" })
  let child: ChildProcess
  try {
    child = spawnCommand(run)
  } catch (error) {
    return finish({ state: "failed", message: startFailure(run.command, error as Error) })
  }
  const pipes: Array<[Readable | null, OutputStream]> = [
    [child.stdout, stdout],
    [child.stderr, stderr],
  ]
  let unfreedBytes = 0
  for (const [pipe, stream] of pipes) {
    pipe?.on("data", (chunk: Buffer) => {
      stream.write(chunk)
      unfreedBytes += chunk.length
      if (unfreedBytes > run.limits.outputUnfreedBytesMax) {
        freeReadBuffers()
        unfreedBytes = 0
      }
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

/** One stream of a process on its way through the mask to those who keep and show it. */
class OutputStream {
  readonly #keeper: OutputKeeper
  readonly #mask: MaskStream | undefined
  readonly #show: (chunk: Buffer) => void

  constructor(name: "stdout" | "stderr", { outputKeptBytes, mask, onOutput }: CommandRun) {
    this.#keeper = new OutputKeeper(outputKeptBytes)
    this.#mask = mask?.isEmpty === false ? mask.stream() : undefined
    this.#show = (chunk) => onOutput?.(name, chunk)
  }

  write(chunk: Buffer): void {
    this.#pass(this.#mask ? this.#mask.write(chunk) : chunk)
  }

  end(): KeptOutput {
    if (this.#mask) this.#pass(this.#mask.end())
    return this.#keeper.result()
  }

  #pass(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#keeper.write(chunk)
    this.#show(chunk)
  }
}

function spawnCommand(run: CommandRun): ChildProcess {
  const [file = "", ...words] = "argv" in run.command ? run.command.argv : ["/bin/sh", "-c", run.command.shell]
  return spawn(file, words, {
    cwd: run.directory,
    env: { ...run.environment },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    ...(run.owner && { uid: run.owner.uid, gid: run.owner.gid }),
  })
}

function startFailure(command: CommandWords, error: NodeJS.ErrnoException): string {
  const name = "argv" in command ? (command.argv[0] ?? "") : "/bin/sh"
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
