import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  stepCorrelation,
  type Correlation,
  type CorrelationInput,
  type CorrelationState,
  type CorrelationStep,
  type MemberList,
} from "./correlation.ts"

const all: Correlation = { kind: "all", membersCount: 3, withinMilliseconds: 10 }
const any: Correlation = { kind: "any", membersCount: 2, withinMilliseconds: 10 }
const none: Correlation = { kind: "none", membersCount: 2, withinMilliseconds: 10 }

const states: Readonly<Record<CorrelationState["kind"], CorrelationState>> = {
  idle: { kind: "idle" },
  collecting: { kind: "collecting", seen: [100, 98, null] },
  fired: { kind: "fired", firedAt: 100, suppressedCount: 0 },
  awaiting: { kind: "awaiting", first: { at: 100, dueAt: 110 }, last: { at: 100, dueAt: 110 } },
  satisfied: { kind: "satisfied", at: 100 },
}

const eventOf = (at: number, list: MemberList, index = 0) =>
  ({ input: { type: "event", at, members: [{ list, index }] }, now: at }) as const

const memberInputs = (list: MemberList) => ({
  "a member soon": eventOf(105, list),
  "the last member soon": eventOf(105, list, 2),
  "the last member late": eventOf(130, list, 2),
  early: { input: { type: "time" }, now: 105 } as const,
  due: { input: { type: "time" }, now: 110 } as const,
})
const noneInputs = {
  "after, older": eventOf(95, "after"),
  "after, soon": eventOf(105, "after"),
  "none, older": eventOf(95, "none"),
  "none, soon": eventOf(105, "none"),
  "none, late": eventOf(130, "none"),
  early: { input: { type: "time" }, now: 105 } as const,
  due: { input: { type: "time" }, now: 110 } as const,
}

type Cell = `${CorrelationStep["decision"]} -> ${CorrelationState["kind"]}`
type Row = readonly Cell[]
type Table = Readonly<Record<CorrelationState["kind"], Row>>

const collects: Row = [
  ...Array.from({ length: 3 }, () => "wait -> collecting" as const),
  "nothing -> idle",
  "nothing -> idle",
]
const fires: Row = [...Array.from({ length: 3 }, () => "fire -> fired" as const), "nothing -> idle", "nothing -> idle"]
const begins: Row = [
  "wait -> awaiting",
  "wait -> awaiting",
  "wait -> satisfied",
  "wait -> satisfied",
  "wait -> satisfied",
  "nothing -> idle",
  "nothing -> idle",
]

const tables: ReadonlyArray<readonly [Correlation, Readonly<Record<string, Given>>, Table]> = [
  [
    all,
    memberInputs("all"),
    {
      idle: collects,
      collecting: [
        "wait -> collecting",
        "fire -> idle",
        "wait -> collecting",
        "nothing -> collecting",
        "nothing -> collecting",
      ],
      fired: collects,
      awaiting: collects,
      satisfied: collects,
    },
  ],
  [
    any,
    memberInputs("any"),
    {
      idle: fires,
      collecting: fires,
      fired: ["suppress -> fired", "suppress -> fired", "fire -> fired", "nothing -> fired", "nothing -> fired"],
      awaiting: fires,
      satisfied: fires,
    },
  ],
  [
    none,
    noneInputs,
    {
      idle: begins,
      collecting: begins,
      fired: begins,
      awaiting: [
        "wait -> awaiting",
        "wait -> awaiting",
        "wait -> awaiting",
        "wait -> satisfied",
        "wait -> awaiting",
        "nothing -> awaiting",
        "fire -> idle",
      ],
      satisfied: [
        "suppress -> satisfied",
        "wait -> awaiting",
        "wait -> satisfied",
        "wait -> satisfied",
        "wait -> satisfied",
        "nothing -> satisfied",
        "nothing -> satisfied",
      ],
    },
  ],
]

const story = fc.array(fc.record({ gap: fc.integer({ min: 0, max: 12 }), member: fc.integer({ min: 0, max: 2 }) }), {
  maxLength: 50,
})

function timed(gaps: ReadonlyArray<{ gap: number; member: number }>): Array<{ at: number; member: number }> {
  let at = 1_000
  return gaps.map(({ gap, member }) => ({ at: (at += gap), member }))
}

interface Given {
  readonly input: CorrelationInput
  readonly now: number
}

describe("R16: correlation of several events", () => {
  test.each(tables)("every state and input of %o", (correlation, inputs, table) => {
    for (const [kind, row] of Object.entries(table)) {
      for (const [index, [name, { input, now }]] of Object.entries(inputs).entries()) {
        const state = states[kind as CorrelationState["kind"]]
        const step = stepCorrelation(correlation, { state, input }, now)
        expect(`${step.decision} -> ${step.state.kind}`, `${kind}, ${name}`).toBe(row[index])
      }
    }
  })

  test("all fires when each member was seen within the time since the firing before", () => {
    fc.assert(
      fc.property(story, (gaps) => {
        let state: CorrelationState = states.idle
        let since: Array<{ at: number; member: number }> = []
        for (const { at, member } of timed(gaps)) {
          const step = stepCorrelation(all, { state, input: eventOf(at, "all", member).input }, at)
          state = step.state
          since.push({ at, member })
          const isComplete = [0, 1, 2].every((each) => since.some((seen) => seen.member === each && seen.at >= at - 10))
          expect(step.decision).toBe(isComplete ? "fire" : "wait")
          if (isComplete) since = []
        }
      }),
    )
  })

  test("all does not mind the order in which it hears of events", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2], { minLength: 3 }), (order) => {
        let state: CorrelationState = states.idle
        const decisions = order.map((member) => {
          const { input } = eventOf(1_000 + member, "all", member)
          const step = stepCorrelation(all, { state, input }, 1_010)
          state = step.state
          return step.decision
        })
        expect(decisions).toEqual(["wait", "wait", "fire"])
      }),
    )
  })

  test("one event may be several members", () => {
    const members = [0, 1, 2].map((index) => ({ list: "all", index }) as const)
    const input = { type: "event", at: 1_000, members } as const
    expect(stepCorrelation(all, { state: states.idle, input }, 1_000).decision).toBe("fire")
  })

  const storyOfNone = fc.array(
    fc.record({ gap: fc.integer({ min: 1, max: 9 }), list: fc.constantFrom("after" as const, "none" as const) }),
    { maxLength: 50 },
  )

  test("none fires when nothing followed an event for the time, and once for all that waited by then", () => {
    fc.assert(
      fc.property(storyOfNone, (gaps) => {
        let at = 1_000
        const events = gaps.map(({ gap, list }) => ({ at: (at += gap), list }))
        const expected: number[] = []
        let waits: number[] = []
        for (let now = 1_000; now <= at + 100; now++) {
          const event = events.find((each) => each.at === now)
          if (event?.list === "none") waits = []
          if (event?.list === "after") waits.push(now)
          if (waits.some((since) => since + 10 === now)) {
            expected.push(now)
            waits = []
          }
        }
        const fired: number[] = []
        let state: CorrelationState = states.idle
        for (let now = 1_000; now <= at + 100; now++) {
          const event = events.find((each) => each.at === now)
          if (event) state = stepCorrelation(none, { state, input: eventOf(now, event.list).input }, now).state
          const step = stepCorrelation(none, { state, input: { type: "time" } }, now)
          state = step.state
          if (step.decision === "fire") fired.push(now)
        }
        expect(fired).toEqual(expected)
      }),
    )
  })

  test("none is satisfied by what followed, whichever of two is heard of first", () => {
    fc.assert(
      fc.property(fc.boolean(), fc.integer({ min: 0, max: 9 }), (isReversed, gap) => {
        const two = [eventOf(1_000, "after").input, eventOf(1_000 + gap, "none").input]
        let state: CorrelationState = states.idle
        for (const input of isReversed ? two.toReversed() : two)
          state = stepCorrelation(none, { state, input }, 1_010).state
        expect(stepCorrelation(none, { state, input: { type: "time" } }, 2_000).decision).toBe("nothing")
      }),
    )
  })

  test("an event that is both ends the wait before it and begins another: a sign of life", () => {
    let state: CorrelationState = states.idle
    const members = [{ list: "after", index: 0 } as const, { list: "none", index: 0 } as const]
    for (const at of [1_000, 1_009, 1_018])
      state = stepCorrelation(none, { state, input: { type: "event", at, members } }, at).state
    expect(stepCorrelation(none, { state, input: { type: "time" } }, 1_027).decision).toBe("nothing")
    expect(stepCorrelation(none, { state, input: { type: "time" } }, 1_028).decision).toBe("fire")
  })
})
