import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  findTie,
  indexAssociations,
  judgeSelector,
  matchAssociation,
  selectorFields,
  type Association,
  type Selector,
} from "./match-association.ts"

function named(...selectors: readonly Selector[]): Association[] {
  return selectors.map((selector, index) => ({ name: `a${index}`, selector }))
}

function match(selectors: readonly Selector[], attributes: Selector): Selector | undefined {
  return matchAssociation(indexAssociations(named(...selectors)), attributes)?.selector
}

/** Whether a selector matches, and how specific it is, as one would explain it. */
function matches(selector: Selector, attributes: Selector): boolean {
  return selectorFields.every((field) => {
    const wanted = selector[field]
    if (wanted === undefined) return true
    const is = attributes[field]
    if (field !== "operation" || !wanted.endsWith("*")) return is === wanted
    return is !== undefined && is.startsWith(wanted.slice(0, -1))
  })
}

function compareSpecificity(a: Selector, b: Selector): number {
  for (const field of selectorFields) {
    if (field === "operation") break
    if ((a[field] === undefined) !== (b[field] === undefined)) return a[field] === undefined ? -1 : 1
  }
  const rank = ({ operation }: Selector): number =>
    operation === undefined ? -1 : operation.endsWith("*") ? operation.length - 1 : operation.length + 0.5
  return rank(a) - rank(b)
}

describe("A5: the association of a request", () => {
  test.each<[Selector[], Selector, Selector | undefined]>([
    [[{ type: "purchase" }], { type: "purchase" }, { type: "purchase" }],
    [[{ type: "purchase" }], { type: "access" }, undefined],
    [[{ type: "purchase" }], {}, undefined],
    ...selectorFields.map((field): [Selector[], Selector, Selector | undefined] => [
      [{ operation: "*" }, { [field]: "x" }],
      { operation: "nodes.remove", [field]: "x" },
      { [field]: "x" },
    ]),
    [
      [{ product: "web" }, { portfolio: "all", type: "t" }],
      { product: "web", portfolio: "all", type: "t" },
      { product: "web" },
    ],
    [[{ product: "web" }, { product: "web", type: "t" }], { product: "web", type: "t" }, { product: "web", type: "t" }],
    [[{ operation: "*" }, { operation: "nodes.*" }], { operation: "nodes.remove" }, { operation: "nodes.*" }],
    [
      [{ operation: "nodes.*" }, { operation: "nodes.remove" }],
      { operation: "nodes.remove" },
      { operation: "nodes.remove" },
    ],
    [
      [{ operation: "nodes.remove" }, { type: "operation" }],
      { operation: "nodes.remove", type: "operation" },
      { type: "operation" },
    ],
    [[{ operation: "ext.shop.*" }], { operation: "ext.shop.buyIt" }, { operation: "ext.shop.*" }],
    [[{ operation: "nodes.*" }], { operation: "nodesets.list" }, undefined],
  ])("of %o for %o: %o", (selectors, attributes, expected) => {
    expect(match(selectors, attributes)).toEqual(expected)
    expect(match(selectors.toReversed(), attributes)).toEqual(expected)
  })

  test("values that only look alike when put together are kept apart", () => {
    const selectors = [{ product: "a", portfolio: "1:b" }]
    expect(match(selectors, { product: "a1", portfolio: ":b" })).toBeUndefined()
  })
})

const value = fc.constantFrom("x", "y")
const operation = fc.constantFrom("nodes.remove", "nodes.drain", "executions.create", "ext.a.b")
const pattern = fc.oneof(operation, fc.constantFrom("*", "nodes.*", "nodes.r*", "executions.*", "ext.*", "ext.a.*"))
const values = Object.fromEntries(selectorFields.map((field) => [field, value]))
const selector: fc.Arbitrary<Selector> = fc
  .record({ ...values, operation: pattern }, { requiredKeys: [] })
  .filter((each) => Object.keys(each).length > 0)
const attributes: fc.Arbitrary<Selector> = fc.record({ ...values, operation }, { requiredKeys: [] })

describe("V22: the index", () => {
  test("finds what a look at each of them finds, and there is never a tie for it", () => {
    const property = fc.property(
      fc.array(selector, { maxLength: 40 }),
      fc.array(attributes, { maxLength: 5 }),
      (selectors, asked) => {
        const kept: Association[] = []
        for (const [n, each] of selectors.entries()) {
          const item = { name: `a${n}`, selector: each }
          const tie = kept.find((other) => canTie(other.selector, each))
          expect(findTie(indexAssociations(kept), item)).toBe(tie)
          if (!tie) kept.push(item)
        }
        const index = indexAssociations(kept)
        for (const each of asked) {
          const fitting = kept.filter((item) => matches(item.selector, each))
          const sorted = fitting.toSorted((a, b) => compareSpecificity(b.selector, a.selector))
          expect(matchAssociation(index, each)).toBe(sorted[0])
          const [best, second] = sorted
          if (best && second) expect(compareSpecificity(best.selector, second.selector)).toBeGreaterThan(0)
        }
      },
    )
    fc.assert(property, { numRuns: 500 })
  })

  test("an association is no tie of itself, changed or not", () => {
    const index = indexAssociations(named({ type: "a" }, { type: "b" }))
    expect(findTie(index, { name: "a0", selector: { type: "a" } })).toBeUndefined()
    expect(findTie(index, { name: "a0", selector: { type: "c" } })).toBeUndefined()
    expect(findTie(index, { name: "a0", selector: { type: "b" } })?.name).toBe("a1")
    expect(findTie(index, { name: "a9", selector: { type: "b", operation: "*" } })).toBeUndefined()
  })

  test("takes microseconds, whether there are ten associations or ten thousand", () => {
    const many = Array.from({ length: 10_000 }, (_, n): Association => {
      const shapes: readonly Selector[] = [
        { product: `p${n}` },
        { project: `j${n}`, type: "t" },
        { workflow: `w${n}` },
        { operation: `svc.op${n}` },
      ]
      return { name: `a${n}`, selector: shapes[n % shapes.length] ?? {} }
    })
    const timeOf = (list: readonly Association[]): number => {
      const index = indexAssociations(list)
      const asked = { product: "p9996", project: "j9997", workflow: "none", type: "t", operation: "svc.op3" }
      let best = Infinity
      for (let turn = 0; turn < 20; turn++) {
        const began = performance.now()
        for (let n = 0; n < 1000; n++) matchAssociation(index, asked)
        best = Math.min(best, performance.now() - began)
      }
      return best // microseconds for each
    }
    expect(timeOf(many)).toBeLessThan(50)
  })
})

/** Whether some request could match both, with neither more specific. */
function canTie(a: Selector, b: Selector): boolean {
  if (compareSpecificity(a, b) !== 0) return false
  const probe = { ...a, ...b }
  const operations = [a.operation, b.operation].flatMap((each) => (each === undefined ? [] : [each.replace("*", "")]))
  return operations.length === 0
    ? matches(a, probe) && matches(b, probe)
    : operations.some((each) => matches(a, { ...probe, operation: each }) && matches(b, { ...probe, operation: each }))
}

test("a selector says something, with * at its end only", () => {
  expect(judgeSelector({ type: "t", operation: "a.*" })).toEqual([])
  expect(judgeSelector({ operation: "*" })).toEqual([])
  expect(judgeSelector({})).toMatchObject([{ path: "selector" }])
  expect(judgeSelector({ type: "" })).toMatchObject([{ path: "selector.type" }])
  expect(judgeSelector({ operation: "a*.b" })).toMatchObject([{ path: "selector.operation" }])
})

declare const performance: { now(): number }
