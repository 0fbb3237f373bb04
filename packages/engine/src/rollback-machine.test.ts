import { describe, expect, test } from "vitest"
import { isRollbackOpen, nextRollbackState, rollbackStates, type RollbackEvent } from "./rollback-machine.ts"
import type { RollbackState } from "./types.ts"

type Row = Readonly<Record<RollbackEvent, RollbackState | "-">>

const never: Row = { ask: "-", started: "-", restored: "-", break: "-", refuse: "-", lose: "-" }

/** Every state with every event; "-" is refused. */
const expected: Readonly<Record<RollbackState, Row>> = {
  none: { ...never, ask: "pending" },
  pending: {
    ask: "-",
    started: "running",
    restored: "rolled-back",
    break: "rollback-failed",
    refuse: "not-reversible",
    lose: "unknown",
  },
  running: {
    ask: "-",
    started: "-",
    restored: "rolled-back",
    break: "rollback-failed",
    refuse: "not-reversible",
    lose: "unknown",
  },
  "rolled-back": never,
  "rollback-failed": never,
  "not-reversible": never,
  unknown: never,
}

describe("the states of a rollback", () => {
  for (const [state, row] of Object.entries(expected)) {
    for (const [event, next] of Object.entries(row)) {
      test(`${state} --${event}--> ${next}`, () => {
        expect(nextRollbackState(state as RollbackState, event as RollbackEvent) ?? "-").toBe(next)
      })
    }
  }

  test("I4: the ended states are those that nothing leaves; open are those that were asked for and have not ended", () => {
    expect(rollbackStates).toEqual(Object.keys(expected))
    const left = rollbackStates.filter((state) => Object.values(expected[state]).some((next) => next !== "-"))
    expect(left).toEqual(["none", "pending", "running"])
    expect(rollbackStates.filter(isRollbackOpen)).toEqual(["pending", "running"])
  })
})
