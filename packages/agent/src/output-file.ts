import { constants } from "node:fs"
import { chmod, chown, mkdir, mkdtemp, open, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { agentLimits } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import { attemptFileName } from "./attempt.ts"
import type { StepTry } from "./step-try.ts"
import type { ProcessOwner } from "./process-owner.ts"

/** In bytes; four times what the values may have in characters, and room for their names. */
const fileBytesMax = agentLimits.outputValuesLengthMax * 4 + 64 * 1024
const namePattern = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/

/** The agent's own place for what a step needs only while it runs; emptied when the agent starts. */
export function workDirectory(dataDirectory: string): string {
  return join(dataDirectory, "work")
}

/**
 * A private place for a step's process. The agent's own directory is closed to other users, so that for them it is a
 * directory in /tmp that they can pass through but not change.
 */
export async function makeWorkPlace(
  attempt: Pick<StepTry, "context" | "key" | "index">,
  owner: ProcessOwner,
): Promise<string> {
  if (!owner.change) {
    const directory = workDirectory(attempt.context.dataDirectory)
    await mkdir(directory, { recursive: true, mode: 0o700 })
    return await mkdtemp(join(directory, `${attemptFileName(attempt.key)}.${attempt.index}.`))
  }
  const directory = await mkdtemp(join(tmpdir(), "signalbox-step-"))
  await chmod(directory, 0o711)
  return directory
}

/** A file in a work place that the step's user can read and write. */
export async function putWorkFile(path: string, content: string, owner: ProcessOwner): Promise<void> {
  const file = await open(path, "wx", 0o600)
  try {
    await file.writeFile(content)
  } finally {
    await file.close()
  }
  if (owner.change) await chown(path, owner.change.uid, owner.change.gid)
}

export async function removeWorkPlace(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true })
}

/** @throws agent.step-refused for what can't be understood or is too much */
export async function readOutputFile(path: string): Promise<Record<string, string>> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => undefined)
  if (!file) throw unreadable("it was removed or replaced")
  try {
    if (!(await file.stat()).isFile()) throw unreadable("it was replaced by something else")
    const buffer = Buffer.alloc(fileBytesMax + 1)
    let bytes = 0
    for (let read = -1; read !== 0 && bytes < buffer.length; bytes += read) {
      read = (await file.read(buffer, bytes, buffer.length - bytes)).bytesRead
    }
    if (bytes > fileBytesMax) throw unreadable(`it has more than ${fileBytesMax} bytes`)
    return parseOutputs(buffer.toString("utf8", 0, bytes))
  } finally {
    await file.close()
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
