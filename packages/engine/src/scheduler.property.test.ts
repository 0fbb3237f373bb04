import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { EnginePlan } from "./plan.ts"
import { newState, step } from "./scheduler.ts"
import { EngineRun } from "./simulator/engine-run.ts"
import type { EngineInput } from "./types.ts"
import { resolveWaves } from "./waves.ts"

const outcomeStates = ["succeeded", "failed", "interrupted", "aborted", "skipped", "unreachable"] as const
const rollbackOutcomes = ["rolled-back", "rollback-failed", "not-reversible", "unknown"] as const

/** Ordinals and attempts that are often right, and sometimes of no task or of another attempt. */
const about = { ordinal: fc.integer({ min: -1, max: 12 }), attempt: fc.constantFrom(1, 1, 1, 2, 3) }

const inputs: fc.Arbitrary<EngineInput> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ type: fc.constant("task-accepted" as const), ...about }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("task-started" as const), ...about }) },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant("task-finished" as const),
      ...about,
      outcome: fc.record({ state: fc.constantFrom(...outcomeStates) }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("rollback-started" as const), ...about }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("rollback-finished" as const),
      ...about,
      outcome: fc.constantFrom(...rollbackOutcomes),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constantFrom("pause" as const, "resume" as const, "planned" as const) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("set-width" as const), width: fc.integer({ min: 0, max: 12 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("hold-starts" as const), reason: fc.constantFrom("closed", "frozen") }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("release-starts" as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("abort" as const), mode: fc.constantFrom("finish", "kill") }) },
)

const tolerated = fc.integer({ min: 0, max: 3 })
const kinds = { failed: tolerated, timeout: tolerated, unreachable: tolerated, interrupted: tolerated }

/** The members that a plan may have besides; each is absent as often as not. */
const paces = fc.record(
  {
    ramp: fc.boolean(),
    strict: fc.boolean(),
    unavailableMax: fc.integer({ min: 1, max: 12 }),
    bakeMilliseconds: fc.constantFrom(0, 40, 3000),
    domainWidth: fc.integer({ min: 1, max: 3 }),
    errorRate: fc.record({
      thousandths: fc.integer({ min: 0, max: 100_000 }),
      sampleMin: fc.integer({ min: 1, max: 6 }),
    }),
    errorsMaxByClass: fc.record(kinds, { requiredKeys: [] }),
    stopMode: fc.constantFrom("finish" as const, "kill" as const),
    retryBackoffFactor: fc.constantFrom(1, 2.5),
    retryJitterThousandths: fc.integer({ min: 0, max: 1000 }),
  },
  { requiredKeys: [] },
)

const shapes = fc.record({
  sizes: fc.option(fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 3 })),
  domains: fc.option(fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 12, maxLength: 12 })),
})

const basePlans = fc.record({
  targetsCount: fc.integer({ min: 0, max: 12 }),
  width: fc.integer({ min: 1, max: 12 }),
  errorsMax: fc.integer({ min: 0, max: 4 }),
  attemptsMax: fc.integer({ min: 1, max: 3 }),
  retryDelayMilliseconds: fc.constantFrom(0, 50),
  rollbackOnFailure: fc.boolean(),
  startTimeoutMilliseconds: fc.constantFrom(20, 500),
  taskTimeoutMilliseconds: fc.constantFrom(100, 1000),
  rollbackTimeoutMilliseconds: fc.constantFrom(100, 1000),
  graceMilliseconds: fc.constantFrom(10, 100),
  countUnreachable: fc.boolean(),
})

const plans: fc.Arbitrary<EnginePlan> = fc.tuple(basePlans, paces, shapes).map(([plan, pace, { sizes, domains }]) => ({
  ...plan,
  ...pace,
  ...(sizes && { waves: resolveWaves(sizes, plan.targetsCount) }),
  ...(domains && { domains: Int32Array.from(domains.slice(0, plan.targetsCount)) }),
}))

const batches = fc.array(
  fc.record({ delay: fc.constantFrom(0, 1, 30, 2000), batch: fc.array(inputs, { maxLength: 8 }) }),
  {
    maxLength: 30,
  },
)

describe("any inputs in any order", () => {
  test("I1 to I12, I20 to I28: keep every invariant, and silence from then on ends the run", () => {
    fc.assert(
      fc.property(plans, batches, (plan, steps) => {
        const run = new EngineRun(plan)
        run.step({ type: "planned" })
        for (const { delay, batch } of steps) {
          run.now += delay
          run.step(...batch)
        }
        run.step({ type: "resume" }, { type: "release-starts" })
        // Each target has at most attemptsMax starts and one rollback, each with one deadline; a stall may double them.
        // So may the bake of each wave.
        const wakesMax = 2 * (plan.targetsCount + 1) * (plan.attemptsMax * 2 + 3)
        for (let wakes = 0; run.last?.wakeAt !== undefined; wakes++) {
          expect(wakes).toBeLessThan(wakesMax)
          run.jump(Math.max(0, run.last.wakeAt - run.now))
        }
        expect(["succeeded", "incomplete", "failed", "aborted"]).toContain(run.store.execution)
      }),
      { numRuns: 1000 },
    )
  })

  test("I13: a step leaves its state as it was, and gives the same result again", () => {
    fc.assert(
      fc.property(plans, batches, (plan, steps) => {
        let state = step(newState(plan, 0), [{ type: "planned" }], 0).state
        let now = 0
        for (const { delay, batch } of steps) {
          now += delay
          const before = structuredClone([...state.slots.values()])
          const counts = { ...state.counts, ...state.rollbacks }
          const first = step(state, batch, now)
          const second = step(state, batch, now)
          expect([...state.slots.values()]).toEqual(before)
          expect({ ...state.counts, ...state.rollbacks }).toEqual(counts)
          expect({ ...first, state: null }).toEqual({ ...second, state: null })
          expect([...first.state.slots.values()]).toEqual([...second.state.slots.values()])
          state = first.state
        }
      }),
      { numRuns: 200 },
    )
  })
})
