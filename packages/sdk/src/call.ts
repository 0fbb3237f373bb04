import type { OperationRoute } from "@signalbox/contracts/operation"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { randomUUID } from "node:crypto"
import { type Connection, header, send } from "./connection.ts"
import { replyError } from "./problem.ts"
import { type Input, type RequestTarget, requestTarget } from "./request-target.ts"
import { type Failure, pause, retryDelay } from "./retry.ts"
import { readText, transportFailure } from "./transport.ts"

export interface CallOptions {
  /** Names this change, so that a repeat of it is carried out once; random unless given. */
  readonly idempotencyKey?: string
  readonly signal?: AbortSignal
}

interface Answer {
  readonly status: number
  readonly body: string
  readonly location: string | undefined
  readonly started: string | undefined
  readonly retryAfterSeconds: number | undefined
}

/** Calls a reading or a changing operation, again where that can help. */
export async function callOperation(
  connection: Connection,
  operation: OperationRoute,
  call: CallOptions & { readonly input: Input },
): Promise<unknown> {
  assert(operation.effect === "read" || operation.effect === "change", `${operation.name} is not called but watched`)
  const target = requestTarget(operation, call.input)
  const changes = operation.effect === "change"
  const headers = changes ? { "idempotency-key": call.idempotencyKey ?? randomUUID() } : {}
  let lostBefore = false
  for (let attempt = 1; ; attempt++) {
    call.signal?.throwIfAborted()
    const answer = await attemptCall(connection, target, { headers, signal: call.signal })
    if (!("error" in answer)) return changes ? readReply(answer, connection.url) : readValue(answer, connection.url)
    lostBefore ||= answer.lost === true
    const delay = retryDelay(answer, attempt, { lostBefore, random: Math.random() })
    if (delay === undefined) throw answer.error
    await pause(delay, call.signal)
  }
}

async function attemptCall(
  connection: Connection,
  target: RequestTarget,
  options: { headers: Record<string, string>; signal: AbortSignal | undefined },
): Promise<Answer | Failure> {
  let answer: Answer
  try {
    const response = await send(connection, target, { ...options, accept: "application/json" })
    const retryAfter = Number(header(response, "retry-after"))
    answer = {
      status: response.statusCode ?? 0,
      body: await readText(response),
      location: header(response, "location"),
      started: header(response, "signalbox-started"),
      retryAfterSeconds: Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter : undefined,
    }
  } catch (error) {
    options.signal?.throwIfAborted()
    if (isAppError(error)) throw error
    return transportFailure(error, connection.url)
  }
  if (answer.status >= 200 && answer.status < 300) return answer
  const error = replyError(answer.status, answer.body, connection.url.origin)
  return answer.retryAfterSeconds === undefined ? { error } : { error, retryAfterSeconds: answer.retryAfterSeconds }
}

function readValue(answer: Answer, url: URL): unknown {
  if (answer.body === "") return {}
  try {
    return JSON.parse(answer.body)
  } catch (cause) {
    const message = `${url.origin} answered with something that is not JSON; is it a Signalbox server?`
    throw new AppError("request.internal", message, { cause })
  }
}

function readReply(answer: Answer, url: URL): unknown {
  const value = readValue(answer, url)
  if (answer.status !== 202)
    return { status: "done", value, ...(answer.started ? { started: answer.started.split(/,\s*/) } : {}) }
  const body = value as { requestUrl?: unknown }
  return { status: "held", requestUrl: typeof body.requestUrl === "string" ? body.requestUrl : (answer.location ?? "") }
}
