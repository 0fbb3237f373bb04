import { randomBytes } from "node:crypto"
import { hasCode } from "@signalbox/kernel/app-error"
import { describe, expect, it } from "vitest"
import { fingerprintOf, markSecretInput, seal, unseal } from "./envelope.ts"

const masterKey = randomBytes(32)
const place = { account: "main", name: "database-password", version: 3 }
const value = "correct horse, é, \u{1f642}"

describe("X5: envelopes of secrets", () => {
  it("give back what was sealed, and never look the same twice", () => {
    const first = seal(masterKey, place, value)
    const second = seal(masterKey, place, value)
    expect(unseal(masterKey, place, first)).toBe(value)
    expect(unseal(masterKey, place, second)).toBe(value)
    expect(first.sealed.equals(second.sealed)).toBe(false)
    expect(first.wrappedKey.equals(second.wrappedKey)).toBe(false)
    expect(Buffer.concat([first.wrappedKey, first.sealed]).includes(Buffer.from("horse"))).toBe(false)
  })

  it("open in their own place only: another account, name or version is refused", () => {
    const envelope = seal(masterKey, place, value)
    for (const other of [{ account: "other" }, { name: "other" }, { version: 4 }])
      expect(() => unseal(masterKey, { ...place, ...other }, envelope)).toThrow("can't be decrypted")
  })

  it("are refused with another master key, a changed byte, a missing end, or another envelope's key", () => {
    const envelope = seal(masterKey, place, value)
    const other = seal(masterKey, place, value)
    const changed = Buffer.from(envelope.sealed)
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1
    const attempts = [
      () => unseal(randomBytes(32), place, envelope),
      () => unseal(masterKey, place, { ...envelope, sealed: changed }),
      () => unseal(masterKey, place, { ...envelope, sealed: envelope.sealed.subarray(0, 20) }),
      () => unseal(masterKey, place, { ...envelope, wrappedKey: other.wrappedKey }),
    ]
    for (const attempt of attempts) {
      expect(attempt).toThrow(expect.toSatisfy((error) => hasCode(error, "secrets.unreadable")))
    }
  })

  it("mark inputs by a key of their own: the same text the same way, and nobody without the key can", () => {
    expect(markSecretInput(masterKey)("text")).toBe(markSecretInput(masterKey)("text"))
    expect(markSecretInput(masterKey)("text")).not.toBe(markSecretInput(masterKey)("texts"))
    expect(markSecretInput(masterKey)("text")).not.toBe(markSecretInput(randomBytes(32))("text"))
    expect(fingerprintOf(masterKey)).not.toBe(fingerprintOf(randomBytes(32)))
  })
})
