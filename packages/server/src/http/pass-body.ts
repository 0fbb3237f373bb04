import type { IncomingMessage } from "node:http"
import { PassThrough, Transform, type Readable } from "node:stream"
import { AppError } from "@signalbox/kernel/app-error"

/** Up to here a body is read whole and sent in one piece, which is far less work than a stream. */
const wholeBytesMax = 16 * 1024

export interface PassBody {
  /** Null where the request has none. */
  readonly content: Buffer | Readable | null
  /** Ends what feeds the body, where the reply came before its end. */
  release(): void
}

const nothing = (): void => undefined
const noBody: PassBody = { content: null, release: nothing }

/**
 * The body of a request, for the service: short ones whole, all others as they come. An upstream that breaks off ends the
 * stream and not the caller's connection, which still gets the reply.
 *
 * @throws request.body-too-large, request.invalid-input where the caller broke off
 */
export function openBody(request: IncomingMessage, bytesMax: number | undefined): PassBody | Promise<PassBody> {
  const length = request.headers["content-length"]
  if (request.headers["transfer-encoding"] === undefined && (length === undefined || length === "0")) return noBody
  if (length !== undefined && bytesMax !== undefined && Number(length) > bytesMax) throw tooLarge(bytesMax)
  if (length !== undefined && Number(length) <= wholeBytesMax)
    return readWhole(request, wholeBytesMax).then((content) => ({ content, release: nothing }))
  return streamOf(request, bytesMax)
}

/** @throws request.body-too-large, request.invalid-input where the caller broke off */
export async function readWhole(request: Readable, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > bytesMax) throw tooLarge(bytesMax)
      chunks.push(chunk)
    }
  } catch (error) {
    if (error instanceof AppError) throw error
    throw brokenOff(error)
  }
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes)
}

function streamOf(request: IncomingMessage, bytesMax: number | undefined): PassBody {
  const content = bytesMax === undefined ? new PassThrough() : bounded(bytesMax)
  const onError = (error: Error): void => void content.destroy(brokenOff(error))
  request.once("error", onError)
  request.once("aborted", () => content.destroy(brokenOff(undefined)))
  request.pipe(content)
  return {
    content,
    release() {
      request.unpipe(content)
      content.destroy()
      // What is still on its way is not kept: a caller that goes on for long loses its connection instead.
      if (!request.complete) request.resume()
    },
  }
}

function bounded(bytesMax: number): Transform {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      done(bytes > bytesMax ? tooLarge(bytesMax) : null, chunk)
    },
  })
}

const tooLarge = (bytesMax: number): AppError =>
  new AppError("request.body-too-large", `the body is over ${bytesMax} bytes`, { details: { bytesMax } })

const brokenOff = (cause: unknown): AppError =>
  new AppError("request.invalid-input", "the caller broke off before the end of the body", { cause })
