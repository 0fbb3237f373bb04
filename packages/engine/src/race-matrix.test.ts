import { describe, expect, test } from "vitest"
import { recoverState } from "./recover.ts"
import { EngineRun } from "./simulator/engine-run.ts"
import type { ExecutionState } from "./types.ts"

const plan = { targetsCount: 6, width: 2, attemptsMax: 2, errorsMax: 0 }
/** The same in two waves that bake, with domains and limits of every kind. */
const paced = {
  ...plan,
  errorsMax: 2,
  waves: [3, 6],
  bakeMilliseconds: 5000,
  domains: Int32Array.of(0, 1, 0, -1, 1, 0),
  strict: true,
  unavailableMax: 3,
  errorsMaxByClass: { interrupted: 0 },
  errorRate: { thousandths: 60_000, sampleMin: 2 },
  retryBackoffFactor: 2,
}

/** How to come to each state that is not terminal; tasks 0 and 1 are in flight where any is. */
type Plan = typeof plan | typeof paced

const makers: Readonly<
  Record<Exclude<ExecutionState, "succeeded" | "incomplete" | "failed" | "aborted">, (of: Plan) => EngineRun>
> = {
  planning: (of) => new EngineRun(of),
  running: (of) => begun(of),
  pausing: (of) => begun(of, (run) => run.step({ type: "pause" })),
  paused: (of) =>
    begun(of, (run) => {
      run.step({ type: "pause" })
      run.finish("succeeded", 0, 1)
    }),
  aborting: (of) => begun(of, (run) => run.step({ type: "abort", mode: "finish" })),
}

function begun(of: Plan, then?: (run: EngineRun) => void): EngineRun {
  const run = new EngineRun(of)
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
  "the width is 1": (run) => run.step({ type: "set-width", width: 1 }),
  "the width is 5": (run) => run.step({ type: "set-width", width: 5 }),
  hold: (run) => run.step({ type: "hold-starts", reason: "closed" }),
  release: (run) => run.step({ type: "release-starts" }),
  "a good health check": (run) => run.step({ type: "health", ok: true, message: "well" }),
  "a bad health check": (run) => run.step({ type: "health", ok: false, message: "unwell" }),
  "a wave's end": (run) => {
    run.finish("succeeded", 0, 1)
    run.finish("succeeded", 2)
  },
  "start timeout": (run) => run.wait(run.plan.startTimeoutMilliseconds),
  "task timeout": (run) => run.wait(run.plan.taskTimeoutMilliseconds + run.plan.graceMilliseconds),
  "server stall": (run) => run.jump(3_600_000),
  "crash and recovery": (run) => {
    const paused = run.store.execution === "pausing" || run.store.execution === "paused"
    const { width, hold } = run.store
    const rows = { ...run.store.rows(), wish: paused ? "pause" : "run", settings: { width, hold } } as const
    run.take(recoverState(run.plan, rows, run.now))
  },
}

/** Silence until nothing is waited for any more. */
function settle(run: EngineRun): void {
  run.step({ type: "planned" }, { type: "resume" }, { type: "release-starts" })
  for (let wakes = 0; run.last?.wakeAt !== undefined; wakes++) {
    expect(wakes).toBeLessThan(200)
    run.jump(Math.max(0, run.last.wakeAt - run.now))
  }
}

describe("each pair of events, in each state, keeps every invariant and ends", () => {
  for (const [state, make] of Object.entries(makers)) {
    test.each([plan, paced])(`${state} (I1 to I28)`, (of) => {
      for (const [first, one] of Object.entries(acts)) {
        for (const [second, other] of Object.entries(acts)) {
          const run = make(of)
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
