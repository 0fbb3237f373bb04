import { describe, expect, test } from "vitest"
import { recoverState } from "./recover.ts"
import { EngineRun } from "./simulator/engine-run.ts"
import type { ExecutionState } from "./types.ts"

const plan = { targetsCount: 6, width: 2, attemptsMax: 2, errorsMax: 0 }

/** How to come to each state that is not terminal; tasks 0 and 1 are in flight where any is. */
const makers: Readonly<
  Record<Exclude<ExecutionState, "succeeded" | "incomplete" | "failed" | "aborted">, () => EngineRun>
> = {
  planning: () => new EngineRun(plan),
  running: () => begun(),
  pausing: () => begun((run) => run.step({ type: "pause" })),
  paused: () =>
    begun((run) => {
      run.step({ type: "pause" })
      run.finish("succeeded", 0, 1)
    }),
  aborting: () => begun((run) => run.step({ type: "abort", mode: "finish" })),
}

function begun(then?: (run: EngineRun) => void): EngineRun {
  const run = new EngineRun(plan)
  run.step({ type: "planned" })
  run.step({ type: "task-started", ordinal: 0, attempt: 1 })
  then?.(run)
  return run
}

const acts: Readonly<Record<string, (run: EngineRun) => void>> = {
  planned: (run) => run.step({ type: "planned" }),
  "task 0 succeeds": (run) => run.finish("succeeded", 0),
  "task 0 fails": (run) => run.finish("failed", 0),
  "task 0 is interrupted": (run) => run.finish("interrupted", 0),
  "task 1 is refused": (run) =>
    run.step({ type: "task-finished", ordinal: 1, attempt: 1, outcome: { state: "failed", class: "refused" } }),
  "task 0 is put back": (run) => run.rolledBack(0),
  pause: (run) => run.step({ type: "pause" }),
  resume: (run) => run.step({ type: "resume" }),
  abort: (run) => run.step({ type: "abort", mode: "finish" }),
  "harsh abort": (run) => run.step({ type: "abort", mode: "kill" }),
  "start timeout": (run) => run.wait(run.plan.startTimeoutMilliseconds),
  "task timeout": (run) => run.wait(run.plan.taskTimeoutMilliseconds + run.plan.graceMilliseconds),
  "server stall": (run) => run.jump(3_600_000),
  "crash and recovery": (run) => {
    const paused = run.store.execution === "pausing" || run.store.execution === "paused"
    run.take(recoverState(run.plan, { ...run.store.rows(), wish: paused ? "pause" : "run" }, run.now))
  },
}

/** Silence until nothing is waited for any more. */
function settle(run: EngineRun): void {
  run.step({ type: "planned" }, { type: "resume" })
  for (let wakes = 0; run.last?.wakeAt !== undefined; wakes++) {
    expect(wakes).toBeLessThan(200)
    run.jump(Math.max(0, run.last.wakeAt - run.now))
  }
}

describe("each pair of events, in each state, keeps every invariant and ends", () => {
  for (const [state, make] of Object.entries(makers)) {
    test(`${state} (I1 to I19)`, () => {
      for (const [first, one] of Object.entries(acts)) {
        for (const [second, other] of Object.entries(acts)) {
          const run = make()
          expect(run.store.execution).toBe(state)
          one(run)
          other(run)
          settle(run)
          expect(["succeeded", "incomplete", "failed", "aborted"], `${first}, ${second}`).toContain(run.store.execution)
          const ended = run.store.execution
          one(run)
          other(run)
          expect(run.store.execution, `${first}, ${second} after the end`).toBe(ended)
        }
      }
    })
  }
})
