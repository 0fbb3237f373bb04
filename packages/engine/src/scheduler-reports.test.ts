import { describe, expect, test } from "vitest"
import { EngineRun } from "./simulator/engine-run.ts"
import type { EngineInput, TaskOutcome } from "./types.ts"

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

describe("I12: reports that mean nothing change nothing", () => {
  const cases: ReadonlyArray<readonly [name: string, input: EngineInput, why: string]> = [
    ["a task beyond the targets", report("task-started", 10), "unknown-task"],
    ["a task that is no number", report("task-started", Number.NaN), "unknown-task"],
    ["a task below 0", finished(-1, 1, { state: "failed" }), "unknown-task"],
    ["a task that was never started", finished(7, 1, { state: "failed" }), "not-started"],
    ["the task that starts next", report("task-started", 3), "not-started"],
    ["an attempt to come", finished(2, 3, { state: "failed" }), "not-started"],
    ["an attempt that is no number", finished(2, Number.NaN, { state: "failed" }), "not-started"],
    ["an attempt that was replaced", finished(2, 1, { state: "succeeded" }), "old-attempt"],
    ["a start of an attempt that was replaced", report("task-started", 2, 1), "old-attempt"],
    ["a task that has ended", finished(0, 1, { state: "failed" }), "ended"],
    ["a task that is being rolled back", finished(1, 1, { state: "succeeded" }), "ended"],
    ["a rollback nobody asked for", report("rollback-started", 2, 2), "no-rollback"],
    ["a repeated start", report("task-started", 2, 2), "repeated"],
    ["an acceptance after the start", report("task-accepted", 2, 2), "repeated"],
    ["a repeated rollback start", report("rollback-started", 1), "repeated"],
    ["a second planning", { type: "planned" }, "execution-state"],
    ["a resume without pause", { type: "resume" }, "execution-state"],
  ]

  /** Task 0 has ended, 1 is being rolled back, 2 runs its second attempt. */
  function prepared(): EngineRun {
    const run = started({ attemptsMax: 2, retryDelayMilliseconds: 0 })
    run.finish("succeeded", 0)
    run.finish("interrupted", 1)
    run.finish("failed", 2)
    run.step(report("task-started", 2, 2), report("rollback-started", 1))
    return run
  }

  for (const [name, input, why] of cases) {
    test(`${name} is ignored: ${why}`, () => {
      const run = prepared()
      const result = run.step(input)
      expect(result.ignored).toEqual([{ input, why }])
      expect(result.taskChanges).toEqual([])
      expect(result.commands).toEqual([])
      expect(result.execution).toBeUndefined()
      expect(result.state.counts).toEqual({ ...run.state.counts })
    })
  }

  test("I15: a node that works on a task which has ended here is told to stop", () => {
    const run = prepared()
    run.step(report("task-started", 0))
    expect(run.commands()).toEqual(["kill 0/1 stale"])
  })

  test("I7: a class that goes with a success is no failure's", () => {
    const run = started()
    run.step(finished(0, 1, { state: "succeeded", class: "system" }))
    expect(run.row(0)).toMatchObject({ state: "succeeded", class: null })
  })

  test("I4: nothing moves an execution that has ended", () => {
    const run = started({ targetsCount: 1 })
    run.finish("succeeded", 0)
    const inputs: EngineInput[] = [
      { type: "pause" },
      { type: "resume" },
      { type: "abort", mode: "kill" },
      { type: "planned" },
      finished(0, 1, { state: "failed" }),
    ]
    const result = run.step(...inputs, { type: "tick" })
    expect(result.ignored.map(({ input }) => input)).toEqual(inputs)
    expect(result).toMatchObject({ taskChanges: [], commands: [] })
    expect(result.execution).toBeUndefined()
  })

  test("I10: an answer to a rollback in the very step that asks for it is not believed", () => {
    const run = started()
    const answer = { type: "rollback-finished", ordinal: 0, attempt: 1, outcome: "rolled-back" } as const
    const result = run.step(finished(0, 1, { state: "failed" }), answer)
    expect(result.ignored).toEqual([{ input: answer, why: "no-rollback" }])
    expect(run.row(0)?.rollback).toBe("pending")
  })
})
