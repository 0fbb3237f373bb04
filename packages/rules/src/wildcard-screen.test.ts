import { matchesWildcard } from "@signalbox/expressions/pattern-literals"
import fc from "fast-check"
import { expect, test } from "vitest"
import type { Check } from "./rule-index.ts"
import { canScreen, eachFit, packWildcards, screenedLengthMax } from "./wildcard-screen.ts"

const path = ["field"]
const part = fc.string({ unit: fc.constantFrom("a", "b", "c", "é"), minLength: 1, maxLength: 3 })
const literals = fc.record({
  parts: fc.array(part, { minLength: 1, maxLength: 4 }),
  isStart: fc.boolean(),
  isEnd: fc.boolean(),
  isWildcard: fc.constant(true),
})

function checkOf(of: unknown, own: readonly string[] = path): Check {
  return { first: { path: own, literals: of } } as unknown as Check
}

const fits = (of: Parameters<typeof matchesWildcard>[0] | undefined, text: string): boolean =>
  of !== undefined && matchesWildcard(of, text)

test("R12: the wildcards that a text fits are those that match it one by one", () => {
  fc.assert(
    fc.property(
      fc.array(literals, { minLength: 1, maxLength: 16 }),
      fc.string({ unit: fc.constantFrom("a", "b", "c", "é"), maxLength: 9 }),
      (all, text) => {
        const packed = packWildcards(all.map((each) => checkOf(each)))
        if (packed === undefined) throw new Error("nothing was packed")
        const found: number[] = []
        eachFit(packed, text, (number) => found.push(number))
        expect(found).toEqual([...all.keys()].filter((number) => fits(all[number], text)))
      },
    ),
    { numRuns: 3_000 },
  )
})

test("what is no wildcard, is about another field, or has our own characters in it is not packed", () => {
  const one = { parts: ["a"], isStart: true, isEnd: true, isWildcard: true }
  expect(packWildcards([checkOf(one), checkOf(one)])).toBe("a\u0001a\u0001")
  expect(packWildcards([])).toBeUndefined()
  expect(packWildcards([checkOf(one), checkOf(undefined)])).toBeUndefined()
  expect(packWildcards([checkOf(one), checkOf({ ...one, isWildcard: false })])).toBeUndefined()
  expect(packWildcards([checkOf(one), checkOf(one, ["other"])])).toBeUndefined()
  for (const character of ["\u0000", "\u0001", "\n"])
    expect(packWildcards([checkOf({ ...one, parts: [character] })])).toBeUndefined()
})

test("long texts, and those of several lines, are looked at one by one", () => {
  expect(canScreen("a".repeat(screenedLengthMax))).toBe(true)
  for (const value of ["a".repeat(screenedLengthMax + 1), "a\nb", 1, undefined]) expect(canScreen(value)).toBe(false)
})
