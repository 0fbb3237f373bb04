import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { maskedLengthMin, SecretMask } from "./secret-mask.ts"

const patternsMax = 4_000

function throughChunks(mask: SecretMask, bytes: Buffer, cuts: readonly number[]): Buffer {
  const stream = mask.stream()
  const out: Buffer[] = []
  let from = 0
  for (const cut of [...cuts.map((each) => each % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]) {
    out.push(stream.write(bytes.subarray(from, cut)))
    from = cut
  }
  out.push(stream.end())
  return Buffer.concat(out)
}

/** Few letters, so that secrets overlap themselves and one another. */
const secretText = fc.string({ unit: fc.constantFrom("a", "b", "é", "+", '"', "\n"), minLength: 6, maxLength: 14 })
const noise = fc.string({ unit: fc.constantFrom("a", "b", "é", "+", '"', "\n", "x"), maxLength: 20 })
const cuts = fc.array(fc.nat(400), { maxLength: 30 })

describe("SecretMask", () => {
  test("X5: whatever way a stream is cut, no secret passes, and the cuts leave no trace", () => {
    const pieces = fc.array(fc.oneof(noise, fc.nat(2)), { maxLength: 10 })
    const property = fc.property(
      fc.array(secretText, { minLength: 1, maxLength: 3 }),
      pieces,
      cuts,
      (secrets, mix, at) => {
        const text = mix
          .map((piece) => (typeof piece === "string" ? piece : (secrets[piece % secrets.length] ?? "")))
          .join("")
        const mask = new SecretMask(secrets, patternsMax)
        const masked = throughChunks(mask, Buffer.from(text), at).toString("utf8")
        expect(masked).toBe(mask.text(text))
        for (const secret of secrets) {
          expect(masked).not.toContain(secret)
          for (const line of secret.split("\n")) if (line.length >= maskedLengthMin) expect(masked).not.toContain(line)
        }
      },
    )
    fc.assert(property, { numRuns: 500 })
  })

  test("X5: what is beside the secrets stays as it is", () => {
    const mask = new SecretMask(["hunter2-hunter2"], patternsMax)
    expect(mask.text("user=me password=hunter2-hunter2 hunter2-hunter")).toBe("user=me password=*** hunter2-hunter")
    expect(mask.text("hunter2-hunter2-hunter2!")).toBe("***!")
    expect(new SecretMask(["short"], patternsMax).text("short")).toBe("short")
  })

  test("X5: base64 anywhere in what was encoded, URL and JSON spellings are masked", () => {
    const wide = fc.string({ unit: "binary", minLength: 6, maxLength: 40 })
    const property = fc.property(wide, fc.nat(5), fc.string({ maxLength: 5 }), (given, before, after) => {
      const secret = given.toWellFormed()
      fc.pre(secret.trim().length >= maskedLengthMin)
      const mask = new SecretMask([secret], patternsMax)
      const bytes = Buffer.concat([Buffer.alloc(before, "x"), Buffer.from(secret), Buffer.from(after)])
      expect(mask.text(bytes.toString("base64"))).toContain("***")
      expect(mask.text(bytes.toString("base64url"))).toContain("***")
      expect(mask.text(encodeURIComponent(secret))).toBe("***")
      expect(mask.text(JSON.stringify({ secret }))).toBe('{"secret":"***"}')
    })
    fc.assert(property, { numRuns: 300 })
  })

  test("X5: a key of many lines is masked line by line, also where base64 breaks its lines", () => {
    const key = Array.from({ length: 20 }, (_, line) => `line ${line} of the private key ${"k".repeat(line)}`).join(
      "\n",
    )
    const mask = new SecretMask([key], patternsMax)
    expect(mask.text("line 7 of the private key kkkkkkk, and more")).toBe("***, and more")
    const broken = Buffer.from(key).toString("base64").replaceAll(/.{76}/g, "$&\n")
    expect(mask.text(broken).replaceAll(/[*\n]/g, "").length).toBeLessThan(maskedLengthMin)
  })

  test("too many lines are refused rather than let through", () => {
    const long = Array.from({ length: 5_000 }, (_, line) => `line ${line}`).join("\n")
    expect(() => new SecretMask([long], patternsMax)).toThrow("too many lines")
  })

  test("holds back fewer bytes than the longest secret has", () => {
    const stream = new SecretMask(["abcdefghij"], patternsMax).stream()
    expect(stream.write(Buffer.from("0123abcdefghi")).toString()).toBe("0123")
    expect(stream.write(Buffer.from("Z")).toString()).toBe("abcdefghiZ")
    const endless = new SecretMask(["aaaaaaaa"], patternsMax).stream()
    const out = Array.from({ length: 1000 }, () => endless.write(Buffer.from("aaa")).toString()).join("")
    expect(out + endless.end().toString()).toBe("***")
  })
})
