import { describe, expect, test } from "vitest"
import { openCommands, recoverState, settingInputs, wishInputs } from "./recover.ts"
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

  test("I19: nothing is given up before nodes have had time to find the new owner, whatever a person wishes", () => {
    for (const wish of ["run", "abort-kill"] as const) {
      const run = new EngineRun({ width: 2, startTimeoutMilliseconds: 300, reconnectMilliseconds: 9000 })
      run.step({ type: "planned" })
      run.step({ type: "task-started", ordinal: 1, attempt: 1 })
      recover(run, wish)
      run.wait(8999)
      expect(run.states()).toMatch(/^starting running/)
      run.wait(1)
      expect(run.states()).toMatch(wish === "run" ? /^unreachable running/ : /^unreachable interrupted/)
    }
  })

  test("I19: a kill that was on its way when its server died is answered within that time, too", () => {
    const run = new EngineRun({ width: 1, reconnectMilliseconds: 9000 })
    run.step({ type: "planned" })
    run.step({ type: "abort", mode: "kill" })
    recover(run, "abort-kill")
    expect(run.commands()).toEqual(["kill 0/1 abort"])
    run.wait(8999)
    run.finish("succeeded", 0)
    expect(run.states()).toMatch(/^succeeded never-started/)
    expect(run.store.execution).toBe("aborted")
  })

  test("I19: a target that a new owner starts waits for its node as long, too", () => {
    const run = new EngineRun({ width: 1, startTimeoutMilliseconds: 300, reconnectMilliseconds: 9000 })
    run.step({ type: "planned" })
    recover(run)
    run.finish("succeeded", 0)
    run.wait(8999)
    expect(run.states()).toMatch(/^succeeded starting queued/)
    run.wait(1)
    expect(run.states()).toMatch(/^succeeded unreachable/)
  })

  test("I14, I18: every kind of waiting begins anew, as long as it was", () => {
    const ends = (milliseconds: number, row: number): void => {
      const run = prepared()
      recover(run)
      const before = run.row(row)
      run.step({ type: "abort", mode: "finish" })
      run.wait(milliseconds - 1)
      expect(run.row(row)).toEqual(before)
      run.wait(1)
      expect(run.row(row)).not.toEqual(before)
    }
    const { startTimeoutMilliseconds, taskTimeoutMilliseconds, rollbackTimeoutMilliseconds, graceMilliseconds } =
      prepared().plan
    ends(startTimeoutMilliseconds, 0)
    ends(taskTimeoutMilliseconds + graceMilliseconds, 1)
    ends(rollbackTimeoutMilliseconds + graceMilliseconds, 3)
  })

  test("I10: a later attempt that was not accepted leaves a node that an earlier one touched, also over a recovery", () => {
    const run = new EngineRun({ attemptsMax: 2, width: 1, retryDelayMilliseconds: 0 })
    run.step({ type: "planned" })
    run.finish("failed", 0)
    expect(run.row(0)).toMatchObject({ state: "starting", attempt: 2 })
    recover(run)
    run.wait(run.plan.startTimeoutMilliseconds)
    expect(run.row(0)).toMatchObject({ state: "unreachable", rollback: "pending" })
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

describe("recovery of the pace", () => {
  const waves = { waves: [2, 10], bakeMilliseconds: 5000 }

  function baking(): EngineRun {
    const run = new EngineRun(waves)
    run.step({ type: "planned" })
    run.finish("succeeded", 0, 1)
    return run
  }

  test("I21: a bake that is on record goes on, also one that ended meanwhile", () => {
    const run = baking()
    run.now += 2000
    recover(run)
    expect(run.commands()).toEqual([])
    expect(run.last?.execution).toBeUndefined()
    expect(run.last?.wakeAt).toBe(5000)
    run.wait(3000)
    expect(run.commands()).toEqual(["start 2/1", "start 3/1"])
    const late = baking()
    late.now += 60_000
    recover(late)
    expect(late.commands()).toEqual(["start 2/1", "start 3/1"])
  })

  test("I21: a bake that is not on record, or longer than one, begins anew", () => {
    const run = baking()
    const rows = { ...run.store.rows(), bakeUntil: null }
    run.now += 4000
    expect(recoverState(run.plan, rows, run.now)).toMatchObject({ wakeAt: 9000, execution: { bakeUntil: 9000 } })
    // The clock was set back by an hour since.
    const early = recoverState(run.plan, { ...run.store.rows(), bakeUntil: 3_605_000 }, 5000)
    expect(early).toMatchObject({ wakeAt: 10_000, commands: [] })
  })

  test("I21: what is on record of a bake counts only where a wave has ended", () => {
    const run = new EngineRun(waves)
    run.step({ type: "planned" })
    const { state } = recoverState(run.plan, { ...run.store.rows(), bakeUntil: 400 }, run.now)
    expect(state.bakeUntil).toBeNull()
    run.finish("succeeded", 0)
    expect(recoverState(run.plan, { ...run.store.rows(), bakeUntil: 400 }, run.now).state.bakeUntil).toBeNull()
  })

  test("I25, I26: width and hold are as they were stored, and go over to what is wanted by now", () => {
    const run = new EngineRun()
    run.step({ type: "planned" }, { type: "set-width", width: 3 }, { type: "hold-starts", reason: "closed", until: 9 })
    const rows = run.store.rows()
    const { settings: _, ...stored } = rows
    expect(recoverState(run.plan, stored, 0).state).toMatchObject({ width: 3, hold: { reason: "closed", until: 9 } })
    expect(recoverState(run.plan, stored, 0).execution).toBeUndefined()
    const opened = recoverState(run.plan, { ...rows, settings: { width: 4, hold: null } }, 0)
    expect(opened.execution).toMatchObject({ width: 4, hold: null })
    expect(opened.commands).toHaveLength(4)
    const { width: __, hold: ___, ...old } = stored
    expect(recoverState(run.plan, old, 0).state).toMatchObject({ width: 2, hold: null })
  })

  test("I24: the members of a domain in flight are known again", () => {
    const run = new EngineRun({ domains: Int32Array.of(0, 1, 0, 1, 0, 1, 0, 1, 0, -1), width: 5, errorsMax: 5 })
    run.step({ type: "planned" })
    run.finish("failed", 0)
    recover(run)
    expect(run.commands()).toEqual(["rollback 0/1", "start 1/1"])
    run.rolledBack(0)
    expect(run.commands()).toEqual(["start 2/1"])
  })

  test("I27: failures by class are on record where limits need them", () => {
    const run = new EngineRun({ errorsMaxByClass: { interrupted: 1 }, rollbackOnFailure: false, errorsMax: 5 })
    run.step({ type: "planned" })
    run.finish("interrupted", 0)
    recover(run)
    run.finish("interrupted", 1)
    expect(run.store.stop).toMatchObject({ by: "class-limit", failures: 2 })
    const { classes, ...without } = run.store.rows()
    expect(() => recoverState(run.plan, without, 0)).toThrow("by class")
    const stopWhen = { text: "false", test: () => false }
    expect(() => recoverState({ ...run.plan, errorsMaxByClass: {}, stopWhen }, without, 0)).toThrow("by class")
    const spoiled = { ...without, classes: { ...classes, timeout: 1 } }
    expect(() => recoverState(run.plan, spoiled as ExecutionRows, 0)).toThrow("the classes are of 3 failures")
  })

  test("I28: a retry waits anew, as long as before", () => {
    const run = new EngineRun({ attemptsMax: 3, width: 1, retryBackoffFactor: 4 })
    run.step({ type: "planned" })
    run.finish("failed", 0)
    run.wait(1000)
    run.finish("failed", 0)
    recover(run)
    expect(run.last?.wakeAt).toBe(run.now + 4000)
  })
})

describe("what is wanted of the pace", () => {
  test("I25, I26: leads to the inputs that are needed, and to none once nothing can start any more", () => {
    const run = new EngineRun()
    const closed = { reason: "closed", until: null }
    expect(settingInputs(run.state, { width: 2, hold: null })).toEqual([])
    expect(settingInputs(run.state, { width: 5, hold: closed })).toEqual([
      { type: "set-width", width: 5 },
      { type: "hold-starts", reason: "closed" },
    ])
    run.step({ type: "hold-starts", reason: "closed" })
    expect(settingInputs(run.state, { width: 2, hold: closed })).toEqual([])
    expect(settingInputs(run.state, { width: 2, hold: { ...closed, until: 7 } })).toEqual([
      { type: "hold-starts", reason: "closed", until: 7 },
    ])
    expect(settingInputs(run.state, { width: 2, hold: { ...closed, reason: "frozen" } })).toHaveLength(1)
    expect(settingInputs(run.state, { width: 2, hold: null })).toEqual([{ type: "release-starts" }])
    run.step({ type: "planned" }, { type: "release-starts" })
    run.step({ type: "abort", mode: "finish" })
    expect(settingInputs(run.state, { width: 5, hold: closed })).toEqual([])
    run.finish("succeeded", 0, 1)
    expect(settingInputs(run.state, { width: 5, hold: closed })).toEqual([])
  })
})

describe("rows without the failures by class", () => {
  test.each([{ errorsMaxByClass: { timeout: 1 } }, { stopWhen: { text: "false", test: () => false } }])(
    "are refused where %j needs them",
    (limits) => {
      const run = new EngineRun(limits)
      const { classes: _, ...rows } = run.store.rows()
      expect(() => recoverState(run.plan, rows, 0)).toThrow("need the failures by class")
      expect(recoverState(new EngineRun().plan, rows, 0).state.classes.timeout).toBe(0)
    },
  )
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
  const killing = prepared()
  killing.step({ type: "abort", mode: "kill" })
  const over = new EngineRun({ targetsCount: 0 })
  over.step({ type: "planned" })

  test.each([
    ["running", run.state, ["", "pause", "abort finish", "abort kill"]],
    ["pausing", pausing.state, ["resume", "", "abort finish", "abort kill"]],
    ["aborting", aborting.state, ["", "", "", "abort kill"]],
    ["killing", killing.state, ["", "", "", ""]],
    ["over", over.state, ["", "", "", ""]],
    ["planning", planning, ["", "", "abort finish", "abort kill"]],
  ] as const)("I9: %s", (_, state, expected) => {
    const wishes = ["run", "pause", "abort-finish", "abort-kill"] as const
    const inputs = wishes.map((wish) =>
      wishInputs(state, wish).map((one) => ("mode" in one ? `abort ${one.mode}` : one.type)),
    )
    expect(inputs.map((one) => one.join())).toEqual(expected)
  })
})
