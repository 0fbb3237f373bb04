import { AppError } from "@signalbox/kernel/app-error"
import type { Dispatcher } from "undici"
import { egressLimits } from "./egress-limits.ts"

/** Runs a call under its deadline; a caller's own abort comes back as its reason. @throws egress.timeout */
export async function withDeadline<T>(
  options: {
    readonly timeoutMilliseconds?: number
    readonly signal?: AbortSignal
    readonly what: string
  },
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const milliseconds = Math.min(
    options.timeoutMilliseconds ?? egressLimits.timeoutMilliseconds,
    egressLimits.timeoutMillisecondsMax,
  )
  const ended = new AbortController()
  const timer = setTimeout(
    () => ended.abort(new AppError("egress.timeout", `${options.what} took more than ${milliseconds} ms`)),
    milliseconds,
  )
  const signal = options.signal === undefined ? ended.signal : AbortSignal.any([options.signal, ended.signal])
  let stopWaiting = (): void => undefined
  // Resolving a name can't be aborted, so the wait for it is.
  const aborted = new Promise<never>((_resolve, reject) => {
    stopWaiting = () => reject(signal.reason as Error)
    signal.addEventListener("abort", stopWaiting, { once: true })
  })
  try {
    signal.throwIfAborted()
    return await Promise.race([run(signal), aborted])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener("abort", stopWaiting)
  }
}

/** The whole body, or none. @throws egress.response-too-large */
export async function readBounded(
  response: Pick<Dispatcher.ResponseData, "headers" | "body">,
  limit: { readonly bytesMax: number; readonly host: string },
): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > limit.bytesMax)
      throw new AppError(
        "egress.response-too-large",
        `the answer of ${limit.host} has more than ${limit.bytesMax} bytes`,
        {
          details: { bytesMax: limit.bytesMax },
        },
      )
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes)
}
