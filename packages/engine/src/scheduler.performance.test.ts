import { describe, expect, test } from "vitest"
import { newState, step } from "./scheduler.ts"
import { examplePlan } from "./simulator/engine-run.ts"
import type { EngineInput, StepResult } from "./types.ts"

/** The wanted speed; the machine that wrote this test did fifteen times as much. */
const transitionsPerSecondMin = 200_000

/** Runs all targets with immediate success, `batch` inputs a step; calls `look` after each step. */
function runAll(options: {
  targetsCount: number
  width: number
  batch: number
  look?: (result: StepResult) => void
}): number {
  const plan = { ...examplePlan, targetsCount: options.targetsCount, width: options.width }
  let now = 0
  let result = step(newState(plan, now), [{ type: "planned" }], now)
  let transitions = 0
  let waiting: EngineInput[] = []
  while (result.state.execution === "running") {
    for (const command of result.commands) {
      if (command.type !== "start") continue
      const { ordinal, attempt } = command
      waiting.push({ type: "task-started", ordinal, attempt })
      waiting.push({ type: "task-finished", ordinal, attempt, outcome: { state: "succeeded" } })
    }
    const inputs = waiting.slice(0, options.batch)
    waiting = waiting.slice(options.batch)
    transitions += result.commands.length + inputs.length
    now += 1
    result = step(result.state, inputs, now)
    options.look?.(result)
  }
  expect(result.state.counts.succeeded).toBe(options.targetsCount)
  return transitions
}

describe("W9: what a step costs", () => {
  test("over 200,000 transitions a second at width 100", () => {
    runAll({ targetsCount: 20_000, width: 100, batch: 200 })
    const begin = performance.now()
    const transitions = runAll({ targetsCount: 200_000, width: 100, batch: 200 })
    expect(transitions / ((performance.now() - begin) / 1000)).toBeGreaterThan(transitionsPerSecondMin)
  })

  test("a million targets are a window of slots, in every step", () => {
    let slotsMax = 0
    let changesMax = 0
    const look = ({ state, taskChanges }: StepResult): void => {
      slotsMax = Math.max(slotsMax, state.slots.size)
      changesMax = Math.max(changesMax, taskChanges.length)
    }
    runAll({ targetsCount: 1_000_000, width: 500, batch: 1000, look })
    expect(slotsMax).toBe(500)
    expect(changesMax).toBeLessThanOrEqual(1000)
  })
})
