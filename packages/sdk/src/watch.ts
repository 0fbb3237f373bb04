import type { AnyOperation, OperationRoute } from "@signalbox/contracts/operation"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { type Connection, header, send } from "./connection.ts"
import { problemError, replyError } from "./problem.ts"
import { type Input, type RequestTarget, requestTarget } from "./request-target.ts"
import { backoffDelay, type Failure, pause, retryLimits } from "./retry.ts"
import { readServerSentEvents } from "./server-sent-events.ts"
import { readText, transportFailure } from "./transport.ts"

export interface WatchOptions<T> {
  readonly signal?: AbortSignal
  /** Resume after this message. */
  readonly lastEventId?: string
  /** True for a message after which the server may end the stream for good; else its end is a lost connection. */
  readonly isLast?: (data: T) => boolean
  /** Told of each connection that was lost and is sought again. */
  readonly onLost?: (error: AppError) => void
}

export interface StreamItem<T> {
  readonly id?: string
  readonly data: T
}

/** Follows a stream over as many connections as it takes. */
export async function* watchOperation(
  connection: Connection,
  operation: OperationRoute & Partial<Pick<AnyOperation, "input">>,
  watch: WatchOptions<unknown> & { readonly input: Input },
): AsyncGenerator<StreamItem<unknown>> {
  assert(operation.effect === "stream", `${operation.name} is no stream`)
  const target = requestTarget(operation, watch.input)
  // A stream without a cursor begins with the whole state at each connection.
  const resumes = operation.input !== undefined && "cursor" in operation.input.shape
  const position: Position = { resumes, lastEventId: watch.lastEventId, fruitless: 0 }
  while (true) {
    watch.signal?.throwIfAborted()
    const failure = yield* readStream(connection, target, { watch, position })
    if (failure === undefined) return
    position.fruitless += 1
    if (!worthAnother(failure, position.fruitless)) throw failure.error
    watch.onLost?.(failure.error)
    await pause(
      (failure.retryAfterSeconds ?? 0) * 1000 || backoffDelay(position.fruitless, Math.random()),
      watch.signal,
    )
  }
}

interface Position {
  readonly resumes: boolean
  lastEventId: string | undefined
  /** Connections since the last message that came. */
  fruitless: number
}

/** A server that was never there is told at once; one that went away may be restarting. */
function worthAnother(failure: Failure, fruitless: number): boolean {
  if (fruitless >= retryLimits.reconnectsMax) return false
  if (failure.lost === true) return true
  return failure.error.entry.retryable && !(fruitless === 1 && failure.error.code === "cli.no-server")
}

/** One connection's messages; undefined where the stream is over for good, else what ended it. */
async function* readStream(
  connection: Connection,
  target: RequestTarget,
  options: { watch: WatchOptions<unknown>; position: Position },
): AsyncGenerator<StreamItem<unknown>, Failure | undefined> {
  const { watch, position } = options
  const { url } = connection
  let ended = false
  try {
    const headers: Record<string, string> =
      position.resumes && position.lastEventId !== undefined ? { "last-event-id": position.lastEventId } : {}
    const response = await send(connection, target, { headers, accept: "text/event-stream", signal: watch.signal })
    if (response.statusCode !== 200) {
      const error = replyError(response.statusCode ?? 0, await readText(response), url.origin)
      const seconds = Number(header(response, "retry-after"))
      return seconds > 0 ? { error, retryAfterSeconds: Math.min(seconds, retryLimits.retryAfterSecondsMax) } : { error }
    }
    for await (const event of readServerSentEvents(response)) {
      const data = parse(event.data, url)
      if (event.event === "error") return { error: problemError({ status: 500, ...(data as object) }) }
      if (event.event === "end") return undefined
      if (event.event !== "message") continue
      position.lastEventId = event.id ?? position.lastEventId
      position.fruitless = 0
      ended = watch.isLast?.(data) === true
      yield event.id === undefined ? { data } : { id: event.id, data }
    }
    if (ended) return undefined
  } catch (error) {
    watch.signal?.throwIfAborted()
    if (isAppError(error)) throw error
    return transportFailure(error, url)
  }
  return { error: new AppError("cli.no-server", `${url.origin} ended the stream`), lost: true }
}

function parse(text: string, url: URL): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError("request.internal", `${url.origin} sent a message that is not JSON`, { cause })
  }
}
