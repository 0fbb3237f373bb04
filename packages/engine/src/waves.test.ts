import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { Limit } from "./limits.ts"
import { wavesCountMax } from "./plan.ts"
import { resolveWaves, waveOf } from "./waves.ts"

describe("W4: waves", () => {
  test.each<readonly [readonly Limit[], number, readonly number[]]>([
    [[1, 5, "20%"], 20, [1, 6, 10, 14, 18, 20]],
    [[1], 3, [1, 2, 3]],
    [["30%"], 10, [3, 6, 9, 10]],
    [["100%"], 7, [7]],
    [["0%"], 3, [1, 2, 3]],
    [[0], 2, [1, 2]],
    [[5], 5, [5]],
    [[6], 5, [5]],
    [[2, 100], 5, [2, 5]],
    [["49%"], 3, [1, 2, 3]],
    [[3], 0, []],
  ])("%j of %i targets end at %j", (sizes, targetsCount, ends) => {
    expect(resolveWaves(sizes, targetsCount)).toEqual(ends)
  })

  test("I17: no more than 1,000 waves, of which the last takes what is left", () => {
    const ends = resolveWaves([1], 5000)
    expect(ends).toHaveLength(wavesCountMax)
    expect(ends.slice(-2)).toEqual([999, 5000])
    expect(resolveWaves(["0.1%"], 1_000_000).slice(0, 2)).toEqual([1000, 2000])
    expect(resolveWaves([1], wavesCountMax)).toHaveLength(wavesCountMax)
  })

  test("sizes are given, and not too many of them", () => {
    expect(() => resolveWaves([], 5)).toThrow("1 to 1000")
    expect(() =>
      resolveWaves(
        Array.from({ length: wavesCountMax + 1 }, () => 1),
        5,
      ),
    ).toThrow("1 to 1000")
    expect(
      resolveWaves(
        Array.from({ length: wavesCountMax }, () => 1),
        5,
      ),
    ).toHaveLength(5)
  })

  test("the wave of so many started targets is the first that ends there or later", () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 60 }), (counts, targetsCount) => {
        const waves = resolveWaves(counts, targetsCount)
        for (let started = 0; started <= targetsCount; started++) {
          expect(waveOf(waves, started)).toBe(1 + waves.findIndex((end) => end >= started))
        }
      }),
    )
    expect(waveOf(undefined, 7)).toBe(1)
    expect(waveOf([], 0)).toBe(1)
  })
})
