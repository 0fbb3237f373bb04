import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { OutputKeeper } from "./kept-output.ts"

function keep(bytesMax: number, chunks: readonly Uint8Array[]) {
  const keeper = new OutputKeeper(bytesMax)
  for (const chunk of chunks) keeper.write(Buffer.from(chunk))
  return keeper.result()
}

describe("OutputKeeper", () => {
  test("keeps everything that fits, in the head", () => {
    expect(keep(10, [Buffer.from("12345"), Buffer.from("67890")])).toEqual({
      head: "1234567890",
      tail: "",
      bytes: 10,
      truncated: false,
    })
  })

  test("keeps half of the head and half of the tail of what doesn't", () => {
    expect(keep(10, [Buffer.from("12345678"), Buffer.from("9abcdef")])).toEqual({
      head: "12345",
      tail: "bcdef",
      bytes: 15,
      truncated: true,
    })
  })

  test("keeps nothing where nothing is to be kept, but counts", () => {
    expect(keep(0, [Buffer.from("abc")])).toEqual({ head: "", tail: "", bytes: 3, truncated: true })
  })

  test("cuts between characters, and makes NUL storable", () => {
    expect(keep(6, [Buffer.from("aéé–b–é")])).toMatchObject({ head: "aé", tail: "é", truncated: true })
    expect(keep(6, [Buffer.from("a\0b")]).head).toBe("a\uFFFDb")
  })

  test("head and tail are those of the whole stream, however it was cut into chunks", () => {
    const ascii = fc.uint8Array({ min: 32, max: 126, maxLength: 40 })
    const property = fc.property(fc.array(ascii, { maxLength: 12 }), fc.nat(64), (chunks, bytesMax) => {
      const all = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk))).toString()
      const result = keep(bytesMax, chunks)
      const half = Math.ceil(bytesMax / 2)
      expect(result.bytes).toBe(all.length)
      if (all.length <= bytesMax) {
        expect(result).toMatchObject({ head: all, tail: "", truncated: false })
        return
      }
      expect(result).toMatchObject({
        head: all.slice(0, half),
        tail: all.slice(all.length - (bytesMax - half)),
        truncated: true,
      })
    })
    fc.assert(property, { numRuns: 500 })
  })
})
