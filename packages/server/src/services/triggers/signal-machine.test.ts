import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  advance,
  classify,
  eventOf,
  isRaised,
  type SignalInput,
  type SignalPosition,
  type SignalState,
} from "./signal-machine.ts"

const states: readonly SignalState[] = ["unknown", "clear", "pending", "raised", "clearing"]
const minute = 60_000
const holding = { raise: { above: 90, holdMs: minute }, clear: { below: 80, holdMs: minute } }
const atOnce = { raise: { above: 90, holdMs: 0 }, clear: { below: 80, holdMs: 0 } }

type Column = "raises" | "raises, held" | "between" | "clears" | "clears, held" | "missing: raised" | "missing: keep"

/** Every state with every input, where both thresholds have to hold for a minute. */
const expected: Readonly<Record<SignalState, Readonly<Record<Column, SignalState>>>> = {
  unknown: {
    raises: "pending",
    "raises, held": "pending",
    between: "clear",
    clears: "clear",
    "clears, held": "clear",
    "missing: raised": "raised",
    "missing: keep": "unknown",
  },
  clear: {
    raises: "pending",
    "raises, held": "pending",
    between: "clear",
    clears: "clear",
    "clears, held": "clear",
    "missing: raised": "raised",
    "missing: keep": "clear",
  },
  pending: {
    raises: "pending",
    "raises, held": "raised",
    between: "clear",
    clears: "clear",
    "clears, held": "clear",
    "missing: raised": "raised",
    "missing: keep": "pending",
  },
  raised: {
    raises: "raised",
    "raises, held": "raised",
    between: "raised",
    clears: "clearing",
    "clears, held": "clearing",
    "missing: raised": "raised",
    "missing: keep": "raised",
  },
  clearing: {
    raises: "raised",
    "raises, held": "raised",
    between: "raised",
    clears: "clearing",
    "clears, held": "clear",
    "missing: raised": "raised",
    "missing: keep": "clearing",
  },
}

function inputOf(column: Column): SignalInput {
  const [type = "", as] = column.split(": ")
  if (type === "missing") return { type, as: as === "raised" ? "raised" : "keep" }
  return { type: type.replace(", held", "") as "raises" | "between" | "clears" }
}

describe("R5: the states of a signal on a node", () => {
  test.each(states)("%s with every input", (state) => {
    for (const [column, next] of Object.entries(expected[state])) {
      const now = column.endsWith("held") ? minute : minute - 1
      const position = { state, since: 0 }
      const after = advance(position, inputOf(column as Column), { rule: holding, now })
      expect(after, column).toEqual(next === state ? position : { state: next, since: now })
    }
  })

  test("where nothing has to hold, a value beyond a threshold is enough", () => {
    const from = (state: SignalState, type: "raises" | "clears") =>
      advance({ state, since: 0 }, { type }, { rule: atOnce, now: 1 }).state
    expect([from("unknown", "raises"), from("clear", "raises")]).toEqual(["raised", "raised"])
    expect(from("raised", "clears")).toBe("clear")
  })

  test("values on a threshold are beyond neither", () => {
    const types = [79.9, 80, 85, 90, 90.1].map((value) => classify(holding, value).type)
    expect(types).toEqual(["clears", "between", "between", "between", "raises"])
    const low = { raise: { below: 10, holdMs: 0 }, clear: { above: 20, holdMs: 0 } }
    expect([9, 10, 20, 21].map((value) => classify(low, value).type)).toEqual([
      ...["raises", "between", "between", "clears"],
    ])
  })

  const samples = fc.array(
    fc.record({
      type: fc.constantFrom<"raises" | "between" | "clears">("raises", "between", "clears"),
      after: fc.integer({ min: 1, max: minute }),
    }),
    { maxLength: 60 },
  )

  test("what is told alternates; it is raised only after a minute beyond, and cleared only after a minute below", () => {
    fc.assert(
      fc.property(samples, (all) => {
        let position: SignalPosition = { state: "unknown", since: 0 }
        let now = 0
        let run: { type: string; since: number } = { type: "", since: 0 }
        const told: string[] = []
        for (const { type, after } of all) {
          now += after
          if (run.type !== type) run = { type, since: now }
          const next = advance(position, { type }, { rule: holding, now })
          const event = eventOf(position.state, next.state)
          if (event === "signal.raised") expect([type, now - run.since >= minute]).toEqual(["raises", true])
          if (event === "signal.cleared") expect([type, now - run.since >= minute]).toEqual(["clears", true])
          if (type === "between") expect(isRaised(next.state)).toBe(isRaised(position.state))
          if (event) told.push(event)
          position = next
        }
        for (const [index, event] of told.entries())
          expect(event).toBe(index % 2 === 0 ? "signal.raised" : "signal.cleared")
      }),
    )
  })
})
