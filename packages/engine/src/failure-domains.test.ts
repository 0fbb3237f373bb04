import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { DomainCounts, interleaveByDomain } from "./failure-domains.ts"

const order = (...domains: readonly number[]): number[] => [...interleaveByDomain(Int32Array.from(domains))]

describe("W10: interleaving by failure domain", () => {
  test("members of a domain keep their order and lie as far apart as they can", () => {
    expect(order(0, 0, 1, 1)).toEqual([0, 2, 1, 3])
    expect(order(0, 1, 1, 0)).toEqual([0, 1, 3, 2])
    expect(order(0, 0, 0, 1, -1, -1)).toEqual([4, 0, 1, 3, 5, 2])
    expect(order(7, 7)).toEqual([0, 1])
    expect(order()).toEqual([])
    expect(order(-1, -1, -1)).toEqual([0, 1, 2])
  })

  test("any domains: every target once, members in their order, and no two of one beside another without need", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1, max: 8 }), { maxLength: 60 }), (domains) => {
        const ordered = order(...domains)
        expect(ordered.toSorted((a, b) => a - b)).toEqual(domains.map((_, index) => index))
        for (const domain of new Set(domains)) {
          const members = ordered.filter((index) => domains[index] === domain)
          expect(members).toEqual(members.toSorted((a, b) => a - b))
        }
        const alike = new Set(domains.map((domain) => domains.filter((one) => one === domain).length)).size === 1
        const crowded = ordered.some((index, at) => at > 0 && domains[index] === domains[ordered[at - 1] ?? 0])
        expect(alike && new Set(domains).size > 1 && crowded).toBe(false)
      }),
    )
  })

  test("a domain is a whole number from 0 without large gaps, or -1", () => {
    expect(() => order(-2)).toThrow("not -2")
    expect(() => order(2_000_000)).toThrow("without gaps")
    expect(order(1025, 0)).toEqual([1, 0])
    expect(() => order(1028, 0)).toThrow("without gaps")
  })
})

describe("the members of domains in flight", () => {
  test("I13: a fork does not touch where it came from, nor the other way round", () => {
    const one = new DomainCounts()
    for (const domain of [3, 64, 64, 1000, -1]) one.add(domain, 1)
    const two = one.fork()
    two.add(64, -1)
    two.add(5, 1)
    one.add(3, 1)
    one.add(1000, 1)
    const counts = (of: DomainCounts): number[] => [-1, 3, 5, 64, 65, 1000].map((domain) => of.get(domain))
    expect(counts(one)).toEqual([0, 2, 0, 2, 0, 2])
    expect(counts(two)).toEqual([0, 1, 1, 1, 0, 1])
  })
})
