/**
 * The token of a call between two processes of an installation: a compact JWS (EdDSA) by the sender's signing key, for
 * one destination, one operation and one body, for seconds. What the call carries is in the body that it binds.
 */
import { createHash, createPublicKey } from "node:crypto"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { AppError } from "@signalbox/kernel/app-error"
import { compactVerify, decodeProtectedHeader } from "jose"
import { z } from "zod"
import type { SigningKey } from "../../storage/signing-key.ts"

export const callTokenLimits = {
  lifeSeconds: 30,
  lifeSecondsMax: 60,
  clockLeewaySeconds: 10,
  /** Tokens that one process remembers as used; beyond it calls are refused until some have expired. */
  liveMax: 200_000,
} as const

/** No other kind of token is signed with this header. */
const tokenType = "signalbox-call+jwt"

const claims = z.object({
  aud: z.string(),
  sub: z.string(),
  iat: z.number(),
  exp: z.number(),
  jti: z.string().min(8).max(64),
  digest: z.string(),
})

export type CallClaims = z.output<typeof claims>

/** SHA-256, in base64url, over the canonical JSON of a body. */
export function bodyDigest(body: unknown): string {
  return createHash("sha256").update(canonicalJson(body)).digest("base64url")
}

export function signCallToken(key: SigningKey, given: CallClaims): string {
  const header = encode({ alg: "EdDSA", typ: tokenType, kid: key.keyId })
  const signed = `${header}.${encode(given)}`
  return `${signed}.${key.sign(Buffer.from(signed)).toString("base64url")}`
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url")

/** The id of the key that a token says it is signed with. @throws routing.call-refused */
export function keyIdOfToken(token: string): string {
  try {
    const { kid, typ } = decodeProtectedHeader(token)
    if (typ === tokenType && kid !== undefined) return kid
  } catch {
    // What is no token is refused like one of another kind.
  }
  throw refused("it carries no token of a call between servers")
}

/**
 * The claims of a token, after its signature, its times and what it is for were checked.
 *
 * @throws routing.call-refused
 */
export async function verifyCallToken(
  token: string,
  publicKey: string,
  expected: { readonly destination: string; readonly operation: string; readonly body: unknown; readonly now: number },
): Promise<CallClaims> {
  const given = await readClaims(token, publicKey)
  const seconds = expected.now / 1000
  const { lifeSecondsMax, clockLeewaySeconds } = callTokenLimits
  const life = given.exp - given.iat
  if (!(life > 0 && life <= lifeSecondsMax)) throw refused(`its token's life is not within ${lifeSecondsMax} seconds`)
  if (given.iat > seconds + clockLeewaySeconds)
    throw refused(`its token is from the future by ${Math.ceil(given.iat - seconds)} seconds: set the servers' clocks`)
  if (given.exp < seconds - clockLeewaySeconds)
    throw refused(`its token expired ${Math.ceil(seconds - given.exp)} seconds ago: are the servers' clocks right?`)
  if (given.aud !== expected.destination)
    throw refused(`it is for the destination "${given.aud.slice(0, 64)}", and this is "${expected.destination}"`)
  if (given.sub !== expected.operation) throw refused(`its token is for another operation`)
  if (given.digest !== bodyDigest(expected.body)) throw refused("its token is for another body")
  return given
}

async function readClaims(token: string, publicKey: string): Promise<CallClaims> {
  try {
    const { payload } = await compactVerify(token, createPublicKey(publicKey), { algorithms: ["EdDSA"] })
    return claims.parse(JSON.parse(Buffer.from(payload).toString("utf8")))
  } catch (cause) {
    throw refused("its token's signature doesn't verify", cause)
  }
}

export const refused = (why: string, cause?: unknown): AppError =>
  new AppError("routing.call-refused", `the call of another server is refused: ${why}`, { cause })
