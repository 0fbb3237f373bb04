import { createHash } from "node:crypto"
import { open, type FileHandle } from "node:fs/promises"
import { basename } from "node:path"
import {
  artifactLimits,
  artifactsBegin,
  artifactsFinish,
  artifactsWrite,
} from "@signalbox/contracts/artifacts/operations"
import type { OutputOf, Reply } from "@signalbox/contracts/operation"
import { AppError, hasCode } from "@signalbox/kernel/app-error"
import type { Client } from "@signalbox/sdk/client"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun } from "../command.ts"
import { showHeld } from "../output/show-held.ts"

type Artifact = OutputOf<typeof artifactsBegin>

const restartsMax = 3

/** `signalbox artifacts push`: a file in parts, gone on with where an earlier push of the same file broke off. */
export function addPushArtifact(artifacts: Command, frame: CommandFrame): void {
  const command = addCommand(artifacts, "push <file>", "Send a file, or the rest of it")
    .description("Send a file, or the rest of it.\n\nA push that broke off goes on where it ended.")
    .option("--name <name>", "the artifact's name (default: the file's)")
  onRun(command, frame, { run: push })
}

async function push(context: CommandContext): Promise<number | void> {
  const path = context.words[0] as string
  const name = (context.options["name"] as string | undefined) ?? basename(path)
  const file = await openFile(path)
  try {
    const input = { name, ...(await measure(file, path)) }
    const client = await context.client()
    const begun = await client.call(artifactsBegin, input)
    if (begun.status === "held") return await showHeld(context, begun.requestUrl)
    const sent = await send(client, file, { artifact: begun.value, path })
    if (sent.status === "held") return await showHeld(context, sent.requestUrl)
    const { id, digest, bytes } = sent.value
    await context.show(sent.value, () => `${name} is ready: ${id}, ${bytes} bytes, sha256 ${digest}\n`)
  } finally {
    await file.close()
  }
}

/** Sends from where the server has got to; asks again where another push of the same file was faster. */
async function send(
  client: Client,
  file: FileHandle,
  begun: { readonly artifact: Artifact; readonly path: string },
): Promise<Reply<Artifact>> {
  const { id } = begun.artifact
  let { received, state } = begun.artifact
  const part = Buffer.alloc(artifactLimits.partBytesMax)
  let restarts = 0
  while (state === "uploading" && received < begun.artifact.bytes) {
    const { bytesRead } = await file.read(part, 0, part.length, received)
    if (bytesRead === 0) throw new AppError("cli.file-unreadable", `${begun.path} became shorter while it was sent`)
    const content = part.toString("base64", 0, bytesRead)
    try {
      const reply = await client.call(artifactsWrite, { artifact: id, offset: received, content })
      if (reply.status === "held") return reply
      ;({ received, state } = reply.value)
    } catch (error) {
      if (!hasCode(error, "artifacts.wrong-offset") || restarts++ >= restartsMax) throw error
      const { received: known } = (error as AppError).details
      if (typeof known !== "number") throw error
      received = known
    }
  }
  return client.call(artifactsFinish, { artifact: id })
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r")
  } catch (cause) {
    throw new AppError("cli.file-unreadable", `${path} can't be read: ${(cause as NodeJS.ErrnoException).code}`, {
      cause,
    })
  }
}

async function measure(file: FileHandle, path: string): Promise<{ digest: string; bytes: number }> {
  if (!(await file.stat()).isFile()) throw new AppError("cli.file-unreadable", `${path} is no regular file`)
  const hash = createHash("sha256")
  const part = Buffer.alloc(artifactLimits.partBytesMax)
  let bytes = 0
  while (bytes <= artifactLimits.bytesMax) {
    const { bytesRead } = await file.read(part, 0, part.length, bytes)
    if (bytesRead === 0) return { digest: hash.digest("hex"), bytes }
    hash.update(part.subarray(0, bytesRead))
    bytes += bytesRead
  }
  throw new AppError("cli.file-unreadable", `${path} has more than ${artifactLimits.bytesMax} bytes`)
}
