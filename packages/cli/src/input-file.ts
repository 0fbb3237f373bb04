import { AppError } from "@signalbox/kernel/app-error"
import { readFile, stat } from "node:fs/promises"
import { type Io, readStdin, stdinBytesMax } from "./io.ts"

/** The text of a file, or of standard input for `-`. @throws cli.file-unreadable */
export async function readInputFile(path: string, io: Io): Promise<string> {
  if (path === "-") return await readStdin(io)
  try {
    const { size } = await stat(path)
    if (size > stdinBytesMax) throw new AppError("cli.file-unreadable", `${path} has over ${stdinBytesMax} bytes`)
    return await readFile(path, "utf8")
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError("cli.file-unreadable", `${path} can't be read: ${reason(cause)}`, { cause })
  }
}

function reason(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  if (code === "ENOENT") return "there is no such file"
  if (code === "EACCES") return "permission denied"
  if (code === "EISDIR") return "it is a directory"
  return cause instanceof Error ? cause.message : String(cause)
}

/** A JSON object out of a file. @throws cli.usage */
export async function readJsonObject(path: string, io: Io): Promise<Record<string, unknown>> {
  const text = await readInputFile(path, io)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new AppError("cli.usage", `${path === "-" ? "standard input" : path} is not valid JSON`, { cause })
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new AppError("cli.usage", `${path === "-" ? "standard input" : path} must hold a JSON object`)
  }
  return value as Record<string, unknown>
}
