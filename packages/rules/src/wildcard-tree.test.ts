import { matchesWildcard } from "@signalbox/expressions/pattern-literals"
import fc from "fast-check"
import { expect, test } from "vitest"
import { WildcardTree, wildcardKey } from "./wildcard-tree.ts"

/** Some characters share the bits that a node keeps of them, with one another or with what separates parts. */
const units = {
  "two characters": fc.constantFrom("a", "b"),
  "six characters": fc.constantFrom("a", "!", "é", " ", "0", "p"),
} as const
const special = fc.constantFrom("\u0000", "\u0001")
const literalsOf = (unit: fc.Arbitrary<string>) =>
  fc.record({
    parts: fc.array(fc.string({ unit, minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 4 }),
    isStart: fc.boolean(),
    isEnd: fc.boolean(),
    isWildcard: fc.constant(true),
  })
const textOf = (unit: fc.Arbitrary<string>) =>
  fc.string({ unit: fc.oneof({ weight: 9, arbitrary: unit }, special), maxLength: 12 })

const keyOf = (of: Parameters<typeof wildcardKey>[0]): string => {
  const key = wildcardKey(of)
  if (key === undefined) throw new Error("no key")
  return key
}

function findAll(tree: WildcardTree<number>, subject: string): number[] {
  const found: number[] = []
  tree.find(subject, found)
  return found.toSorted((a, b) => a - b)
}

test.each(Object.keys(units) as Array<keyof typeof units>)(
  "R12: of %s: a text fits what matches it by itself",
  (name) => {
    const unit = units[name]
    fc.assert(
      fc.property(
        fc.uniqueArray(literalsOf(unit), { minLength: 1, maxLength: 30, selector: keyOf }),
        fc.array(textOf(unit), { minLength: 1, maxLength: 3 }),
        (all, texts) => {
          const tree = new WildcardTree(new Map(all.map((each, at) => [keyOf(each), at])))
          for (const subject of texts) {
            const expected = [...all.entries()].filter(([, each]) => matchesWildcard(each, subject)).map(([at]) => at)
            expect(findAll(tree, subject)).toEqual(expected)
          }
        },
      ),
      { numRuns: 2_000 },
    )
  },
)

test("each part is looked for from the first place on where those before it are over, and nowhere twice", () => {
  const one = { parts: Array.from({ length: 40 }, () => "a"), isStart: false, isEnd: false, isWildcard: true }
  const two = { ...one, parts: [...one.parts, "b"] }
  const tree = new WildcardTree(new Map([one, two].map((each, at) => [keyOf(each), at])))
  // Each choice of 40 of 120 places would be tried, were it not so.
  expect(findAll(tree, "a".repeat(120))).toEqual([0])
  expect(findAll(tree, `${"a".repeat(40)}b`)).toEqual([0, 1])
  expect(findAll(tree, "a".repeat(39))).toEqual([])
})

test("what has a single part, more than parts, a long one inside, or our own characters in it has no place there", () => {
  const one = { parts: ["a", "b"], isStart: true, isEnd: true, isWildcard: true }
  expect(wildcardKey(one)).toBe("a\u0001b")
  expect(wildcardKey({ ...one, parts: ["ab", "c", "de"] })).toBe("ab\u0001ed\u0000c")
  expect(wildcardKey({ ...one, isStart: false, isEnd: false })).toBe("\u0001\u0000a\u0000b")
  expect(wildcardKey({ ...one, parts: ["a"] })).toBeUndefined()
  expect(wildcardKey({ ...one, isWildcard: false })).toBeUndefined()
  expect(wildcardKey({ ...one, parts: ["a".repeat(99), "b".repeat(64), "c"] })).toBeDefined()
  expect(wildcardKey({ ...one, parts: ["a", "b".repeat(65), "c"] })).toBeUndefined()
  for (const character of ["\u0000", "\u0001"]) expect(wildcardKey({ ...one, parts: ["a", character] })).toBeUndefined()
})
