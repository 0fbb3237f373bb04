import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from "node:fs"
import { createHash } from "node:crypto"
import { readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { agentLimits } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import { attemptFileName } from "./attempt.ts"
import type { StepTry } from "./step-try.ts"
import type { ProcessOwner } from "./process-owner.ts"

/** In bytes; four times what the values may have in characters, and room for their names. */
const fileBytesMax = agentLimits.outputValuesLengthMax * 4 + 64 * 1024
const namePattern = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/

// Small local files: a call on this thread takes a tenth of what a trip to the pool does.

/** The agent's own place for what a step needs only while it runs. */
function workDirectory(dataDirectory: string): string {
  return join(dataDirectory, "work")
}

/** Names in the system's folder for temporary files, where machines may have several agents. */
function sharedPlacePrefix(dataDirectory: string): string {
  return `signalbox-step-${createHash("sha256").update(resolve(dataDirectory)).digest("hex").slice(0, 12)}-`
}

/** Removes the work places that an agent before this one, of the same directory, was killed in. */
export async function removeWorkPlaces(dataDirectory: string): Promise<void> {
  await rm(workDirectory(dataDirectory), { recursive: true, force: true })
  const prefix = sharedPlacePrefix(dataDirectory)
  for (const name of await readdir(tmpdir()).catch(() => [])) {
    if (name.startsWith(prefix)) await rm(join(tmpdir(), name), { recursive: true, force: true })
  }
}

/**
 * A private place for a step's process. The agent's own directory is closed to other users, so that for them it is a
 * directory in /tmp that they can pass through but not change.
 */
export function makeWorkPlace(attempt: Pick<StepTry, "context" | "key" | "index">, owner: ProcessOwner): string {
  if (!owner.change) {
    const directory = workDirectory(attempt.context.dataDirectory)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    return mkdtempSync(join(directory, `${attemptFileName(attempt.key)}.${attempt.index}.`))
  }
  const directory = mkdtempSync(join(tmpdir(), sharedPlacePrefix(attempt.context.dataDirectory)))
  chmodSync(directory, 0o711)
  return directory
}

/** A file in a work place that the step's user can read and write. */
export function putWorkFile(path: string, content: string, owner: ProcessOwner): void {
  writeFileSync(path, content, { flag: "wx", mode: 0o600 })
  if (owner.change) chownSync(path, owner.change.uid, owner.change.gid)
}

/** What a step writes its outputs to. */
export function outputFileOf(workPlace: string): string {
  return join(workPlace, "output")
}

export async function removeWorkPlace(directory: string): Promise<void> {
  if (removeUsual(directory)) return
  await rm(directory, { recursive: true, force: true })
}

/** False where a step left more in it, which may be much, or less. */
function removeUsual(directory: string): boolean {
  try {
    unlinkSync(outputFileOf(directory))
    rmdirSync(directory)
    return true
  } catch {
    return false
  }
}

/** @throws agent.step-refused for what can't be understood or is too much */
export function readOutputFile(path: string): Record<string, string> {
  const file = openOutput(path)
  try {
    const stat = fstatSync(file)
    if (!stat.isFile()) throw unreadable("it was replaced by something else")
    if (stat.size > fileBytesMax) throw unreadable(`it has more than ${fileBytesMax} bytes`)
    // What is still being written is not waited for.
    const buffer = Buffer.alloc(stat.size)
    let bytes = 0
    for (let read = -1; read !== 0 && bytes < buffer.length; bytes += read) {
      read = readSync(file, buffer, bytes, buffer.length - bytes, null)
    }
    return parseOutputs(buffer.toString("utf8", 0, bytes))
  } finally {
    closeSync(file)
  }
}

function openOutput(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch {
    throw unreadable("it was removed or replaced")
  }
}

/** Lines `NAME=VALUE`, and values of several lines as `NAME<<WORD`, the lines, `WORD`. The last of a name counts. */
export function parseOutputs(text: string): Record<string, string> {
  const outputs: Record<string, string> = Object.create(null) as Record<string, string>
  const lines = text.split("\n")
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? ""
    if (line.trim() === "") continue
    const [, name = "", sign, rest = ""] = /^([^=<]*)(=|<<)(.*)$/s.exec(line) ?? []
    if (!namePattern.test(name)) throw unreadable(`line ${at + 1} is not NAME=VALUE`)
    if (sign === "=") {
      outputs[name] = rest
      continue
    }
    const end = lines.indexOf(rest, at + 1)
    if (rest === "" || end === -1) throw unreadable(`the value of ${name} in line ${at + 1} has no end`)
    outputs[name] = lines.slice(at + 1, end).join("\n")
    at = end
  }
  return outputs
}

function unreadable(why: string): AppError {
  return new AppError("agent.step-refused", `$SIGNALBOX_OUTPUT can't be read: ${why}`)
}
