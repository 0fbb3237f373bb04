import { isAppError } from "@signalbox/kernel/app-error"
import type { Egress } from "../../egress/egress.ts"
import type { DeliveryRow } from "./delivery-store.ts"
import { slackPayload, teamsPayload } from "./formats.ts"
import type { TryResult } from "./model.ts"
import { deliveryLimits } from "./notification-limits.ts"

export interface HookTarget {
  readonly url: string
  /** Standard Webhooks: `whsec_` and base64. */
  readonly signingKey?: string
  readonly now: number
  readonly signal: AbortSignal
}

/** The event as a CloudEvent, signed by Standard Webhooks; its `webhook-id` is the same for every try. */
export async function sendWebhook(
  egress: Pick<Egress, "request">,
  delivery: DeliveryRow,
  target: HookTarget,
): Promise<TryResult> {
  const body = JSON.stringify(delivery.event)
  const signed = await sign(delivery.messageId, body, target)
  if (typeof signed === "string") return { ok: false, answer: signed, permanent: true }
  return await post(egress, body, { ...target, headers: { "content-type": "application/cloudevents+json", ...signed } })
}

export async function sendChat(
  egress: Pick<Egress, "request">,
  delivery: DeliveryRow,
  target: HookTarget,
): Promise<TryResult> {
  const { message, suppressed } = delivery
  const payload = delivery.via === "slack" ? slackPayload(message, suppressed) : teamsPayload(message, suppressed)
  return await post(egress, JSON.stringify(payload), { ...target, headers: { "content-type": "application/json" } })
}

const keyBytesMin = 24
const keyBytesMax = 64

/** Why a text is no key to sign with; undefined where it is one. */
export function signingKeyFault(signingKey: string): string | undefined {
  const text = signingKey.replace(/^whsec_/, "")
  const key = Buffer.from(text, "base64")
  const isKey = key.length >= keyBytesMin && key.length <= keyBytesMax && key.toString("base64") === padded(text)
  return isKey ? undefined : `is no key: whsec_ and ${keyBytesMin} to ${keyBytesMax} bytes in base64`
}

/** Some tools leave the padding out. */
const padded = (text: string): string => text.padEnd(Math.ceil(text.length / 4) * 4, "=")

/** The headers of the signature; a text says why there can be none. */
async function sign(
  messageId: string,
  body: string,
  { signingKey = "", now }: HookTarget,
): Promise<Record<string, string> | string> {
  const fault = signingKeyFault(signingKey)
  if (fault !== undefined) return `the signing secret ${fault}`
  const { Webhook } = await import("standardwebhooks")
  const at = new Date(now)
  return {
    "webhook-id": messageId,
    "webhook-timestamp": String(Math.floor(now / 1000)),
    "webhook-signature": new Webhook(signingKey).sign(messageId, at, body),
  }
}

/** What no further try changes: the receiver is gone for good, or the address is none that may be called. */
const permanentCodes = new Set(["egress.invalid-url", "egress.refused-address", "egress.invalid-request"])
const goneStatus = 410

async function post(
  egress: Pick<Egress, "request">,
  body: string,
  target: HookTarget & { readonly headers: Readonly<Record<string, string>> },
): Promise<TryResult> {
  try {
    const { status, headers } = await egress.request({
      method: "POST",
      isRepeatable: true,
      url: target.url,
      headers: { ...target.headers, "user-agent": "signalbox" },
      body,
      timeoutMilliseconds: deliveryLimits.httpTimeoutMilliseconds,
      responseBytesMax: deliveryLimits.responseBytesMax,
      signal: target.signal,
    })
    if (status >= 200 && status < 300) return { ok: true, answer: `HTTP ${status}` }
    const wait = retryAfterMilliseconds(headers["retry-after"], target.now)
    return {
      ok: false,
      answer: status >= 300 && status < 400 ? `HTTP ${status}; redirects are not followed` : `HTTP ${status}`,
      permanent: status === goneStatus,
      ...(wait === undefined ? {} : { retryAfterMilliseconds: wait }),
    }
  } catch (error) {
    if (target.signal.aborted || !isAppError(error)) throw error
    return { ok: false, answer: error.message, permanent: permanentCodes.has(error.code) }
  }
}

function retryAfterMilliseconds(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined
  const milliseconds = /^\d{1,6}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now
  return milliseconds > 0 ? milliseconds : undefined
}
