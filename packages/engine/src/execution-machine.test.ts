import { describe, expect, test } from "vitest"
import { executionStates, isExecutionEnded, nextExecutionState, type ExecutionEvent } from "./execution-machine.ts"
import type { ExecutionState } from "./types.ts"

type Row = Readonly<Record<ExecutionEvent, ExecutionState | "-">>

const never: Row = {
  planned: "-",
  pause: "-",
  resume: "-",
  drain: "-",
  stop: "-",
  "end-well": "-",
  "end-badly": "-",
  "settle-by-itself": "-",
  "settle-by-person": "-",
}

/** Every state with every event; "-" is refused. */
const expected: Readonly<Record<ExecutionState, Row>> = {
  planning: {
    planned: "running",
    pause: "-",
    resume: "-",
    drain: "-",
    stop: "aborting",
    "end-well": "-",
    "end-badly": "-",
    "settle-by-itself": "-",
    "settle-by-person": "-",
  },
  running: {
    planned: "-",
    pause: "pausing",
    resume: "-",
    drain: "-",
    stop: "aborting",
    "end-well": "succeeded",
    "end-badly": "incomplete",
    "settle-by-itself": "-",
    "settle-by-person": "-",
  },
  pausing: {
    planned: "-",
    pause: "-",
    resume: "running",
    drain: "paused",
    stop: "aborting",
    "end-well": "succeeded",
    "end-badly": "incomplete",
    "settle-by-itself": "-",
    "settle-by-person": "-",
  },
  paused: {
    planned: "-",
    pause: "-",
    resume: "running",
    drain: "-",
    stop: "aborting",
    "end-well": "-",
    "end-badly": "-",
    "settle-by-itself": "-",
    "settle-by-person": "-",
  },
  aborting: {
    planned: "-",
    pause: "-",
    resume: "-",
    drain: "-",
    stop: "-",
    "end-well": "-",
    "end-badly": "-",
    "settle-by-itself": "failed",
    "settle-by-person": "aborted",
  },
  succeeded: never,
  incomplete: never,
  failed: never,
  aborted: never,
}

describe("the states of an execution", () => {
  for (const [state, row] of Object.entries(expected)) {
    for (const [event, next] of Object.entries(row)) {
      test(`${state} --${event}--> ${next}`, () => {
        expect(nextExecutionState(state as ExecutionState, event as ExecutionEvent) ?? "-").toBe(next)
      })
    }
  }

  test("I4: the ended states are those that nothing leaves", () => {
    expect(executionStates).toEqual(Object.keys(expected))
    for (const state of executionStates) {
      expect(isExecutionEnded(state)).toBe(Object.values(expected[state]).every((next) => next === "-"))
    }
  })
})
