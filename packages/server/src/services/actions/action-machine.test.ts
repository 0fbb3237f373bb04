import { describe, expect, test } from "vitest"
import { retryPausesMilliseconds } from "./action-limits.ts"
import { actionTransitions, decideNext, findLoop, type ActionEvent, type ActionState } from "./action-machine.ts"

const events = ["claim", "done", "hold", "retry", "give-up", "cancel", "redrive"] as const satisfies ActionEvent[]
const none = Object.fromEntries(events.map((event) => [event, "-"])) as Record<ActionEvent, "-">

const expected: Readonly<Record<ActionState, Readonly<Record<ActionEvent, ActionState | "-">>>> = {
  queued: { ...none, claim: "running", cancel: "cancelled" },
  running: {
    ...none,
    claim: "running",
    done: "succeeded",
    hold: "held",
    retry: "failed",
    "give-up": "dead",
    cancel: "cancelled",
  },
  failed: { ...none, claim: "running", cancel: "cancelled" },
  held: { ...none, done: "succeeded", "give-up": "dead", cancel: "cancelled" },
  dead: { ...none, redrive: "queued" },
  succeeded: none,
  cancelled: none,
  stopped: none,
}

describe("R8: the life of a run", () => {
  test.each(Object.entries(expected))("every event of a run that is %s", (state, row) => {
    const actual = events.map((event) => [event, actionTransitions[state as ActionState][event] ?? "-"])
    expect(Object.fromEntries(actual)).toEqual(row)
  })

  test("a refusal is given up at once, a failure after the last pause; pauses are spread by a fifth", () => {
    const failed = { kind: "failed", code: "storage.unavailable", message: "", isRetryable: true } as const
    const at = (attempts: number, fraction: number) => ({
      ...{ attempts, fraction, pausesMilliseconds: retryPausesMilliseconds },
    })
    expect(decideNext({ ...failed, isRetryable: false }, at(1, 0))).toEqual({ event: "give-up" })
    expect(decideNext(failed, at(1, 0))).toEqual({ event: "retry", inMilliseconds: 800 })
    expect(decideNext(failed, at(2, 1))).toEqual({ event: "retry", inMilliseconds: 6_000 })
    expect(decideNext(failed, at(9, 0)).event).toBe("retry")
    expect(decideNext(failed, at(10, 0))).toEqual({ event: "give-up" })
  })
})

describe("R13: the guard against loops", () => {
  const chain = { rule: "r", ruleDepths: 0, depthMax: 8, sameRuleMax: 4 }
  test.each([
    [7, 3, false],
    [8, 0, true],
    [7, 4, true],
  ])("an event %i deep, of a rule that acted at %i depths: stopped %s", (depth, ruleDepths, isStopped) => {
    expect(findLoop({ depth }, { ...chain, ruleDepths }) !== undefined).toBe(isStopped)
  })
})
