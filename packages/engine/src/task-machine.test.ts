import { describe, expect, test } from "vitest"
import { isTaskEnded, nextTaskState, taskStates, type TaskEvent } from "./task-machine.ts"
import type { TaskState } from "./types.ts"

type Row = Readonly<Record<TaskEvent, TaskState | "-">>

const never: Row = {
  start: "-",
  started: "-",
  succeed: "-",
  fail: "-",
  retry: "-",
  interrupt: "-",
  abort: "-",
  skip: "-",
  unreach: "-",
  rest: "-",
  "give-up": "-",
}

/** Every state with every event; "-" is refused. */
const expected: Readonly<Record<TaskState, Row>> = {
  queued: {
    start: "starting",
    started: "-",
    succeed: "-",
    fail: "-",
    retry: "-",
    interrupt: "-",
    abort: "-",
    skip: "-",
    unreach: "-",
    rest: "never-started",
    "give-up": "failed",
  },
  starting: {
    start: "-",
    started: "running",
    succeed: "succeeded",
    fail: "failed",
    retry: "queued",
    interrupt: "interrupted",
    abort: "aborted",
    skip: "skipped",
    unreach: "unreachable",
    rest: "-",
    "give-up": "-",
  },
  running: {
    start: "-",
    started: "-",
    succeed: "succeeded",
    fail: "failed",
    retry: "queued",
    interrupt: "interrupted",
    abort: "aborted",
    skip: "skipped",
    unreach: "unreachable",
    rest: "-",
    "give-up": "-",
  },
  succeeded: never,
  failed: never,
  aborted: never,
  interrupted: never,
  unreachable: never,
  skipped: never,
  "never-started": never,
}

describe("the states of a task", () => {
  for (const [state, row] of Object.entries(expected)) {
    for (const [event, next] of Object.entries(row)) {
      test(`${state} --${event}--> ${next}`, () => {
        expect(nextTaskState(state as TaskState, event as TaskEvent) ?? "-").toBe(next)
      })
    }
  }

  test("I4: the ended states are those that nothing leaves, seven of them (D14)", () => {
    expect(taskStates).toEqual(Object.keys(expected))
    for (const state of taskStates) {
      expect(isTaskEnded(state)).toBe(Object.values(expected[state]).every((next) => next === "-"))
    }
    expect(taskStates.filter(isTaskEnded)).toHaveLength(7)
  })
})
