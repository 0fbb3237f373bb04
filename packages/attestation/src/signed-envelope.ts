/** Signed statements in the form of DSSE 1.0 (Dead Simple Signing Envelope): the type of what is said is signed with it. */
import { createHash, verify, type KeyObject } from "node:crypto"
import type { SignedEnvelope } from "@signalbox/contracts/approvals/signed-votes"
import { canonicalJson } from "@signalbox/kernel/canonical-json"

export interface Signer {
  /** SHA-256 of the public key (SPKI, DER), in hex. */
  readonly keyId: string
  sign(bytes: Uint8Array): Buffer
}

/** SHA-256 of the public key (SPKI, DER), in hex. */
export function keyIdOf(publicKey: KeyObject): string {
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("hex")
}

/** Signs the canonical JSON of a statement. */
export function signStatement(signer: Signer, payloadType: string, statement: unknown): SignedEnvelope {
  const payload = Buffer.from(canonicalJson(statement))
  const sig = signer.sign(preAuthenticationEncoding(payloadType, payload)).toString("base64")
  return { payloadType, payload: payload.toString("base64"), signatures: [{ keyid: signer.keyId, sig }] }
}

/**
 * The statement of an envelope that one of these keys signed; undefined where none did, where it is a statement of
 * another type, or where the envelope is written in another way than the one: an id that is not its key's, base64 with
 * stray bits, JSON that is not canonical.
 */
export function readStatement(
  envelope: SignedEnvelope,
  payloadType: string,
  keys: readonly KeyObject[],
): { readonly statement: unknown; readonly keyId: string } | undefined {
  if (envelope.payloadType !== payloadType) return undefined
  const payload = readBase64(envelope.payload)
  if (!payload) return undefined
  const signed = preAuthenticationEncoding(payloadType, payload)
  for (const key of keys) {
    const keyId = keyIdOf(key)
    const fits = envelope.signatures.some(({ keyid, sig }) => {
      const bytes = readBase64(sig)
      return keyid === keyId && bytes !== undefined && verify(null, signed, key, bytes)
    })
    const text = payload.toString("utf8")
    const statement = fits ? readJson(text) : undefined
    if (statement !== undefined && canonicalJson(statement) === text) return { statement, keyId }
  }
  return undefined
}

function readBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64")
  return bytes.toString("base64") === text ? bytes : undefined
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** What is signed: nobody can take a payload for one of another type. */
function preAuthenticationEncoding(payloadType: string, payload: Buffer): Buffer {
  const type = Buffer.from(payloadType)
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload])
}
