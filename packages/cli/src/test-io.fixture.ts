import { Readable, Writable } from "node:stream"
import type { Io, Screen } from "./io.ts"
import { runCli } from "./run-cli.ts"

export interface CliResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface TestIoOptions {
  readonly environment?: Readonly<Record<string, string>>
  readonly stdin?: string
  readonly terminal?: { readonly columns: number; readonly rows: number }
}

/** Streams that keep what is written, and a Ctrl-C to press. */
export class TestIo implements Io {
  readonly stdout: Screen
  readonly stderr: Screen
  readonly stdin: Io["stdin"]
  readonly environment: Readonly<Record<string, string | undefined>>
  private readonly texts = { stdout: "", stderr: "" }
  private readonly listeners = new Set<() => void>()

  constructor(options: TestIoOptions = {}) {
    this.stdout = this.screen("stdout", options)
    this.stderr = this.screen("stderr", options)
    this.stdin = Readable.from(options.stdin === undefined ? [] : [Buffer.from(options.stdin)])
    this.environment = options.environment ?? {}
  }

  get output(): string {
    return this.texts.stdout
  }

  get errors(): string {
    return this.texts.stderr
  }

  onInterrupt(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  onStop(listener: () => void): () => void {
    return this.onInterrupt(listener)
  }

  interrupt(): void {
    for (const listener of this.listeners) listener()
  }

  private screen(name: "stdout" | "stderr", { terminal }: TestIoOptions): Screen {
    const stream = new Writable({
      write: (chunk: Buffer, _, done) => {
        this.texts[name] += chunk.toString("utf8")
        done()
      },
    })
    return terminal === undefined ? stream : Object.assign(stream, { isTTY: true, ...terminal })
  }
}

/** Runs a command line in this process. */
export async function cli(words: readonly string[], options: TestIoOptions = {}): Promise<CliResult> {
  const io = new TestIo(options)
  const code = await runCli(words, io, "0.0.0-test")
  return { code, stdout: io.output, stderr: io.errors }
}
