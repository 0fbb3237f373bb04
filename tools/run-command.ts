import { spawn } from "node:child_process"

export interface CommandResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly directory: string
  readonly timeoutMilliseconds?: number
  /** All of it; this process's own where it isn't given. */
  readonly environment?: NodeJS.ProcessEnv
}

const outputBytesMax = 64 * 1024 * 1024

/** Runs a program to its end and keeps its output. A program that can't be started or takes too long is an error. */
export function runCommand(command: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const { directory, timeoutMilliseconds = 300_000, environment = process.env } = options
  const [program = "", ...words] = command
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, {
      cwd: directory,
      env: environment,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: timeoutMilliseconds,
    })
    const output = { stdout: "", stderr: "" }
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream].setEncoding("utf8").on("data", (text: string) => {
        output[stream] += text
        if (output[stream].length > outputBytesMax) child.kill()
      })
    }
    child.on("error", reject)
    child.on("close", (status, signal) => {
      if (status === null) reject(new Error(`${command.join(" ")} was stopped by ${signal}\n${output.stderr}`))
      else resolve({ status, ...output })
    })
  })
}
