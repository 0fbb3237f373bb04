/** Keys that members vote with: Ed25519, the public half as one line of text, the private half in PEM (PKCS#8). */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto"
import { keyIdOf, type Signer } from "./signed-envelope.ts"

export interface VoteKey extends Signer {
  /** `ed25519:` and base64. */
  readonly publicKey: string
}

const prefix = "ed25519:"
/** What stands before the 32 bytes of a public key in SPKI (RFC 8410). */
const spkiHead = Buffer.from("302a300506032b6570032100", "hex")

/** A new private key, as PEM. */
export function newVoteKeyPem(): string {
  return generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString()
}

/** The key of a PEM text; undefined where that is no private key of Ed25519. */
export function findVoteKey(pem: string): VoteKey | undefined {
  const privateKey = parsePem(pem)
  if (privateKey?.asymmetricKeyType !== "ed25519") return undefined
  const publicKey = createPublicKey(privateKey)
  return {
    keyId: keyIdOf(publicKey),
    publicKey: formatPublicKey(publicKey),
    sign: (bytes) => sign(null, bytes, privateKey),
  }
}

function parsePem(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem)
  } catch {
    return undefined
  }
}

/** One line for a public key of Ed25519. */
export function formatPublicKey(key: KeyObject): string {
  return `${prefix}${key.export({ type: "spki", format: "der" }).subarray(spkiHead.length).toString("base64")}`
}

/** The key that such a line names, or a public key of Ed25519 in PEM (SPKI); undefined where the text is neither. */
export function findPublicKey(text: string): KeyObject | undefined {
  if (text.startsWith("-----BEGIN PUBLIC KEY-----")) return keyOf(text)
  const bytes = Buffer.from(text.slice(prefix.length), "base64")
  if (!text.startsWith(prefix) || bytes.length !== 32 || bytes.toString("base64") !== text.slice(prefix.length))
    return undefined
  return keyOf({ key: Buffer.concat([spkiHead, bytes]), format: "der", type: "spki" })
}

function keyOf(encoded: Parameters<typeof createPublicKey>[0]): KeyObject | undefined {
  try {
    const key = createPublicKey(encoded)
    return key.asymmetricKeyType === "ed25519" ? key : undefined
  } catch {
    return undefined
  }
}
