import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { AffixTable } from "./affix-table.ts"
import { IntervalGrid } from "./interval-grid.ts"
import { holds, IntervalTree } from "./interval-tree.ts"
import { hashKey, KeyFilter } from "./key-filter.ts"
import { TextFinder } from "./text-trie.ts"

describe("intervals", () => {
  test("are found by the numbers in them, each once", () => {
    const end = fc.oneof(
      fc.constantFrom(-Infinity, -1, 0, 0.5, 1, 2, 3, 4, Infinity),
      fc.constantFrom(-Number.MAX_VALUE, Number.MAX_VALUE, Number.MIN_VALUE, 0.500000001),
    )
    const range = fc.record({ low: end, isLowIn: fc.boolean(), high: end, isHighIn: fc.boolean() })
    const narrow = fc
      .record({ low: fc.constantFrom(0, 0.5, 0.7, 1, 2.5, 4), isLowIn: fc.boolean(), isHighIn: fc.boolean() })
      .map((each) => ({ ...each, high: each.low + 0.01 }))
    fc.assert(
      fc.property(
        fc.oneof(fc.array(range, { maxLength: 20 }), fc.array(narrow, { maxLength: 20 })),
        fc.oneof(fc.constantFrom(-2, -1, 0, 0.5, 1, 2.5, 4, 9), fc.constantFrom(0.7, Infinity, NaN, 0.500000001)),
        (ranges, number) => {
          const tree = new IntervalTree(ranges.map((each, value) => ({ range: each, value })))
          const found: number[] = []
          tree.find(number, found)
          const expected = [...ranges.keys()].filter((index) => ranges[index] && holds(ranges[index], number))
          expect(found.toSorted((a, b) => a - b)).toEqual(expected)
        },
      ),
      { numRuns: 3000 },
    )
  })

  test("of which none is near are known from the grid", () => {
    const ranges = Array.from({ length: 100 }, (_, at) => ({ low: at, isLowIn: true, high: at + 0.1, isHighIn: true }))
    const grid = new IntervalGrid(ranges)
    expect(grid.isUsable).toBe(true)
    for (let at = 0; at < 100; at++)
      expect([grid.mayHold(at + 0.05), grid.mayHold(at + 0.5)]).toEqual([true, at === 99])
    for (const outside of [-1, 200, NaN, Infinity]) expect(grid.mayHold(outside)).toBe(true)
    const far = { low: -Number.MAX_VALUE, isLowIn: true, high: Number.MAX_VALUE, isHighIn: true }
    expect(new IntervalGrid([far]).isUsable).toBe(false)
    expect(new IntervalGrid([{ ...far, low: -Infinity, high: 1 }]).isUsable).toBe(false)
  })
})

describe("texts", () => {
  const short = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 5 }).map((all) => all.join(""))
  // Lengths up to 30 and those beyond are kept in two ways.
  const word = fc.tuple(short, fc.constantFrom("", "", "d".repeat(28), "d".repeat(70))).map((all) => all.join(""))
  const words = fc.uniqueArray(word, { maxLength: 12 })

  test.each([true, false])("are found by their beginning or their end (%s)", (isSuffix) => {
    fc.assert(
      fc.property(words, word, (all, subject) => {
        const filter = new KeyFilter()
        const table = new AffixTable(new Map(all.map((each) => [each, each])), { filter, isSuffix })
        filter.build()
        const found: string[] = []
        table.find(subject, found)
        const expected = all.filter((each) => (isSuffix ? subject.endsWith(each) : subject.startsWith(each)))
        expect(found).toEqual(expected.toSorted((a, b) => a.length - b.length))
      }),
      { numRuns: 1000 },
    )
  })

  test("are found within another text, those inside one another too", () => {
    fc.assert(
      fc.property(words, word, (all, subject) => {
        const finder = new TextFinder(new Map(all.map((each) => [each, each])))
        const found = new Set<string | undefined>([finder.valueAt(0)])
        let node = 0
        for (const character of subject) {
          node = finder.advance(node, character.charCodeAt(0))
          for (let each = node; each !== 0; each = finder.shorter(each)) found.add(finder.valueAt(each))
        }
        found.delete(undefined)
        expect(found).toEqual(new Set(all.filter((each) => subject.includes(each))))
      }),
    )
  })
})

describe("the filter", () => {
  const key = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.constant(0),
    fc.constant(-0),
  )

  test("lets each key of a table pass, and few others", () => {
    fc.assert(
      fc.property(fc.array(fc.array(key, { maxLength: 20 }), { maxLength: 5 }), (tables) => {
        const filter = new KeyFilter()
        const numbers = tables.map(() => filter.addTable())
        const hashes = tables.flatMap((keys, at) => keys.map((each) => hashKey(numbers[at] ?? 0, each)))
        for (const each of hashes) filter.add(each)
        filter.build()
        expect(hashes.filter((each) => !filter.mayHold(each))).toEqual([])
      }),
    )
    const filter = new KeyFilter()
    const [one, two] = [filter.addTable(), filter.addTable()]
    for (let at = 0; at < 10_000; at++) filter.add(hashKey(one, `k${at}`))
    filter.build()
    const passed = (table: number, from: number): number =>
      Array.from({ length: 10_000 }, (_, at) => filter.mayHold(hashKey(table, `k${from + at}`))).filter(Boolean).length
    expect(passed(one, 0)).toBe(10_000)
    expect(passed(one, 10_000)).toBeLessThan(400)
    expect(passed(two, 0)).toBeLessThan(400)
    expect(hashKey(one, -0)).toBe(hashKey(one, 0))
  })
})
