import { describe, expect, test } from "vitest"
import { openCommands, recoverState, wishInputs } from "./recover.ts"
import { newState } from "./scheduler.ts"
import { EngineRun } from "./simulator/engine-run.ts"
import type { ExecutionRows, OpenTask, StepResult, Wish } from "./types.ts"

/** A run with one task in each condition that holds a slot: 0 starting, 1 running, 2 waiting for a retry, 3 being rolled back. */
function prepared(): EngineRun {
  const run = new EngineRun({ width: 4, attemptsMax: 2, errorsMax: 3 })
  run.step({ type: "planned" })
  run.step({ type: "task-started", ordinal: 1, attempt: 1 })
  run.finish("failed", 2)
  run.finish("interrupted", 3)
  return run
}

function recover(run: EngineRun, wish: Wish = "run"): StepResult {
  return run.take(recoverState(run.plan, { ...run.store.rows(), wish }, run.now))
}

describe("recovery", () => {
  test("I14, I5: the same attempts are sent again, and their time begins anew", () => {
    const run = prepared()
    run.now += 3_600_000
    recover(run)
    expect(run.commands()).toEqual(["start 0/1", "start 1/1", "rollback 3/1"])
    expect(run.last?.taskChanges).toEqual([])
    expect(run.last?.wakeAt).toBe(run.now + run.plan.retryDelayMilliseconds)
    run.wait(run.plan.retryDelayMilliseconds)
    expect(run.commands()).toEqual(["start 2/2"])
    run.finish("succeeded", 0, 1, 2)
    expect(run.states()).toMatch(/^succeeded succeeded succeeded interrupted starting starting starting queued/)
  })

  test("I10, I12: what the rows say of a node's being touched, and of what it has said, holds after the recovery", () => {
    const run = prepared()
    recover(run)
    const late = run.step({ type: "task-accepted", ordinal: 1, attempt: 1 })
    expect(late.ignored.map(({ why }) => why)).toEqual(["repeated"])
    run.wait(run.plan.startTimeoutMilliseconds)
    expect(run.row(0)).toMatchObject({ state: "unreachable", rollback: "none" })
    expect(run.row(2)).toMatchObject({ state: "starting", attempt: 2 })
    run.wait(run.plan.retryDelayMilliseconds)
    expect(run.row(2)).toMatchObject({ state: "unreachable", rollback: "pending" })
  })

  test("I14: a wish that was stored and not yet acted on is acted on", () => {
    expect(recover(prepared(), "pause").execution?.state).toBe("pausing")
    const finish = recover(prepared(), "abort-finish")
    expect(finish.execution).toMatchObject({ state: "aborting", stop: { by: "person", mode: "finish" } })
    expect(finish.neverStarted).toEqual({ from: 4, to: 10 })
    const kill = prepared()
    recover(kill, "abort-kill")
    expect(kill.commands()).toContain("kill 1/1 abort")
    expect(kill.row(2)).toMatchObject({ state: "failed", rollback: "pending" })
  })

  test("I14: a stopped run is given its range of never-started tasks again, and its kills", () => {
    const run = prepared()
    run.step({ type: "abort", mode: "kill" })
    recover(run, "abort-kill")
    expect(run.last?.neverStarted).toEqual({ from: 4, to: 10 })
    expect(run.commands()).toEqual(["kill 0/1 abort", "kill 1/1 abort", "rollback 2/1", "rollback 3/1"])
    expect(run.last?.wakeAt).toBe(run.now + run.plan.graceMilliseconds)
    run.step({ type: "task-started", ordinal: 0, attempt: 1 })
    run.wait(run.plan.graceMilliseconds)
    expect(run.states()).toMatch(/^interrupted interrupted failed interrupted never-started/)
  })

  test("I14: the rest may have been written as never-started only in part", () => {
    const run = prepared()
    run.step({ type: "abort", mode: "finish" })
    const rows = run.store.rows()
    const counts = { ...rows.counts, queued: 4, "never-started": 2 }
    const { state, neverStarted } = recoverState(run.plan, { ...rows, counts }, run.now)
    expect(state.counts).toEqual(rows.counts)
    expect(neverStarted).toEqual({ from: 4, to: 10 })
  })

  test("I14: planning is taken up as planning, an ended execution stays as it is", () => {
    const planning = new EngineRun()
    expect(recover(planning)).toMatchObject({ commands: [], state: { execution: "planning" } })
    planning.step({ type: "abort", mode: "finish" })
    expect(recover(planning, "pause")).toMatchObject({ commands: [], taskChanges: [], state: { execution: "aborted" } })
  })

  test("rows that contradict each other are a bug, not a state", () => {
    const run = prepared()
    const rows = run.store.rows()
    const [first] = rows.openTasks
    if (!first) expect.fail("a task is open")
    const spoiled = (change: Partial<OpenTask>): ExecutionRows => ({
      ...rows,
      openTasks: rows.openTasks.map((task) => (task === first ? { ...task, ...change } : task)),
    })
    const broken = [
      [{ ...rows, nextOrdinal: 2 }, "never started"],
      [{ ...rows, openTasks: [...rows.openTasks, first] }, "given once"],
      [spoiled({ ordinal: 5 }), "beyond nextOrdinal"],
      [spoiled({ state: "succeeded" }), "holds no slot"],
      [spoiled({ attempt: 0 }), "without an attempt"],
      [{ ...rows, counts: { ...rows.counts, queued: 0 } }, "never started"],
      [{ ...rows, counts: { ...rows.counts, failed: 9 } }, "add up"],
      [{ ...rows, rollbacks: { ...rows.rollbacks, none: 0 } }, "add up"],
    ] as const
    for (const [bad, message] of broken) expect(() => recoverState(run.plan, bad, run.now)).toThrow(message)
    expect(() => recoverState({ ...run.plan, width: 0 }, rows, run.now)).toThrow("width")
  })
})

describe("a node that connects again", () => {
  test("is told what is in flight on it, once more", () => {
    const { state } = prepared()
    expect(openCommands(state, [3, 1, 9, 2, 77])).toEqual([
      { type: "rollback", ordinal: 3, attempt: 1 },
      { type: "start", ordinal: 1, attempt: 1 },
    ])
  })
})

describe("what a person wishes", () => {
  const run = prepared()
  const aborting = prepared()
  aborting.step({ type: "abort", mode: "finish" })
  const pausing = prepared()
  pausing.step({ type: "pause" })
  const planning = newState(run.plan, 0)

  test.each([
    ["running", run.state, ["", "pause", "abort finish", "abort kill"]],
    ["pausing", pausing.state, ["resume", "", "abort finish", "abort kill"]],
    ["aborting", aborting.state, ["", "", "", "abort kill"]],
    ["planning", planning, ["", "", "abort finish", "abort kill"]],
  ] as const)("I9: %s", (_, state, expected) => {
    const wishes = ["run", "pause", "abort-finish", "abort-kill"] as const
    const inputs = wishes.map((wish) =>
      wishInputs(state, wish).map((one) => ("mode" in one ? `abort ${one.mode}` : one.type)),
    )
    expect(inputs.map((one) => one.join())).toEqual(expected)
  })
})
