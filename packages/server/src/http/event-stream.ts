import { once } from "node:events"
import type { ServerResponse } from "node:http"
import { problemMediaType } from "@signalbox/contracts/problem"
import type { FastifyBaseLogger } from "fastify"
import { streamOpen, type StreamMessage } from "../router/handler.ts"
import { toAppError } from "../router/router.ts"
import { toProblem } from "./problem.ts"

const keepAliveMilliseconds = 15_000

/**
 * Writes messages as server-sent events until they end or the client goes. A slow client slows the source down; an
 * error before the source's first word is an ordinary problem answer, later one an `error` event.
 */
export async function writeEventStream(
  response: ServerResponse,
  messages: AsyncIterable<StreamMessage<unknown> | typeof streamOpen>,
  options: { requestId: string; logger: FastifyBaseLogger },
): Promise<void> {
  const source = messages[Symbol.asyncIterator]()
  const closed = once(response, "close")
  const keepAlive = setInterval(() => response.headersSent && response.write(": keep-alive\n\n"), keepAliveMilliseconds)
  try {
    for (let next = await source.next(); !next.done; next = await source.next()) {
      writeHead(response, options.requestId)
      if (next.value === streamOpen) continue
      if (!response.write(format(next.value))) await Promise.race([once(response, "drain"), closed])
      if (response.destroyed) break
    }
    writeHead(response, options.requestId)
    response.end()
  } catch (error) {
    fail(response, error, options)
  } finally {
    clearInterval(keepAlive)
    await source.return?.(undefined)
  }
}

function writeHead(response: ServerResponse, requestId: string): void {
  if (response.headersSent || response.destroyed) return
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
    "x-request-id": requestId,
  })
  response.flushHeaders()
}

function format(message: StreamMessage<unknown>): string {
  return `${message.id === undefined ? "" : `id: ${message.id}\n`}data: ${JSON.stringify(message.data)}\n\n`
}

function fail(
  response: ServerResponse,
  error: unknown,
  options: { requestId: string; logger: FastifyBaseLogger },
): void {
  if (response.destroyed) return
  const refusal = toAppError(error)
  const problem = toProblem(refusal, options.requestId)
  if (problem.status >= 500)
    options.logger.error({ err: refusal.cause ?? refusal, requestId: options.requestId }, "a stream failed")
  if (response.headersSent) {
    response.end(`event: error\ndata: ${JSON.stringify(problem)}\n\n`)
    return
  }
  response.writeHead(problem.status, { "content-type": problemMediaType, "x-request-id": options.requestId })
  response.end(JSON.stringify(problem))
}
