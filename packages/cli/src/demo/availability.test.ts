import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { extendSpells, overlapMax, type Spell, spellsWithin, unavailableSpans } from "./availability.ts"

const look = (at: number, version?: string, started = version) => ({ at, version, started })

function spellsOf(looks: ReadonlyArray<ReturnType<typeof look>>): Spell[] {
  const spells: Spell[] = []
  for (const one of looks) extendSpells(spells, one)
  return spells
}

describe("what the prober remembers", () => {
  it("folds equal answers and tells processes of the same version apart", () => {
    const spells = spellsOf([look(1, "v1", "a"), look(2, "v1", "a"), look(3), look(4), look(5, "v1", "b")])
    expect(spells).toEqual([
      { from: 1, to: 2, version: "v1", started: "a" },
      { from: 3, to: 4, version: undefined, started: undefined },
      { from: 5, to: 5, version: "v1", started: "b" },
    ])
    expect(unavailableSpans(spells)).toEqual([{ from: 3, to: 4 }])
  })

  it("cuts spells at the edges of a run", () => {
    const spells = spellsOf([look(1, "v1"), look(5, "v1"), look(6), look(9), look(10, "v2"), look(20, "v2")])
    expect(spellsWithin(spells, { from: 3, to: 8 }).map(({ from, to }) => [from, to])).toEqual([
      [3, 5],
      [6, 8],
    ])
  })
})

describe("how many at once", () => {
  it("counts a single failed look and spans that only touch", () => {
    expect(overlapMax([])).toBe(0)
    expect(overlapMax([{ from: 4, to: 4 }])).toBe(1)
    expect(
      overlapMax([
        { from: 1, to: 3 },
        { from: 3, to: 4 },
        { from: 5, to: 6 },
      ]),
    ).toBe(2)
  })

  it("is the largest number of spans around any of their beginnings", () => {
    const span = fc.tuple(fc.nat(50), fc.nat(10)).map(([from, length]) => ({ from, to: from + length }))
    fc.assert(
      fc.property(fc.array(span, { maxLength: 30 }), (spans) => {
        const around = spans.map(({ from: at }) => spans.filter(({ from, to }) => from <= at && at <= to).length)
        expect(overlapMax(spans)).toBe(Math.max(0, ...around))
      }),
    )
  })
})
