import { createHash } from "node:crypto"
import fc from "fast-check"
import { expect, test } from "vitest"
import { contentDigest } from "./content-digest.ts"

const sha256Hex = (text: string): string => createHash("sha256").update(text).digest("hex")

test("A14: the digest is of the content, not of the order in which it is written", () => {
  expect(contentDigest({ b: [1, "ä"], a: null }, sha256Hex)).toBe(sha256Hex('{"a":null,"b":[1,"ä"]}'))
  expect(contentDigest({ a: null, b: [1, "ä"] }, sha256Hex)).toBe(contentDigest({ b: [1, "ä"], a: null }, sha256Hex))
  expect(contentDigest(undefined, sha256Hex)).toBe(sha256Hex("null"))
})

test("A14: another content has another digest", () => {
  const property = fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
    const isSame = contentDigest(a, sha256Hex) === contentDigest(b, sha256Hex)
    expect(isSame).toBe(contentDigest(JSON.parse(JSON.stringify(a)), sha256Hex) === contentDigest(b, sha256Hex))
    if (JSON.stringify(a) === JSON.stringify(b)) expect(isSame).toBe(true)
    if (typeof a !== typeof b) expect(isSame).toBe(false)
  })
  fc.assert(property)
})
