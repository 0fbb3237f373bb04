import { describe, expect, test } from "vitest"
import { inputsPerStepMax, step } from "./scheduler.ts"
import { EngineRun } from "./simulator/engine-run.ts"
import { describeExecution, summarize } from "./summarize.ts"

function started(changes: ConstructorParameters<typeof EngineRun>[0] = {}): EngineRun {
  const run = new EngineRun(changes)
  run.step({ type: "planned" })
  return run
}

describe("the sentence about an execution", () => {
  test("is null while all is well", () => {
    const run = started({ targetsCount: 2 })
    expect(describeExecution(run.state)).toBeNull()
    run.finish("succeeded", 0)
    run.finish("skipped", 1)
    expect(describeExecution(run.state)).toBeNull()
    expect(summarize(run.state).whyStopped).toBeNull()
  })

  test("W7: names what went wrong, and what could not be put back, in one order", () => {
    const run = started({ targetsCount: 9, width: 9, errorsMax: 9 })
    run.finish("failed", 0, 1, 2, 3)
    run.finish("interrupted", 4)
    run.finish("aborted", 5)
    run.finish("unreachable", 6)
    for (const [ordinal, outcome] of (
      ["rollback-failed", "not-reversible", "unknown", "rolled-back"] as const
    ).entries()) {
      run.step({ type: "rollback-finished", ordinal, attempt: 1, outcome })
    }
    run.rolledBack(4, 5)
    run.finish("succeeded", 7, 8)
    expect(run.last?.execution).toMatchObject({
      state: "incomplete",
      reason:
        "4 failed; 1 interrupted; 1 aborted; 1 unreachable; 1 could not be rolled back; 1 not reversible; " +
        "1 with the result of the rollback unknown",
    })
  })

  test("begins with the stop", () => {
    const run = started()
    run.finish("succeeded", 0)
    run.step({ type: "abort", mode: "finish" })
    expect(describeExecution(run.state)).toBe("aborted by a person; 7 never-started")
    run.step({ type: "abort", mode: "kill" })
    expect(describeExecution(run.state)).toBe("aborted by a person, running tasks were killed; 7 never-started")
    expect(summarize(run.state).whyStopped).toBe("aborted by a person, running tasks were killed")
  })
})

describe("I11: a run ends well only where every target did", () => {
  test.each([
    ["failed", "aborted"],
    ["interrupted", "failed"],
    ["unreachable", "skipped"],
    ["aborted", "unreachable"],
  ] as const)("%s and %s are incomplete", (one, two) => {
    const run = started({ targetsCount: 2, errorsMax: 9, rollbackOnFailure: false })
    run.finish(one, 0)
    run.finish(two, 1)
    expect(run.store.execution).toBe("incomplete")
  })
})

describe("the summary", () => {
  test("counts, and says what drains", () => {
    const run = started({ width: 3, errorsMax: 5 })
    run.finish("unreachable", 0)
    expect(summarize(run.state)).toEqual({
      execution: "running",
      counts: run.state.counts,
      rollbacks: run.state.rollbacks,
      inFlight: 3,
      draining: 0,
      failures: 0,
      unavailable: 4,
      width: 3,
      wave: 1,
      wavesCount: 1,
      bakeUntil: null,
      hold: null,
      waitsFor: "width",
      whyStopped: null,
    })
    run.step({ type: "pause" })
    expect(summarize(run.state)).toMatchObject({ draining: 3, waitsFor: null })
    run.step({ type: "abort", mode: "finish" })
    expect(summarize(run.state)).toMatchObject({ draining: 3, waitsFor: null })
  })

  test("the last start leaves nothing to wait for", () => {
    expect(summarize(started({ targetsCount: 2 }).state).waitsFor).toBeNull()
  })
})

describe("what the caller must keep to", () => {
  test("a step takes a limited number of inputs", () => {
    const { state } = new EngineRun()
    const inputs = Array.from({ length: inputsPerStepMax + 1 }, () => ({ type: "tick" }) as const)
    expect(() => step(state, inputs, 0)).toThrow("at most 10000 inputs")
    expect(() => step(state, inputs.slice(1), 0)).not.toThrow()
  })

  test("a step takes a state of its own making", () => {
    const { state } = new EngineRun({ domains: new Int32Array(10) })
    const slots = { size: 0, get: () => undefined, values: () => [].values() }
    expect(() => step({ ...state, slots }, [], 0)).toThrow("made by newState, recoverState or step")
    expect(() => step({ ...state, domains: { get: () => 0 } }, [], 0)).toThrow("made by newState, recoverState or step")
  })
})
