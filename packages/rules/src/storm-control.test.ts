import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { budgetSlots, spendFiring, type BudgetState } from "./storm-budget.ts"
import { idle, stepStorm, type StormDecision, type StormLimit, type StormState } from "./storm-control.ts"

const onceWithin: StormLimit = { kind: "once-within", withinMilliseconds: 10 }
const onceAfter: StormLimit = { kind: "once-after", quietMilliseconds: 10 }
const threshold: StormLimit = { kind: "threshold", count: 3, withinMilliseconds: 10 }

const states: Readonly<Record<StormState["kind"], StormState>> = {
  idle,
  fired: { kind: "fired", firedAt: 100, suppressedCount: 4 },
  waiting: { kind: "waiting", dueAt: 110, heldCount: 2 },
  counting: { kind: "counting", times: [97, 100] },
}

type Cell = `${StormDecision} -> ${StormState["kind"]}`
type Table = Readonly<Record<StormState["kind"], Readonly<Record<"event soon" | "event late" | "early" | "due", Cell>>>>

const inputs = {
  "event soon": { input: { type: "event", at: 105 }, now: 105 },
  "event late": { input: { type: "event", at: 130 }, now: 130 },
  early: { input: { type: "time" }, now: 105 },
  due: { input: { type: "time" }, now: 110 },
} as const

const fresh = { fires: "fire -> fired", waits: "wait -> waiting", counts: "wait -> counting" } as const
const nothing = { early: "nothing -> idle", due: "nothing -> idle" } as const

const tables: ReadonlyArray<readonly [StormLimit, Table]> = [
  [
    onceWithin,
    {
      idle: { "event soon": fresh.fires, "event late": fresh.fires, ...nothing },
      fired: {
        "event soon": "suppress -> fired",
        "event late": "fire -> fired",
        early: "nothing -> fired",
        due: "nothing -> fired",
      },
      waiting: { "event soon": fresh.fires, "event late": fresh.fires, ...nothing },
      counting: { "event soon": fresh.fires, "event late": fresh.fires, ...nothing },
    },
  ],
  [
    onceAfter,
    {
      idle: { "event soon": fresh.waits, "event late": fresh.waits, ...nothing },
      fired: { "event soon": fresh.waits, "event late": fresh.waits, ...nothing },
      waiting: {
        "event soon": "wait -> waiting",
        "event late": "wait -> waiting",
        early: "nothing -> waiting",
        due: "fire -> idle",
      },
      counting: { "event soon": fresh.waits, "event late": fresh.waits, ...nothing },
    },
  ],
  [
    threshold,
    {
      idle: { "event soon": fresh.counts, "event late": fresh.counts, ...nothing },
      fired: { "event soon": fresh.counts, "event late": fresh.counts, ...nothing },
      waiting: { "event soon": fresh.counts, "event late": fresh.counts, ...nothing },
      counting: {
        "event soon": "fire -> idle",
        "event late": "wait -> counting",
        early: "nothing -> counting",
        due: "nothing -> counting",
      },
    },
  ],
]

/** Steps between two events and after the last, each far enough for all that can be due. */
function runAll(limit: StormLimit, times: readonly number[], isOrdered = true): StormDecision[] {
  let state: StormState = idle
  let now = 0
  return times.map((at) => {
    now = isOrdered ? at : Math.max(now, at)
    const step = stepStorm(limit, { state, input: { type: "event", at } }, now)
    state = step.state
    return step.decision
  })
}

const ascending = fc
  .array(fc.integer({ min: 0, max: 30 }), { maxLength: 60 })
  .map((gaps) => gaps.map((_, index) => 1_000 + gaps.slice(0, index + 1).reduce((sum, gap) => sum + gap, 0)))
const anyOrder = fc.array(fc.integer({ min: 1_000, max: 1_200 }), { maxLength: 60 })

describe("R13: storm control", () => {
  test.each(tables)("every state and input of %o", (limit, table) => {
    for (const [kind, row] of Object.entries(table)) {
      for (const [name, expected] of Object.entries(row)) {
        const { input, now } = inputs[name as keyof typeof inputs]
        const step = stepStorm(limit, { state: states[kind as StormState["kind"]], input }, now)
        expect(`${step.decision} -> ${step.state.kind}`, `${kind}, ${name}`).toBe(expected)
      }
    }
  })

  test("once within fires when no firing was less than its time before, in any order of events", () => {
    fc.assert(
      fc.property(anyOrder, (times) => {
        const fired: number[] = []
        const expected = times.map((at) => {
          if (fired.some((before) => at - before < 10)) return "suppress"
          fired.push(at)
          return "fire"
        })
        expect(runAll(onceWithin, times, false)).toEqual(expected)
      }),
    )
  })

  test("once within counts what it suppresses, and says until when it matters", () => {
    const first = stepStorm(onceWithin, { state: idle, input: { type: "event", at: 100 } }, 100)
    const second = stepStorm(onceWithin, { state: first.state, input: { type: "event", at: 103 } }, 103)
    expect(second).toEqual({
      state: { kind: "fired", firedAt: 100, suppressedCount: 1 },
      decision: "suppress",
      expiresAt: 110,
    })
  })

  test("once after quiet fires once for each stretch of events without a gap as long as the quiet", () => {
    fc.assert(
      fc.property(ascending, (times) => {
        const gaps = times.filter((at, index) => (times[index + 1] ?? Number.POSITIVE_INFINITY) - at >= 10)
        const fired: number[] = []
        let state: StormState = idle
        for (const [index, at] of times.entries()) {
          state = stepStorm(onceAfter, { state, input: { type: "event", at } }, at).state
          const until = times[index + 1] ?? at + 1_000
          for (let now = at; now <= until; now++) {
            const step = stepStorm(onceAfter, { state, input: { type: "time" } }, now)
            state = step.state
            if (step.decision === "fire") fired.push(now)
          }
        }
        expect(fired).toEqual(gaps.map((at) => at + 10))
      }),
    )
  })

  test("a reader that is behind does not take its own delay for quiet", () => {
    const step = stepStorm(onceAfter, { state: idle, input: { type: "event", at: 100 } }, 500)
    expect(step.dueAt).toBe(510)
  })

  test("a threshold fires where the last so many since the firing before lie within its time", () => {
    fc.assert(
      fc.property(ascending, (times) => {
        let since: number[] = []
        const expected = times.map((at) => {
          since.push(at)
          if (since.filter((time) => time > at - 10).length < 3) return "wait"
          since = []
          return "fire"
        })
        expect(runAll(threshold, times)).toEqual(expected)
      }),
    )
  })

  test("the state of a threshold holds fewer times than it counts, in any order of events", () => {
    fc.assert(
      fc.property(anyOrder, (times) => {
        let state: StormState = idle
        for (const at of times) {
          state = stepStorm(threshold, { state, input: { type: "event", at } }, at).state
          if (state.kind !== "counting") continue
          expect(state.times.length).toBeLessThan(3)
          expect(state.times).toEqual(state.times.toSorted((a, b) => a - b))
        }
      }),
    )
  })
})

describe("R13: a rule's budget", () => {
  const budget = { firings: 5, withinMilliseconds: 600 }
  const slot = budget.withinMilliseconds / budgetSlots

  test("no stretch of its length holds more firings, and one slot longer without them allows one again", () => {
    fc.assert(
      fc.property(ascending, (times) => {
        let state: BudgetState = []
        const allowed: number[] = []
        for (const at of times) {
          const spent = spendFiring(budget, state, at)
          state = spent.state
          const recent = allowed.filter((before) => before > at - budget.withinMilliseconds)
          if (spent.isAllowed) expect(recent.length).toBeLessThan(budget.firings)
          const lately = allowed.filter((before) => before > at - budget.withinMilliseconds - 2 * slot)
          if (lately.length < budget.firings) expect(spent.isAllowed).toBe(true)
          if (spent.isAllowed) allowed.push(at)
          expect(state.length).toBeLessThanOrEqual(Math.min(budget.firings, budgetSlots + 1))
        }
      }),
    )
  })

  test("a firing that comes late takes from the budget of now", () => {
    let state: BudgetState = []
    for (const at of [1_000, 1_000, 400, 400, 400]) state = spendFiring(budget, state, at).state
    expect(spendFiring(budget, state, 400).isAllowed).toBe(false)
    expect(state.reduce((sum, [, count]) => sum + count, 0)).toBe(5)
  })
})
