import { describe, expect, test } from "vitest"
import { checkPlan, type EnginePlan } from "./plan.ts"
import { examplePlan } from "./simulator/engine-run.ts"

const day = 86_400_000
const tooLong = 400 * day + 1

const check = (change: Partial<EnginePlan>): void => checkPlan({ ...examplePlan, ...change })

/** Each member with values that are just inside its limits, and others just outside. */
const members: ReadonlyArray<{
  readonly name: keyof EnginePlan
  readonly inside: readonly unknown[]
  readonly outside: readonly unknown[]
  readonly message: string
}> = [
  {
    name: "targetsCount",
    inside: [0, 1e8],
    outside: [-1, 1e8 + 1, 1.5, NaN],
    message: "targetsCount is 0 to 100000000",
  },
  { name: "width", inside: [1, 1e8], outside: [0, 1e8 + 1, 2.5], message: "width is 1 to 100000000" },
  { name: "errorsMax", inside: [0, 1e8], outside: [-1, 1e8 + 1], message: "errorsMax is 0 to 100000000" },
  { name: "attemptsMax", inside: [1, 100], outside: [0, 101], message: "attemptsMax is 1 to 100" },
  {
    name: "startTimeoutMilliseconds",
    inside: [1, 400 * day],
    outside: [0, tooLong],
    message: "startTimeoutMilliseconds",
  },
  {
    name: "taskTimeoutMilliseconds",
    inside: [1, 400 * day],
    outside: [0, tooLong],
    message: "taskTimeoutMilliseconds",
  },
  {
    name: "rollbackTimeoutMilliseconds",
    inside: [1, 400 * day],
    outside: [0, tooLong],
    message: "rollbackTimeoutMilliseconds",
  },
  {
    name: "reconnectMilliseconds",
    inside: [0, 400 * day],
    outside: [-1, tooLong],
    message: "reconnectMilliseconds is out of",
  },
  { name: "graceMilliseconds", inside: [1, 400 * day], outside: [0, tooLong], message: "graceMilliseconds is out of" },
  {
    name: "retryDelayMilliseconds",
    inside: [0, 400 * day],
    outside: [-1, tooLong],
    message: "retryDelayMilliseconds is",
  },
  {
    name: "retryDelayMillisecondsMax",
    inside: [0, 400 * day],
    outside: [-1, tooLong],
    message: "retryDelayMillisecondsMax is out of range",
  },
  {
    name: "retryBackoffFactor",
    inside: [1, 1.5, 100],
    outside: [0.9, 101, NaN],
    message: "retryBackoffFactor is 1 to 100",
  },
  {
    name: "retryJitterThousandths",
    inside: [0, 1000],
    outside: [-1, 1001],
    message: "retryJitterThousandths is 0 to 1000",
  },
  { name: "seed", inside: [0, -5, 2 ** 31], outside: [0.5], message: "seed is a whole number" },
  {
    name: "bakeMilliseconds",
    inside: [0, 400 * day],
    outside: [-1, tooLong],
    message: "bakeMilliseconds is out of range",
  },
  { name: "unavailableMax", inside: [1, 1e8], outside: [0, 1e8 + 1], message: "unavailableMax is 1 to 100000000" },
  { name: "domainWidth", inside: [1, 1e8], outside: [0, 1e8 + 1], message: "domainWidth is 1 to 100000000" },
  {
    name: "domains",
    inside: [new Int32Array(10)],
    outside: [new Int32Array(9), new Int32Array(11), new Int32Array(0)],
    message: "targets, not 10",
  },
  {
    name: "waves",
    inside: [[10], [1, 10], [1, 2, 3, 4, 10]],
    outside: [[], [0, 10], [9], [11], [10, 10], [5, 4, 10], [1.5, 10], [5, 5, 10]],
    message: "waves end in ascending order, the last with the targets",
  },
  {
    name: "errorsMaxByClass",
    inside: [{}, { failed: 0 }, { timeout: 1e8 }],
    outside: [{ failed: -1 }, { failed: 1, interrupted: 0.5 }, { unreachable: 1e8 + 1 }],
    message: "errorsMaxByClass is 0 to 100000000",
  },
  {
    name: "errorRate",
    inside: [
      { thousandths: 0, sampleMin: 1 },
      { thousandths: 100_000, sampleMin: 1e8 },
    ],
    outside: [
      { thousandths: -1, sampleMin: 1 },
      { thousandths: 100_001, sampleMin: 1 },
    ],
    message: "errorRate.thousandths is 0 to 100,000",
  },
  {
    name: "errorRate",
    inside: [],
    outside: [
      { thousandths: 5, sampleMin: 0 },
      { thousandths: 5, sampleMin: 1e8 + 1 },
    ],
    message: "errorRate.sampleMin is 1 to 100000000",
  },
]

describe("a plan out of its limits is a bug", () => {
  for (const { name, inside, outside, message } of members) {
    test(`${name}: ${message}`, () => {
      for (const value of inside) expect(() => check({ [name]: value })).not.toThrow()
      for (const value of outside) expect(() => check({ [name]: value })).toThrow(message)
    })
  }

  test("no more than 1,000 waves, and none without targets", () => {
    const waves = Array.from({ length: 1001 }, (_, index) => index + 1)
    expect(() => check({ targetsCount: 1000, waves: waves.slice(0, 1000) })).not.toThrow()
    expect(() => check({ targetsCount: 1001, waves })).toThrow("at most 1000 waves")
    expect(() => check({ targetsCount: 0, waves: [] })).not.toThrow()
  })
})
