import { AppError } from "@signalbox/kernel/app-error"
import type { Readable, Writable } from "node:stream"

/** A stream that people may look at. */
export type Screen = Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number }

/** The outside of the command line, so that tests can look at it. */
export interface Io {
  readonly stdout: Screen
  readonly stderr: Screen
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Calls the listener at each Ctrl-C instead of ending the process; the result takes it away. */
  onInterrupt(listener: () => void): () => void
  /** As `onInterrupt`, and for the signal by which a service manager stops a program. */
  onStop(listener: () => void): () => void
}

export const stdinBytesMax = 16 * 1024 * 1024

/** Writes and waits until it is out, so that a slow reader slows us down and one that left is noticed (EPIPE). */
export async function print(screen: Screen, text: string): Promise<void> {
  if (text === "") return
  await new Promise<void>((resolve, reject) => {
    screen.write(text, (error) => (error ? reject(error) : resolve()))
  })
}

export async function printLine(screen: Screen, text: string): Promise<void> {
  await print(screen, `${text}\n`)
}

/** Columns to fit into; undefined in a pipe, where nothing is cut. */
export function columnsOf(screen: Screen): number | undefined {
  return screen.isTTY === true ? (screen.columns ?? 80) : undefined
}

export function hasColour(screen: Screen, environment: Io["environment"]): boolean {
  return screen.isTTY === true && !environment["NO_COLOR"] && environment["TERM"] !== "dumb"
}

export async function readStdin(io: Io): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of io.stdin) {
    const buffer = Buffer.from(chunk as Uint8Array | string)
    bytes += buffer.length
    if (bytes > stdinBytesMax)
      throw new AppError("cli.file-unreadable", `standard input has over ${stdinBytesMax} bytes`)
    chunks.push(buffer)
  }
  return Buffer.concat(chunks).toString("utf8")
}
