import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  randomBytes,
  type KeyObject,
} from "node:crypto"
import { AppError } from "@signalbox/kernel/app-error"

/**
 * Envelopes (D24): each value is sealed by AES-256-GCM under a key of its own, and that key is wrapped under a generation
 * of the installation's keys (`ringKey`). Both are bound to account, name and version, so that no row can be put in the
 * place of another. The generations are wrapped under the master key, which wraps nothing else.
 */
export interface Envelope {
  readonly wrappedKey: Buffer
  readonly sealed: Buffer
}

export interface SecretPlace {
  readonly account: string
  readonly name: string
  readonly version: number
}

const cipher = "aes-256-gcm"
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16

export function seal(ringKey: Uint8Array, place: SecretPlace, value: string): Envelope {
  const key = randomBytes(keyBytes)
  return {
    wrappedKey: encrypt(wrappingKey(ringKey), associated("key", place), key),
    sealed: encrypt(key, associated("value", place), Buffer.from(value, "utf8")),
  }
}

/** @throws secrets.unreadable where the envelope is not what was sealed for this place under this key */
export function unseal(ringKey: Uint8Array, place: SecretPlace, { wrappedKey, sealed }: Envelope): string {
  return readable(place, () => {
    const key = decrypt(wrappingKey(ringKey), associated("key", place), wrappedKey)
    return decrypt(key, associated("value", place), sealed).toString("utf8")
  })
}

/** The key of a value wrapped under another generation; the sealed value stays as it is. @throws secrets.unreadable */
export function rewrap(
  wrappedKey: Uint8Array,
  place: SecretPlace,
  ringKeys: { readonly from: Uint8Array; readonly to: Uint8Array },
): Buffer {
  return readable(place, () => {
    const key = decrypt(wrappingKey(ringKeys.from), associated("key", place), wrappedKey)
    return encrypt(wrappingKey(ringKeys.to), associated("key", place), key)
  })
}

function readable<T>(place: SecretPlace, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new AppError(
      "secrets.unreadable",
      `version ${place.version} of the secret "${place.name}" can't be decrypted with this installation's keys`,
      { cause },
    )
  }
}

/** A generation's key as it lies in the database, bound to the master key and to its number. */
export function wrapRingKey(masterKey: Uint8Array, generation: number, key: Uint8Array): Buffer {
  return encrypt(derive(masterKey, "ring"), associatedRing(masterKey, generation), key)
}

/** @throws secrets.unreadable */
export function unwrapRingKey(masterKey: Uint8Array, generation: number, wrapped: Uint8Array): Buffer {
  try {
    return decrypt(derive(masterKey, "ring"), associatedRing(masterKey, generation), wrapped)
  } catch (cause) {
    throw new AppError("secrets.unreadable", `generation ${generation} of the keys was altered in the database`, {
      cause,
    })
  }
}

/** Tells master keys apart without telling anything of them. */
export function fingerprintOf(masterKey: Uint8Array): string {
  return createHash("sha256").update(derive(masterKey, "fingerprint")).digest("hex").slice(0, 32)
}

/** What stands for a secret text in digests of inputs: without that key nobody can try values against it. */
export function markSecretInput(ringKey: Uint8Array): (text: string) => string {
  const key = derive(ringKey, "input digests")
  return (text) => `hmac:${createHmac("sha256", key).update(text).digest("hex")}`
}

/** Signs texts that come back to this installation, for one use. */
export function createMac(ringKey: Uint8Array, use: string): (text: string) => Uint8Array {
  const key = derive(ringKey, `mac ${use}`)
  return (text) => createHmac("sha256", key).update(text).digest()
}

/** One use, one key: none of them gives another away. */
function derive(from: Uint8Array, use: string): Buffer {
  return Buffer.from(hkdfSync("sha256", from, "", `signalbox secrets ${use}`, keyBytes))
}

/** Derived once for as long as the generation's key is held: each message that is sealed or opened needs it. */
const wrappingKeys = new WeakMap<Uint8Array, KeyObject>()

function wrappingKey(ringKey: Uint8Array): KeyObject {
  const known = wrappingKeys.get(ringKey) ?? createSecretKey(derive(ringKey, "wrapping"))
  wrappingKeys.set(ringKey, known)
  return known
}

function associatedRing(masterKey: Uint8Array, generation: number): Buffer {
  return Buffer.from(JSON.stringify(["signalbox ring key", 1, fingerprintOf(masterKey), generation]))
}

function associated(part: "key" | "value", { account, name, version }: SecretPlace): Buffer {
  return Buffer.from(JSON.stringify(["signalbox secret", 1, part, account, name, version]))
}

function encrypt(key: Uint8Array | KeyObject, associatedData: Uint8Array, plain: Uint8Array): Buffer {
  const nonce = randomBytes(nonceBytes)
  const encryption = createCipheriv(cipher, key, nonce).setAAD(associatedData)
  const text = Buffer.concat([encryption.update(plain), encryption.final()])
  return Buffer.concat([nonce, encryption.getAuthTag(), text])
}

function decrypt(key: Uint8Array | KeyObject, associatedData: Uint8Array, bytes: Uint8Array): Buffer {
  const nonce = bytes.subarray(0, nonceBytes)
  const tag = bytes.subarray(nonceBytes, nonceBytes + tagBytes)
  const decryption = createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes })
    .setAAD(associatedData)
    .setAuthTag(tag)
  return Buffer.concat([decryption.update(bytes.subarray(nonceBytes + tagBytes)), decryption.final()])
}
