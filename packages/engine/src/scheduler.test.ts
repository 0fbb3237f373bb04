import { describe, expect, test } from "vitest"
import { newState, startsPerStepMax, step } from "./scheduler.ts"
import { EngineRun, examplePlan } from "./simulator/engine-run.ts"
import { summarize } from "./summarize.ts"
import type { EngineInput, ExecutionState, TaskOutcome } from "./types.ts"

function started(changes: ConstructorParameters<typeof EngineRun>[0] = {}): EngineRun {
  const run = new EngineRun(changes)
  run.step({ type: "planned" })
  return run
}

const report = (
  type: "task-accepted" | "task-started" | "rollback-started",
  ordinal: number,
  attempt = 1,
): EngineInput => ({
  type,
  ordinal,
  attempt,
})

const finished = (ordinal: number, attempt: number, outcome: TaskOutcome): EngineInput => ({
  type: "task-finished",
  ordinal,
  attempt,
  outcome,
})

describe("the window", () => {
  test("I6, I1: targets start in order of their ordinals, as many at once as the width, sliding", () => {
    const run = started({ targetsCount: 4 })
    expect(run.commands()).toEqual(["start 0/1", "start 1/1"])
    run.finish("succeeded", 1)
    expect(run.commands()).toEqual(["start 2/1"])
    run.finish("succeeded", 0, 2)
    expect(run.commands()).toEqual(["start 3/1"])
    run.finish("skipped", 3)
    expect(run.store.execution).toBe("succeeded")
    expect(run.last?.wakeAt).toBeUndefined()
  })

  test("I1: a slot is held while the target is rolled back, and no longer", () => {
    const run = started()
    run.finish("failed", 0)
    expect(run.commands()).toEqual(["rollback 0/1"])
    run.step(report("rollback-started", 0))
    expect(run.commands()).toEqual([])
    run.rolledBack(0)
    expect(run.commands()).toEqual(["start 2/1"])
    expect(run.row(0)).toMatchObject({ state: "failed", class: "command", rollback: "rolled-back" })
  })

  test("I1: a node that is silent keeps its slot until the task's time and grace are over", () => {
    const run = started({ rollbackOnFailure: false })
    run.step(report("task-accepted", 0), report("task-started", 0), finished(1, 1, { state: "succeeded" }))
    run.finish("succeeded", 2)
    run.wait(run.plan.taskTimeoutMilliseconds + run.plan.graceMilliseconds - 1)
    expect(run.row(0)?.state).toBe("running")
    run.wait(1)
    expect(run.row(0)).toMatchObject({ state: "interrupted", class: "timeout" })
  })

  test("a step starts a limited number and asks to be called again at once", () => {
    const run = started({ targetsCount: 10 * startsPerStepMax, width: 2 * startsPerStepMax + 1 })
    expect(run.last?.commands).toHaveLength(startsPerStepMax)
    expect(run.last?.wakeAt).toBe(run.now)
    run.wait(0)
    run.wait(0)
    expect(run.state.slots.size).toBe(2 * startsPerStepMax + 1)
    expect(run.last?.wakeAt).toBe(run.now + run.plan.startTimeoutMilliseconds)
  })

  test("an execution without targets succeeds at once", () => {
    expect(started({ targetsCount: 0 }).store.execution).toBe("succeeded")
  })
})

describe("the error limit", () => {
  test("I2: 10% of 50 tolerates five failures and stops at the sixth", () => {
    const run = started({ targetsCount: 50, errorsMax: 5, width: 1, rollbackOnFailure: false })
    for (let ordinal = 0; ordinal < 5; ordinal++) run.finish("failed", ordinal)
    expect(run.store.execution).toBe("running")
    run.finish("failed", 5)
    expect(run.store.execution).toBe("failed")
    expect(run.last?.neverStarted).toEqual({ from: 6, to: 50 })
    expect(run.last?.execution?.reason).toContain("6 of 50 targets failed, 5 tolerated")
    expect(run.last?.execution?.reason).toContain("44 never-started")
  })

  test("I2, I3: what is in flight at the stop ends by itself and is put back; nothing starts", () => {
    const run = started({ errorsMax: 0, width: 3 })
    run.finish("failed", 1)
    expect(run.store.execution).toBe("aborting")
    expect(run.commands()).toEqual(["rollback 1/1"])
    expect(summarize(run.state)).toMatchObject({ draining: 3, failures: 1 })
    run.rolledBack(1)
    run.finish("failed", 0)
    run.finish("succeeded", 2)
    run.rolledBack(0)
    expect(run.store.execution).toBe("failed")
    expect(run.store.stop).toMatchObject({ by: "error-limit", failures: 1, errorsMax: 0 })
  })

  test.each<readonly [TaskOutcome["state"], boolean, ExecutionState]>([
    ["failed", false, "failed"],
    ["interrupted", false, "failed"],
    ["aborted", false, "failed"],
    ["unreachable", false, "running"],
    ["unreachable", true, "failed"],
    ["skipped", true, "running"],
    ["succeeded", true, "running"],
  ])("W10: %s with countUnreachable %s leads to %s", (state, countUnreachable, execution) => {
    const run = started({ errorsMax: 0, width: 1, countUnreachable, rollbackOnFailure: false })
    run.finish(state, 0)
    expect(run.store.execution).toBe(execution)
  })

  test("I3: a million targets that never start are one range", () => {
    const plan = { ...examplePlan, targetsCount: 1_000_000, errorsMax: 0, width: 1, rollbackOnFailure: false }
    const begun = step(newState(plan, 0), [{ type: "planned" }], 0)
    const last = step(begun.state, [finished(0, 1, { state: "failed" })], 0)
    expect(last.taskChanges).toHaveLength(1)
    expect(last.neverStarted).toEqual({ from: 1, to: 1_000_000 })
    expect(last.state.counts).toMatchObject({ failed: 1, "never-started": 999_999, queued: 0 })
  })
})

describe("retries", () => {
  test("I1, I5: a failed attempt is repeated after the delay, in its slot, until none is left", () => {
    const run = started({ attemptsMax: 2, width: 1 })
    run.finish("failed", 0)
    expect(run.row(0)).toMatchObject({ state: "queued", attempt: 1, class: "command", rollback: "none" })
    expect(run.commands()).toEqual([])
    expect(run.last?.wakeAt).toBe(run.now + run.plan.retryDelayMilliseconds)
    run.wait(run.plan.retryDelayMilliseconds)
    expect(run.commands()).toEqual(["start 0/2"])
    run.finish("failed", 0)
    expect(run.row(0)).toMatchObject({ state: "failed", attempt: 2, rollback: "pending" })
  })

  test.each<TaskOutcome>([
    { state: "interrupted" },
    { state: "unreachable" },
    { state: "aborted" },
    { state: "skipped" },
    { state: "failed", class: "refused" },
    { state: "failed", class: "denied" },
  ])("I5: $state $class is never repeated", (outcome) => {
    const run = started({ attemptsMax: 3, width: 1 })
    run.step(finished(0, 1, outcome))
    expect(run.row(0)?.state).toBe(outcome.state)
    run.wait(run.plan.retryDelayMilliseconds)
    expect(run.row(0)?.attempt).toBe(1)
  })

  test("I3: a retry that waits when the run stops is given up and put back", () => {
    const run = started({ attemptsMax: 2 })
    run.finish("failed", 0)
    run.step({ type: "abort", mode: "finish" })
    expect(run.row(0)).toMatchObject({ state: "failed", rollback: "pending" })
    run.finish("failed", 1)
    run.rolledBack(0, 1)
    expect(run.store.execution).toBe("aborted")
  })

  test("I8: a pause lets a retry go on, since its node may be half changed", () => {
    const run = started({ attemptsMax: 2 })
    run.finish("failed", 0)
    run.step({ type: "pause" })
    run.finish("succeeded", 1)
    run.wait(run.plan.retryDelayMilliseconds)
    expect(run.commands()).toEqual(["start 0/2"])
    run.finish("succeeded", 0)
    expect(run.store.execution).toBe("paused")
  })

  test("I8: so is what fails during the pause", () => {
    const run = started({ attemptsMax: 2 })
    run.step({ type: "pause" })
    run.finish("failed", 0)
    run.finish("succeeded", 1)
    run.wait(run.plan.retryDelayMilliseconds)
    expect(run.commands()).toEqual(["start 0/2"])
  })
})

describe("pause and resume", () => {
  test("I8: a pause drains, says how much is left, and resume goes on", () => {
    const run = started()
    run.step({ type: "pause" })
    expect(run.store.execution).toBe("pausing")
    run.finish("succeeded", 0)
    expect(run.commands()).toEqual([])
    expect(summarize(run.state)).toMatchObject({ execution: "pausing", draining: 1, inFlight: 1 })
    run.finish("succeeded", 1)
    expect(run.store.execution).toBe("paused")
    expect(run.last?.wakeAt).toBeUndefined()
    run.step({ type: "resume" })
    expect(run.commands()).toEqual(["start 2/1", "start 3/1"])
  })

  test("I8: resume while draining, and a run whose last target ends while pausing", () => {
    const run = started({ targetsCount: 3 })
    run.step({ type: "pause" })
    run.step({ type: "resume" })
    expect(run.store.execution).toBe("running")
    run.finish("succeeded", 0)
    run.step({ type: "pause" })
    run.finish("succeeded", 1, 2)
    expect(run.store.execution).toBe("succeeded")
  })

  test("I2: the error limit holds while pausing too", () => {
    const run = started({ errorsMax: 0 })
    run.step({ type: "pause" })
    run.finish("failed", 0)
    expect(run.store.execution).toBe("aborting")
  })
})

describe("abort", () => {
  const ways: Readonly<Record<"planning" | "running" | "pausing" | "paused", () => EngineRun>> = {
    planning: () => new EngineRun(),
    running: () => started(),
    pausing: () => {
      const run = started()
      run.step({ type: "pause" })
      return run
    },
    paused: () => {
      const run = started()
      run.step({ type: "pause" })
      run.finish("succeeded", 0, 1)
      return run
    },
  }

  for (const [state, make] of Object.entries(ways)) {
    test.each(["finish", "kill"] as const)(`I9: ${state} can be aborted (%s)`, (mode) => {
      const run = make()
      expect(run.store.execution).toBe(state)
      const { size } = run.state.slots
      run.step({ type: "abort", mode })
      expect(run.commands()).toHaveLength(mode === "kill" ? size : 0)
      expect(run.store.execution).toBe(size > 0 ? "aborting" : "aborted")
      run.wait(run.plan.startTimeoutMilliseconds)
      expect(run.store.execution).toBe("aborted")
    })
  }

  test("I9: a killed task is aborted and put back, one that ended by itself keeps its result", () => {
    const run = started({ width: 3 })
    run.step(report("task-started", 0), report("task-started", 1), report("task-started", 2))
    run.step({ type: "abort", mode: "kill" })
    expect(run.commands()).toEqual(["kill 0/1 abort", "kill 1/1 abort", "kill 2/1 abort"])
    run.finish("aborted", 0)
    run.finish("succeeded", 1)
    run.finish("failed", 2)
    run.rolledBack(0, 2)
    expect(run.states()).toMatch(/^aborted succeeded failed never-started/)
    expect(run.store.execution).toBe("aborted")
  })

  test("I9, I15: without an answer to the kill the task is given up after the grace", () => {
    const run = started({ rollbackOnFailure: false })
    run.step(report("task-started", 0))
    run.step({ type: "abort", mode: "kill" })
    expect(run.last?.wakeAt).toBe(run.now + run.plan.graceMilliseconds)
    run.wait(run.plan.graceMilliseconds)
    expect(run.states()).toMatch(/^interrupted unreachable never-started/)
    expect(run.store.execution).toBe("aborted")
  })

  test("I9: a kill does not lengthen the time that is left", () => {
    const run = started()
    run.wait(run.plan.startTimeoutMilliseconds - 10)
    run.step({ type: "abort", mode: "kill" })
    run.wait(10)
    expect(run.store.execution).toBe("aborted")
  })

  test("I9: a start that is reported after the kill does not lengthen the grace", () => {
    const run = started({ rollbackOnFailure: false })
    run.step({ type: "abort", mode: "kill" })
    run.wait(run.plan.graceMilliseconds - 1)
    run.step(report("task-accepted", 0), report("task-started", 1))
    run.wait(1)
    expect(run.states()).toMatch(/^interrupted interrupted never-started/)
    expect(run.store.execution).toBe("aborted")
  })

  test("I9: an abort can be made harsher, never milder, and a run that stopped itself stays failed", () => {
    const run = started({ errorsMax: 0, rollbackOnFailure: false })
    run.finish("failed", 0)
    run.step({ type: "abort", mode: "kill" })
    expect(run.commands()).toEqual(["kill 1/1 abort"])
    const again = run.step({ type: "abort", mode: "finish" }, { type: "abort", mode: "kill" }, { type: "resume" })
    expect(again.ignored.map(({ why }) => why)).toEqual(["repeated", "repeated", "execution-state"])
    run.finish("aborted", 1)
    expect(run.store.execution).toBe("failed")
  })

  test("I9: the same abort again changes nothing", () => {
    const run = started()
    run.step({ type: "abort", mode: "finish" })
    const again = run.step({ type: "abort", mode: "finish" })
    expect(again.ignored.map(({ why }) => why)).toEqual(["repeated"])
    expect(again.execution).toBeUndefined()
  })

  test("I9: a rollback under way is not killed", () => {
    const run = started()
    run.finish("failed", 0)
    run.step({ type: "abort", mode: "kill" })
    expect(run.commands()).toEqual(["kill 1/1 abort"])
  })
})

describe("rollback", () => {
  test("I10: what was touched and ended badly is put back; refused and unreachable targets were not touched", () => {
    const run = started({ width: 5, errorsMax: 9, targetsCount: 5 })
    run.finish("interrupted", 0)
    run.finish("aborted", 1)
    run.finish("unreachable", 2)
    run.step(finished(3, 1, { state: "failed", class: "refused" }))
    run.finish("succeeded", 4)
    expect(run.store.tasks.map(({ rollback }) => rollback)).toEqual(["pending", "pending", "none", "none", "none"])
    run.rolledBack(0, 1)
    expect(run.store.execution).toBe("incomplete")
  })

  test("I10: a second attempt that never arrived leaves a node that the first one touched", () => {
    const run = started({ attemptsMax: 2, width: 1, retryDelayMilliseconds: 0 })
    run.step(report("task-started", 0))
    run.finish("failed", 0)
    run.wait(run.plan.startTimeoutMilliseconds)
    expect(run.row(0)).toMatchObject({ state: "unreachable", attempt: 2, rollback: "pending" })
    expect(run.commands()).toEqual(["kill 0/2 unreachable", "rollback 0/2"])
  })

  test.each(["rollback-failed", "not-reversible", "unknown"] as const)(
    "I10: %s is its own end and is told",
    (outcome) => {
      const run = started({ targetsCount: 1 })
      run.finish("failed", 0)
      run.step({ type: "rollback-finished", ordinal: 0, attempt: 1, outcome })
      expect(run.row(0)).toMatchObject({ state: "failed", rollback: outcome })
      expect(run.state.rollbacks[outcome]).toBe(1)
      expect(run.last?.execution?.reason).toMatch(/could not be rolled back|not reversible|unknown/)
    },
  )

  test("I10: no word about a rollback in time is unknown", () => {
    const run = started({ targetsCount: 1 })
    run.finish("failed", 0)
    run.wait(1000)
    run.step(report("rollback-started", 0))
    run.wait(run.plan.rollbackTimeoutMilliseconds + run.plan.graceMilliseconds - 1)
    expect(run.row(0)?.rollback).toBe("running")
    run.wait(1)
    expect(run.row(0)?.rollback).toBe("unknown")
    expect(run.store.execution).toBe("incomplete")
  })

  test("I10: no rollback where the plan wants none", () => {
    const run = started({ rollbackOnFailure: false })
    run.finish("failed", 0)
    expect(run.commands()).toEqual(["start 2/1"])
  })
})

describe("time", () => {
  test("I15: a task that is not accepted in time is unreachable, and its node told not to start", () => {
    const run = started()
    run.step(report("task-accepted", 1))
    run.wait(run.plan.startTimeoutMilliseconds)
    expect(run.row(0)).toMatchObject({ state: "unreachable", class: "unreachable", rollback: "none" })
    expect(run.row(1)?.state).toBe("starting")
    expect(run.commands()).toEqual(["kill 0/1 unreachable", "start 2/1"])
  })

  test("I15: a task over its time is interrupted, killed and put back", () => {
    const run = started({ width: 1 })
    run.step(report("task-started", 0))
    run.wait(run.plan.taskTimeoutMilliseconds + run.plan.graceMilliseconds)
    expect(run.commands()).toEqual(["kill 0/1 timeout", "rollback 0/1"])
  })

  test("I16, I19: a report that has arrived wins over its timeout", () => {
    const run = started({ width: 1 })
    run.now += run.plan.startTimeoutMilliseconds
    run.finish("succeeded", 0)
    expect(run.row(0)?.state).toBe("succeeded")
  })

  test("I19: a server that stood still for an hour gives its nodes a second to be heard", () => {
    const run = started()
    run.jump(3_600_000)
    expect(run.states()).toMatch(/^starting starting queued/)
    expect(run.last?.wakeAt).toBe(run.now + 1000)
    run.now += 500
    run.finish("succeeded", 0)
    run.wait(500)
    expect(run.states()).toMatch(/^succeeded unreachable/)
  })
})
