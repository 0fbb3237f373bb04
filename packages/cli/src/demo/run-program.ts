import { spawn } from "node:child_process"

export interface ProgramResult {
  readonly exitCode: number | null
  readonly output: string
}

const outputLengthMax = 64 * 1024

/** Runs a program to its end; what it wrote is kept up to a limit, the oldest text goes first. Throws nothing. */
export async function runProgram(
  words: readonly string[],
  options: {
    readonly timeoutMilliseconds: number
    readonly environment?: NodeJS.ProcessEnv
    readonly directory?: string
    readonly signal?: AbortSignal
    readonly onStart?: (processId: number) => void
  },
): Promise<ProgramResult> {
  const [program = "", ...rest] = words
  const { promise, resolve } = Promise.withResolvers<ProgramResult>()
  let output = ""
  const child = spawn(program, rest, {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    ...(options.environment && { env: options.environment }),
    ...(options.directory !== undefined && { cwd: options.directory }),
  })
  if (child.pid !== undefined) options.onStart?.(child.pid)
  const end = () => {
    if (child.pid !== undefined) killGroup(child.pid)
  }
  const timer = setTimeout(end, options.timeoutMilliseconds)
  options.signal?.addEventListener("abort", end)
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-outputLengthMax)
    })
  }
  child.once("error", (error) => resolve({ exitCode: null, output: error.message }))
  child.once("close", (exitCode) => resolve({ exitCode, output }))
  const result = await promise
  clearTimeout(timer)
  options.signal?.removeEventListener("abort", end)
  return result
}

function killGroup(group: number): void {
  try {
    process.kill(-group, "SIGKILL")
  } catch {
    // It has just ended.
  }
}
