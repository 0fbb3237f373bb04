import { createHash, createHmac, timingSafeEqual } from "node:crypto"
import type { InputOf } from "@signalbox/contracts/operation"
import type { hooksPut } from "@signalbox/contracts/triggers/hooks"
import { triggerLimits } from "@signalbox/contracts/triggers/trigger-limits"

/** Whether a message comes from whom its hook was made for. Pure: the same bytes give the same answer. */

export type HookSpec = Omit<InputOf<typeof hooksPut>, "name" | "description" | "secret">

export interface HookMessage {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Milliseconds. */
  readonly now: number
}

/** `id`: what tells one message from another; undefined where the sender gives none. */
export type Verdict = { readonly isGenuine: true; readonly id: string | undefined } | { readonly isGenuine: false }

const forged: Verdict = { isGenuine: false }

/** @param secrets those that count now, at least one unless the address alone is the secret */
export function verifyMessage(spec: HookSpec, secrets: readonly string[], message: HookMessage): Verdict {
  const { headers } = message
  const id = spec.idHeader === undefined ? undefined : headers[spec.idHeader]
  switch (spec.verify) {
    case "standard":
      return verifyStandard(secrets, message)
    case "github": {
      const given = headers["x-hub-signature-256"]
      const hmac = { prefix: "sha256=", algorithm: "sha256", encoding: "hex" } as const
      return isSigned(given, secrets, { ...hmac, body: message.body })
        ? { isGenuine: true, id: headers["x-github-delivery"] }
        : forged
    }
    case "hmac": {
      const { signature } = spec
      if (!signature) return forged
      const isGenuine = isSigned(headers[signature.header], secrets, { ...signature, body: message.body })
      return isGenuine ? { isGenuine, id } : forged
    }
    case "bearer": {
      const given = /^Bearer (\S+)$/i.exec(headers["authorization"] ?? "")?.[1] ?? ""
      return secrets.some((secret) => isSame(given, secret)) ? { isGenuine: true, id } : forged
    }
    case "path":
      return { isGenuine: true, id }
  }
}

/** https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
function verifyStandard(secrets: readonly string[], { headers, body, now }: HookMessage): Verdict {
  const id = headers["webhook-id"] ?? ""
  const timestamp = headers["webhook-timestamp"] ?? ""
  const isTimely =
    /^\d{1,12}$/.test(timestamp) && Math.abs(now / 1000 - Number(timestamp)) <= triggerLimits.hookToleranceSeconds
  if (id === "" || !isTimely) return forged
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body])
  const given = (headers["webhook-signature"] ?? "").split(" ").flatMap((each) => {
    const [version, text = ""] = each.split(",", 2)
    return version === "v1" ? [text] : []
  })
  const isGenuine = secrets.some((secret) => {
    const wanted = createHmac("sha256", standardKey(secret)).update(signed).digest("base64")
    return given.some((text) => isSame(text, wanted))
  })
  return isGenuine ? { isGenuine, id } : forged
}

const standardPrefix = "whsec_"
const standardKey = (secret: string): Buffer => Buffer.from(secret.slice(standardPrefix.length), "base64")

/** Why a text can't be the secret of a hook of this kind. */
export function secretFault(verify: HookSpec["verify"], secret: string): string | undefined {
  if (verify === "path") return "the address alone is the secret of this kind"
  if (verify !== "standard") return undefined
  const bytes = secret.startsWith(standardPrefix) ? standardKey(secret) : Buffer.alloc(0)
  const isKey = bytes.length >= 24 && bytes.length <= 64 && secret === `${standardPrefix}${bytes.toString("base64")}`
  return isKey ? undefined : "write whsec_ and 24 to 64 bytes in base64"
}

export const toStandardSecret = (bytes: Uint8Array): string =>
  `${standardPrefix}${Buffer.from(bytes).toString("base64")}`

interface Hmac {
  readonly prefix: string
  readonly algorithm: "sha256" | "sha512"
  readonly encoding: "hex" | "base64"
  readonly body: Buffer
}

function isSigned(given: string | undefined, secrets: readonly string[], hmac: Hmac): boolean {
  if (given?.startsWith(hmac.prefix) !== true) return false
  const text = given.slice(hmac.prefix.length)
  const shown = hmac.encoding === "hex" ? text.toLowerCase() : text
  return secrets.some((secret) =>
    isSame(shown, createHmac(hmac.algorithm, secret).update(hmac.body).digest(hmac.encoding)),
  )
}

/** In a time that tells nothing, of the length either. */
function isSame(given: string, wanted: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest()
  return timingSafeEqual(digest(given), digest(wanted))
}
