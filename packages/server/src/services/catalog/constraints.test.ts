import { portfolioFields } from "@signalbox/contracts/catalog/portfolios"
import { productFields } from "@signalbox/contracts/catalog/products"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { z } from "zod"
import { findConstraintFault, intersect, judgePortfolio } from "./constraints.ts"
import type { PortfolioDefinition, ProductDefinition } from "./definitions.ts"
import { settleLaunch } from "./launch-rules.ts"

const product = (written: object): ProductDefinition => ({
  ...z.object(productFields).parse({ name: "p", provisioner: "s", ...written }),
  provisionerId: "sva_1",
})
const portfolio = (written: object): PortfolioDefinition => ({
  ...z.object(portfolioFields).parse({ name: "any", ...written }),
  principalIds: [],
})

const numbers = [0, 1, 2, 3, 4, 5, 6]
const regions = ["a", "b", "c"]
const declared = product({ parameters: { n: { type: "integer", min: 0, max: 6 }, s: {} }, regions })
const products = new Map([["p", declared]])

const constraints = fc.record(
  {
    parameters: fc.record(
      {
        n: fc.record(
          {
            enum: fc.subarray(numbers, { minLength: 1 }),
            min: fc.constantFrom(...numbers),
            max: fc.constantFrom(...numbers),
          },
          { requiredKeys: [] },
        ),
        s: fc.record({ pattern: fc.constantFrom("^x", "y$", "z") }, { requiredKeys: [] }),
      },
      { requiredKeys: [] },
    ),
    regions: fc.subarray(regions, { minLength: 1 }),
    liveMax: fc.constantFrom(...numbers),
    lifetimeMax: fc.constantFrom("1h", "2h", "3h"),
  },
  { requiredKeys: [] },
)
const link = fc.record(
  { products: fc.record({ p: constraints }), liveMax: fc.constantFrom(...numbers) },
  { requiredKeys: ["products"] },
)
const links = fc.array(link.map(portfolio), { maxLength: 5 })

/** Everything that a chain lets through, written out: of numbers, texts and regions. */
function allowed(chain: readonly PortfolioDefinition[]) {
  const { products: effective, liveMax } = intersect(products, chain)
  const found = effective.get("p")
  if (!found) throw new Error("the product is there")
  const { n, s } = found.parameters
  if (!n || !s) throw new Error("its parameters are there")
  return {
    numbers: numbers.filter((value) => findConstraintFault(n, value) === undefined),
    texts: ["x", "y", "xy", "xyz", "xzy", ""].filter((value) => findConstraintFault(s, value) === undefined),
    regions: found.regions ?? [],
    liveMax: Math.min(found.liveMax ?? Infinity, liveMax ?? Infinity),
    lifetime: found.lifetimeMaxMilliseconds ?? Infinity,
  }
}

function isAccepted(own: PortfolioDefinition, before: readonly PortfolioDefinition[]): boolean {
  const { invalid, widening } = judgePortfolio(own, intersect(products, before))
  return invalid.length === 0 && widening.length === 0
}

/** Those that could be made, one upon the other. */
function acceptedOf(chain: readonly PortfolioDefinition[]): PortfolioDefinition[] {
  return chain.reduce<PortfolioDefinition[]>((kept, own) => (isAccepted(own, kept) ? [...kept, own] : kept), [])
}

const within = <T>(part: readonly T[], whole: readonly T[]) => part.every((each) => whole.includes(each))

describe("A13: sharing may only narrow", () => {
  test("whatever a link says, it allows nothing that the chain before it does not", () => {
    fc.assert(
      fc.property(links, link.map(portfolio), (chain, own) => {
        const [before, after] = [allowed(chain), allowed([...chain, own])]
        return (
          within(after.numbers, before.numbers) &&
          within(after.texts, before.texts) &&
          within(after.regions, before.regions) &&
          after.liveMax <= before.liveMax &&
          after.lifetime <= before.lifetime
        )
      }),
    )
  })

  test("what holds is what every link allows by itself", () => {
    fc.assert(
      fc.property(links, (chain) => {
        const together = allowed(chain)
        const alone = chain.map((each) => allowed([each]))
        expect(together.numbers).toEqual(numbers.filter((value) => alone.every((each) => each.numbers.includes(value))))
        expect(together.regions).toEqual(
          regions.filter((region) => alone.every((each) => each.regions.includes(region))),
        )
      }),
    )
  })

  test("a link that is accepted says what it means: its limits are those that hold", () => {
    let accepted = 0
    fc.assert(
      fc.property(links, link, (chain, written) => {
        const own = portfolio({ ...written, import: { portfolio: "source" } })
        const before = acceptedOf(chain)
        if (!isAccepted(own, before)) return
        accepted++
        const after = allowed([...before, own])
        const wanted = written.products.p
        if (wanted.regions) expect(new Set(after.regions)).toEqual(new Set(wanted.regions))
        if (wanted.lifetimeMax) expect(after.lifetime).toBe(Number(wanted.lifetimeMax[0]) * 3_600_000)
        expect(after.numbers.length).toBeGreaterThan(0)
      }),
      { numRuns: 500 },
    )
    expect(accepted).toBeGreaterThan(10)
  })

  test("constraints that make no sense are told apart from wide ones", () => {
    const judge = (parameters: object) =>
      judgePortfolio(portfolio({ products: { p: { parameters } } }), intersect(products, []))
    expect(judge({ other: {} }).invalid).toHaveLength(1)
    expect(judge({ s: { min: 1 } }).invalid).toHaveLength(1)
    expect(judge({ s: { pattern: "(" } }).invalid).toHaveLength(1)
    expect(judge({ n: { min: 4, max: 3 } }).invalid).toHaveLength(1)
    expect(judge({ n: { max: 7 } })).toMatchObject({ invalid: [], widening: [{ path: "products.p.parameters.n" }] })
    expect(judge({ n: { enum: [1, 9] } }).widening).toEqual([
      { path: "products.p.parameters.n", message: "9 is above 6" },
    ])
  })
})

describe("A13: what is launched", () => {
  const settle = (constraintsOfIt: object, wanted: object) => {
    const chain = [portfolio({ products: { p: constraintsOfIt } })]
    const effective = intersect(products, chain).products.get("p")
    if (!effective) throw new Error("the product is there")
    return settleLaunch(declared, effective, { parameters: { s: "x" }, ...wanted })
  }

  test("takes the one value, the one region and the one lifetime that are left", () => {
    const only = { parameters: { n: { enum: [3] } }, regions: ["b"], lifetimeMax: "2h" }
    expect(settle(only, {})).toEqual({
      settled: { parameters: { n: 3, s: "x" }, region: "b", lifetimeMilliseconds: 7_200_000 },
      issues: [],
    })
  })

  test.each([
    [{ parameters: { n: 4, s: "x" } }, "parameters.n"],
    [{ parameters: { n: 3 } }, "parameters.s"],
    [{ parameters: { n: 3, s: "x", other: 1 } }, "parameters.other"],
    [{ region: "c" }, "region"],
    [{ lifetimeMilliseconds: 7_200_001 }, "lifetime"],
  ])("refuses %j at %s", (wanted, path) => {
    const { issues } = settle({ parameters: { n: { enum: [3] } }, regions: ["b"], lifetimeMax: "2h" }, wanted)
    expect(issues.map((issue) => issue.path)).toEqual([path])
  })
})
