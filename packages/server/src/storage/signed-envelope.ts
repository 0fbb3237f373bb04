/** Signed statements in the form of DSSE 1.0 (Dead Simple Signing Envelope): the type of what is said is signed with it. */
import { createPublicKey, verify } from "node:crypto"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { keyIdOf, type SigningKey } from "./signing-key.ts"

export interface SignedEnvelope {
  /** A media type: what kind of statement the payload is. */
  readonly payloadType: string
  /** Base64. */
  readonly payload: string
  readonly signatures: Array<{ keyid: string; sig: string }>
}

/** Signs the canonical JSON of a statement. */
export function signStatement(key: SigningKey, payloadType: string, statement: unknown): SignedEnvelope {
  const payload = Buffer.from(canonicalJson(statement))
  const sig = key.sign(preAuthenticationEncoding(payloadType, payload)).toString("base64")
  return { payloadType, payload: payload.toString("base64"), signatures: [{ keyid: key.keyId, sig }] }
}

/**
 * The statement of an envelope that one of these keys (PEM, SPKI) signed; undefined where none did, or where it is a
 * statement of another type. A key counts by what it is, not by the id that the envelope gives it.
 */
export function readStatement(
  envelope: SignedEnvelope,
  payloadType: string,
  publicKeys: readonly string[],
): { readonly statement: unknown; readonly keyId: string } | undefined {
  if (envelope.payloadType !== payloadType) return undefined
  const payload = Buffer.from(envelope.payload, "base64")
  const signed = preAuthenticationEncoding(payloadType, payload)
  for (const pem of publicKeys) {
    const key = createPublicKey(pem)
    const fits = envelope.signatures.some(({ sig }) => verify(null, signed, key, Buffer.from(sig, "base64")))
    if (fits) return { statement: JSON.parse(payload.toString("utf8")) as unknown, keyId: keyIdOf(key) }
  }
  return undefined
}

/** What is signed: nobody can take a payload for one of another type. */
function preAuthenticationEncoding(payloadType: string, payload: Buffer): Buffer {
  const type = Buffer.from(payloadType)
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload])
}
