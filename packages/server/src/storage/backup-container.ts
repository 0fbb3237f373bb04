/**
 * The file of a backup: one line that names the format, then a zstd stream of frames (type, length, payload). The last
 * frame holds the SHA-256 of everything before it, so a file that is cut short, or altered so that it says something else,
 * is found out before anything is restored from it.
 */
import { createHash } from "node:crypto"
import { createReadStream, createWriteStream } from "node:fs"
import { open, rename, rm } from "node:fs/promises"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createZstdCompress, createZstdDecompress } from "node:zlib"
import { AppError, isAppError } from "@signalbox/kernel/app-error"

/** `data` frames follow the `table`, `blob` or `file` they belong to. */
export type Frame =
  | {
      readonly kind: "header" | "table" | "table-end" | "blob" | "file" | "end"
      readonly fields: Record<string, unknown>
    }
  | { readonly kind: "data"; readonly bytes: Uint8Array }

const firstLine = Buffer.from("signalbox-backup 1\n")
const kinds = ["header", "table", "table-end", "blob", "end", "data", "file"] as const
const prefixBytes = 5
const frameBytesMax = 16 << 20

/** Writes the frames to a file that appears under its name only when it is whole and on disk. The `end` is added here. */
export async function writeBackupFile(path: string, frames: AsyncIterable<Frame>): Promise<void> {
  const unfinished = `${path}.unfinished`
  try {
    const file = createWriteStream(unfinished, { mode: 0o600, flush: true })
    file.write(firstLine)
    await pipeline(Readable.from(encode(frames)), createZstdCompress(), file)
    await rename(unfinished, path)
  } catch (error) {
    await rm(unfinished, { force: true })
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOSPC" || code === "EDQUOT")
      throw new AppError("storage.disk-full", `writing ${path}: the disk is full`, { cause: error })
    throw error
  }
}

async function* encode(frames: AsyncIterable<Frame>): AsyncGenerator<Buffer> {
  const hash = createHash("sha256")
  for await (const frame of frames) {
    const bytes = encodeFrame(frame)
    hash.update(bytes)
    yield bytes
  }
  yield encodeFrame({ kind: "end", fields: { sha256: hash.digest("hex") } })
}

function encodeFrame(frame: Frame): Buffer {
  const payload = frame.kind === "data" ? frame.bytes : Buffer.from(JSON.stringify(frame.fields))
  const prefix = Buffer.alloc(prefixBytes)
  prefix[0] = kinds.indexOf(frame.kind)
  prefix.writeUInt32BE(payload.length, 1)
  return Buffer.concat([prefix, payload])
}

/** The frames of a file, without the `end`, which is checked here. @throws storage.backup-unreadable */
export async function* readBackupFile(path: string): AsyncGenerator<Frame> {
  try {
    yield* decode(readContent(path))
  } catch (error) {
    // A consumer's own failure passes through here too, and is not the file's fault.
    if (isAppError(error)) throw error
    throw unreadable(path, (error as Error).message, error)
  }
}

async function* readContent(path: string): AsyncGenerator<Buffer> {
  const buffer = await readStart(path)
  if (!buffer.equals(firstLine)) throw unreadable(path, "it does not begin like a Signalbox backup of this format")
  const file = createReadStream(path, { start: firstLine.length })
  const content = createZstdDecompress()
  file.on("error", (error) => content.destroy(error))
  // The loop below throws the first error; one that comes after it has no meaning any more.
  content.on("error", () => {})
  try {
    for await (const chunk of file.pipe(content)) yield chunk as Buffer
  } finally {
    file.destroy()
    content.destroy()
  }
}

async function readStart(path: string): Promise<Buffer> {
  const handle = await open(path)
  try {
    return (await handle.read(Buffer.alloc(firstLine.length), 0, firstLine.length, 0)).buffer
  } finally {
    await handle.close()
  }
}

async function* decode(content: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  const hash = createHash("sha256")
  let rest: Buffer = Buffer.alloc(0)
  let ended = false
  for await (const chunk of content) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    for (;;) {
      const length = rest.length < prefixBytes ? Infinity : rest.readUInt32BE(1)
      if (length !== Infinity && (length > frameBytesMax || ended)) throw new Error("its structure is broken")
      if (rest.length < prefixBytes + length) break
      const bytes = rest.subarray(0, prefixBytes + length)
      rest = rest.subarray(prefixBytes + length)
      const frame = decodeFrame(bytes)
      if (frame.kind === "end") {
        if (frame.fields["sha256"] !== hash.digest("hex")) throw new Error("its content does not match its digest")
        ended = true
        continue
      }
      hash.update(bytes)
      yield frame
    }
  }
  if (!ended || rest.length > 0) throw new Error("it is cut short")
}

function decodeFrame(bytes: Buffer): Frame {
  const kind = kinds[bytes[0] ?? -1]
  const payload = bytes.subarray(prefixBytes)
  if (kind === undefined) throw new Error("it holds a frame of an unknown kind")
  if (kind === "data") return { kind, bytes: payload }
  return { kind, fields: JSON.parse(payload.toString("utf8")) as Record<string, unknown> }
}

export function unreadable(path: string, reason: string, cause?: unknown): AppError {
  return new AppError("storage.backup-unreadable", `${path} can't be restored: ${reason}`, { cause })
}
