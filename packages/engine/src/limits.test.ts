import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { findPercent, resolveErrorsMax, resolveWidth, selfSizedLimits, type Limit } from "./limits.ts"

const golden: ReadonlyArray<readonly [limit: Limit, targets: number, errorsMax: number, width: number]> = [
  // Rate control of Systems Manager: 3 stops at the 4th, 0 at the 1st, 10% of 50 at the 6th, 40% of 10 at the 5th.
  [3, 50, 3, 3],
  [0, 50, 0, 1],
  ["10%", 50, 5, 5],
  ["40%", 10, 4, 4],
  // Integer division once made 81% to 100% the same on 5 nodes; and one node of a small fleet must not be 0.
  ["81%", 5, 4, 4],
  ["99%", 5, 4, 4],
  ["100%", 5, 5, 5],
  ["10%", 5, 0, 1],
  ["0%", 1000, 0, 1],
  ["50%", 1, 0, 1],
  ["100%", 1, 1, 1],
  ["25%", 10, 2, 2],
  ["33.333%", 3, 0, 1],
  ["33.334%", 3, 1, 1],
  // Where floating point goes wrong: 0.07 * 100 = 7.000000000000001, 0.29 * 100 = 28.999999999999996
  ["29%", 100, 29, 29],
  ["0.1%", 1000, 1, 1],
  ["0.029%", 100_000, 29, 29],
  ["100%", 1_000_000, 1_000_000, 1_000_000],
  [5000, 50, 5000, 50],
  [7, 0, 7, 1],
]

describe("limits", () => {
  for (const [limit, targets, errorsMax, width] of golden) {
    test(`I17: ${limit} of ${targets} tolerates ${errorsMax} errors, is ${width} wide`, () => {
      expect(resolveErrorsMax(limit, targets)).toBe(errorsMax)
      expect(resolveWidth(limit, targets)).toBe(width)
    })
  }

  test("W11: the limits of a run that names none", () => {
    const sizes = [1, 24, 25, 39, 40, 100, 101, 112, 113, 1000, 1001, 1_000_000]
    expect(sizes.map((n) => [n, selfSizedLimits(n).width, selfSizedLimits(n).errorsMax])).toEqual([
      [1, 1, 1],
      [24, 1, 1],
      [25, 1, 5],
      [39, 1, 5],
      [40, 2, 5],
      [100, 5, 5],
      [101, 8, 10],
      [112, 8, 10],
      [113, 9, 10],
      [1000, 80, 10],
      [1001, 100, 10],
      [1_000_000, 100_000, 10],
    ])
  })

  test("what is no percentage is none", () => {
    for (const text of ["", "%", "10", "-1%", "101%", "100.001%", "1e2%", " 5%", "5 %", "0.0001%", ".5%", "1000%"]) {
      expect(findPercent(text), text).toBeUndefined()
    }
    expect(findPercent("12.5%")).toBe(12_500)
    expect(() => resolveWidth("150%", 3)).toThrow("150%")
    expect(() => resolveErrorsMax(-1, 3)).toThrow("whole number")
    expect(() => resolveWidth(1, 1.5)).toThrow("whole number")
  })

  test("I17: a percentage never gives more than its exact share, and less than one target less", () => {
    const percents = fc.integer({ min: 0, max: 100_000 })
    fc.assert(
      fc.property(percents, fc.integer({ min: 0, max: 1_000_000 }), (thousandths, targets) => {
        const text: Limit = `${Math.floor(thousandths / 1000)}.${String(thousandths % 1000).padStart(3, "0")}%`
        const exact = BigInt(thousandths) * BigInt(targets)
        const errorsMax = BigInt(resolveErrorsMax(text, targets))
        expect(errorsMax * 100_000n <= exact && exact < (errorsMax + 1n) * 100_000n).toBe(true)
        const width = resolveWidth(text, targets)
        expect(width).toBe(Math.max(1, Number(errorsMax)))
      }),
    )
  })
})
