import { describe, expect, test } from "vitest"
import { examplePlan } from "./simulator/engine-run.ts"
import { retryDelayOf } from "./retry-delay.ts"

const delays = (changes: object, attempts = [1, 2, 3, 4]): number[] =>
  attempts.map((attempt) => retryDelayOf({ ...examplePlan, ...changes }, 5, attempt))

describe("I28: the delay before a retry", () => {
  test("grows by its factor up to its maximum", () => {
    expect(delays({})).toEqual([1000, 1000, 1000, 1000])
    expect(delays({ retryBackoffFactor: 2 })).toEqual([1000, 2000, 4000, 8000])
    expect(delays({ retryBackoffFactor: 2.5, retryDelayMillisecondsMax: 3000 })).toEqual([1000, 2500, 3000, 3000])
    expect(delays({ retryBackoffFactor: 10 }, [100])).toEqual([400 * 86_400_000])
    expect(delays({ retryDelayMilliseconds: 0, retryBackoffFactor: 3 })).toEqual([0, 0, 0, 0])
  })

  test("is shortened by at most its jitter, evenly over targets, attempts and seeds", () => {
    const plan = { ...examplePlan, retryDelayMilliseconds: 100_000, retryJitterThousandths: 250 }
    const shares: number[] = []
    for (let ordinal = 0; ordinal < 2000; ordinal++) {
      for (const attempt of [1, 2]) {
        for (const seed of [0, 99]) shares.push(1 - retryDelayOf({ ...plan, seed }, ordinal, attempt) / 100_000)
      }
    }
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...shares)).toBeLessThanOrEqual(0.25)
    for (const quarter of [0, 1, 2, 3]) {
      const inside = shares.filter((share) => Math.floor(share * 16) === quarter)
      expect(inside.length / shares.length).toBeCloseTo(0.25, 1)
    }
    expect(new Set(shares).size).toBeGreaterThan(shares.length * 0.8)
  })

  test("follows from seed, ordinal and attempt alone", () => {
    const plan = { ...examplePlan, retryJitterThousandths: 1000 }
    const of = (seed: number, ordinal: number, attempt: number): number =>
      retryDelayOf({ ...plan, seed }, ordinal, attempt)
    expect(of(1, 2, 3)).toBe(of(1, 2, 3))
    expect(retryDelayOf(plan, 2, 3)).toBe(of(0, 2, 3))
    expect(new Set([of(1, 2, 3), of(2, 2, 3), of(1, 3, 3), of(1, 2, 4)]).size).toBe(4)
  })
})
