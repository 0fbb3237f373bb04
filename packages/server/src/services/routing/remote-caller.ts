import { setTimeout as delay } from "node:timers/promises"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { problem } from "@signalbox/contracts/problem"
import { AppError, hasCode, isAppError, isErrorCode } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Egress, EgressResponse } from "../../egress/egress.ts"
import {
  forwardedCallPath,
  type ForwardedCall,
  type ForwardedReply,
  type RemoteCaller,
} from "../../router/forwarded-call.ts"
import type { Destination } from "../../router/routing-map.ts"
import type { SigningKey } from "../../storage/signing-key.ts"
import { callAnswer, toCallBody, type CallBody } from "./call-body.ts"
import { bodyDigest, callTokenLimits, signCallToken } from "./call-token.ts"

/**
 * Sends calls to other processes. Nothing that comes back is believed before it was looked at: the answer names the
 * call, and its value fits the operation's schema. Reads are sent again where nobody answers; a change is not, since
 * its caller may: under its key it is carried out once.
 */
export interface RemoteCallerOptions {
  readonly egress: Pick<Egress, "request">
  readonly clock: Clock
  readonly random: Random
  readonly signingKey: SigningKey
  /** Beside what the call itself asks to wait; 30 s unless told. */
  readonly callMilliseconds?: number
}

export const remoteCallLimits = {
  callMilliseconds: 30_000,
  answerBytesMax: 32 * 1024 * 1024,
  /** Pauses before a call is sent again: longer together than it takes every server to have a new map. */
  retryPausesMilliseconds: [100, 300, 700],
} as const

export function createRemoteCaller(options: RemoteCallerOptions): RemoteCaller {
  return {
    async call(to, operation, call) {
      const body = toCallBody(call)
      for (const pause of [...remoteCallLimits.retryPausesMilliseconds, undefined]) {
        try {
          return await send(options, { to, operation, call, body })
        } catch (error) {
          const isGone = hasCode(error, "routing.destination-unreachable") && operation.effect === "read"
          // It has not begun there: that server hasn't seen yet what this one has.
          const isEarly = hasCode(error, "routing.not-served-here")
          if (pause === undefined || !(isGone || isEarly) || call.signal.aborted) throw error
          await delay(pause, undefined, { signal: call.signal })
        }
      }
      throw new Error("the last try returns or throws")
    },
  }
}

interface Sending {
  readonly to: Destination
  readonly operation: AnyOperation
  readonly call: ForwardedCall
  readonly body: CallBody
}

async function send(options: RemoteCallerOptions, sending: Sending): Promise<ForwardedReply> {
  const { to, operation, call, body } = sending
  const { seconds } = (call.input ?? {}) as { readonly seconds?: unknown }
  const waits = typeof seconds === "number" ? seconds * 1000 : 0
  // As it will be read: members that are undefined are not sent, and not signed.
  const text = JSON.stringify(body)
  try {
    const response = await options.egress.request({
      method: "POST",
      url: new URL(`${forwardedCallPath}/${operation.name}`, to.url).href,
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${tokenFor(options, sending)}`,
      },
      body: text,
      timeoutMilliseconds: (options.callMilliseconds ?? remoteCallLimits.callMilliseconds) + waits,
      responseBytesMax: remoteCallLimits.answerBytesMax,
      signal: call.signal,
      isRepeatable: operation.effect === "read",
      ...(to.ca === undefined ? {} : { ca: to.ca }),
    })
    return readAnswer(sending, response)
  } catch (error) {
    call.signal.throwIfAborted()
    throw toRoutingError(error, to)
  }
}

function tokenFor({ clock, random, signingKey }: RemoteCallerOptions, { to, operation, body }: Sending): string {
  const issued = Math.floor(clock.now() / 1000)
  return signCallToken(signingKey, {
    aud: to.name,
    sub: operation.name,
    iat: issued,
    exp: issued + callTokenLimits.lifeSeconds,
    jti: Buffer.from(random.bytes(16)).toString("base64url"),
    digest: bodyDigest(body),
  })
}

function readAnswer({ to, operation, call }: Sending, response: EgressResponse): ForwardedReply {
  const said = readJson(response.body)
  if (response.status !== 200) throw readRefusal(to, response.status, said)
  const answer = callAnswer.safeParse(said)
  if (!answer.success) throw misbehaved(to, `its answer to ${operation.name} is none`)
  const { value, repeated, started } = answer.data
  if (answer.data.operation !== operation.name || answer.data.requestId !== call.requestId)
    throw misbehaved(to, `it answered another call than ${operation.name}`)
  if (!operation.output.safeParse(value).success && !repeated)
    throw misbehaved(to, `what it answered to ${operation.name} doesn't fit the operation`)
  return { value, repeated, ...(started ? { started } : {}) }
}

function readJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8")) as unknown
  } catch {
    return undefined
  }
}

function readRefusal(to: Destination, status: number, said: unknown): AppError {
  const refusal = problem.safeParse(said)
  if (!refusal.success || !isErrorCode(refusal.data.code))
    return misbehaved(to, `it answered with the status ${status}`)
  const { code, detail, issues = [], details = {} } = refusal.data
  if (code === "routing.call-refused" || code === "routing.unknown-path")
    return new AppError(
      "routing.destination-refused",
      `the destination "${to.name}" takes no calls of this server: ${detail}`,
    )
  return new AppError(code as AppError["code"], detail, {
    details,
    issues: issues.map(({ path, message }) => ({ path, message })),
  })
}

const misbehaved = (to: Destination, why: string): AppError =>
  new AppError("routing.destination-misbehaved", `the destination "${to.name}" can't be understood: ${why}`)

const unreachableCodes = new Set(["egress.unreachable", "egress.timeout", "egress.refused-address"])

function toRoutingError(error: unknown, { name }: Destination): unknown {
  if (!isAppError(error)) return error
  if (unreachableCodes.has(error.code))
    return new AppError(
      "routing.destination-unreachable",
      `the destination "${name}" does not answer: ${error.message}`,
      {
        cause: error,
        details: { destination: name },
      },
    )
  if (error.code === "egress.response-too-large") return misbehaved({ name, url: "" }, error.message)
  return error
}
