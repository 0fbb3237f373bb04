/**
 * Sends a call whose input is a value: the request is whole, and the reply is read whole up to its limit. Calls that are
 * passed through go another way, as streams.
 */
import { gatewayLimits } from "@signalbox/contracts/gateway/operations"
import { isAppError } from "@signalbox/kernel/app-error"
import type { Dispatcher } from "undici"
import { toGatewayError } from "../../router/external-fault.ts"
import {
  shownReplyHeaders,
  type ExternalReply,
  type ExternalRequest,
  type ExternalService,
  type UpstreamTarget,
} from "../../router/external-ports.ts"
import { jsonType } from "../../router/external-request.ts"
import { refuseUnstorable } from "../../router/storable-text.ts"

type Sender = Pick<ExternalService, "name" | "upstream" | "timeouts" | "retries" | "credentials">
type Terms = Parameters<ExternalService["send"]>[1]

const userAgent = "signalbox"

/** @throws as `ExternalService.send` says */
export async function sendCall(service: Sender, request: ExternalRequest, terms: Terms): Promise<ExternalReply> {
  const headers = await headersOf(service, request)
  const { total } = service.timeouts
  const milliseconds = Math.min(total > 0 ? total : Infinity, gatewayLimits.callMillisecondsMax)
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(), milliseconds)
  const signal = AbortSignal.any([terms.signal, timeout.signal])
  const tried: UpstreamTarget[] = []
  const triesMax = terms.mayRepeat && request.body === null ? service.retries : 0
  try {
    for (;;) {
      try {
        const reply = await trySend(service, { ...request, headers }, { ...terms, total: signal, tried })
        if (!failedStatuses.has(reply.status) || tried.length > triesMax) return reply
      } catch (error) {
        terms.signal.throwIfAborted()
        const isFinal = isAppError(error) && !error.code.startsWith("egress.")
        if (isFinal || timeout.signal.aborted || tried.length > triesMax)
          throw toGatewayError(error, service.name, timeout.signal.aborted)
      }
    }
  } finally {
    clearTimeout(timer)
  }
}

async function headersOf(service: Sender, { headers }: ExternalRequest): Promise<ExternalRequest["headers"]> {
  const shown = await service.credentials()
  const own = shown ? headers.filter(([name]) => name !== shown[0].toLowerCase()) : headers
  const has = (wanted: string): boolean => own.some(([name]) => name === wanted)
  return [
    ...own,
    ...(has("accept") ? [] : [["accept", "application/json, */*;q=0.5"] as const]),
    ...(has("user-agent") ? [] : [["user-agent", userAgent] as const]),
    ...(shown ? [shown] : []),
  ]
}

/** Notes in `tried` where it went. */
async function trySend(
  service: Sender,
  { method, path, headers, body }: ExternalRequest,
  {
    total,
    signal: callerSignal,
    mayRepeat,
    tried,
  }: Terms & { readonly total: AbortSignal; readonly tried: UpstreamTarget[] },
): Promise<ExternalReply> {
  const { upstream, timeouts } = service
  const attempt = upstream.begin(tried)
  const { target } = attempt
  tried.push(target)
  try {
    const response = await target.dispatcher.request({
      ...{ origin: target.origin, path: target.basePath + path, method, body, signal: total },
      headers: headers.flat(),
      headersTimeout: timeouts.headers,
      bodyTimeout: timeouts.idle,
    })
    const reply = await read(response, { mayRepeat })
    attempt.judge(failedStatuses.has(reply.status) ? "failed" : "good")
    return reply
  } catch (error) {
    // A caller that is gone says nothing of the service.
    if (!callerSignal.aborted) attempt.judge("failed")
    throw error
  } finally {
    attempt.end()
  }
}

/** Statuses by which what stands before a service says that the service is not there. */
const failedStatuses: ReadonlySet<number> = new Set([502, 503, 504])

/** A change has happened once its reply begins: then a body that can't be had is left out. */
async function read(
  { statusCode: status, headers: given, body }: Dispatcher.ResponseData,
  { mayRepeat }: { readonly mayRepeat: boolean },
): Promise<ExternalReply> {
  const headers = Object.fromEntries(
    shownReplyHeaders.flatMap((name) => {
      const value = given[name]
      return value === undefined ? [] : [[name, Array.isArray(value) ? value.join(", ") : value]]
    }),
  )
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > gatewayLimits.replyBytesMax) return { status, headers, bodyOmitted: "too-large" }
      chunks.push(chunk)
    }
  } catch (error) {
    if (mayRepeat) throw error
    return { status, headers, bodyOmitted: "broken-off" }
  }
  return { status, headers, ...bodyOf(Buffer.concat(chunks, bytes), headers["content-type"] ?? "") }
}

function bodyOf(bytes: Buffer, type: string): Pick<ExternalReply, "body" | "bodyBase64"> {
  if (bytes.length === 0) return {}
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
    const body = jsonType.test(type) ? parse(text) : text
    refuseUnstorable(body)
    return { body }
  } catch {
    return { bodyBase64: bytes.toString("base64") }
  }
}

/** What calls itself JSON and is none is shown as the text it is. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}
