import { describe, expect, test } from "vitest"
import { interleaveByDomain } from "./failure-domains.ts"
import type { EnginePlan } from "./plan.ts"
import { newState, step } from "./scheduler.ts"
import { examplePlan } from "./simulator/engine-run.ts"
import type { EngineInput, StepResult } from "./types.ts"
import { resolveWaves } from "./waves.ts"

declare const process: { cpuUsage(): { readonly user: number; readonly system: number } }

/** Processor time, so that a busy machine does not fail the test. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000_000
}

/** The wanted speed; the machine that wrote this test did fifteen times as much. */
const transitionsPerSecondMin = 200_000

/** Every rule about starts and stops at once. */
function everyRule(targetsCount: number): Partial<EnginePlan> {
  return {
    ramp: true,
    strict: true,
    errorsMax: targetsCount,
    unavailableMax: targetsCount,
    waves: resolveWaves(["0.2%"], targetsCount),
    domains: Int32Array.from({ length: targetsCount }, (_, ordinal) => ordinal % 1000),
    errorRate: { thousandths: 1000, sampleMin: 10 },
    errorsMaxByClass: { failed: 3, interrupted: 3 },
    stopWhen: { text: "failed > 3", test: ({ failed }) => failed > 3 },
  }
}

interface Load {
  readonly targetsCount: number
  readonly width: number
  readonly batch: number
  readonly stepsMax?: number
  readonly plan?: Partial<EnginePlan>
  readonly look?: (result: StepResult) => void
}

/** Runs targets with immediate success, `batch` inputs a step; calls `look` after each step, returns the transitions. */
function runTargets(options: Load): number {
  const plan = { ...examplePlan, targetsCount: options.targetsCount, width: options.width, ...options.plan }
  let now = 0
  let result = step(newState(plan, now), [{ type: "planned" }], now)
  let transitions = 0
  let waiting: EngineInput[] = []
  for (let steps = 0; result.state.execution === "running" && steps < (options.stepsMax ?? Infinity); steps++) {
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
  return transitions
}

describe("W9: what a step costs", () => {
  test("over 200,000 transitions a second at width 100", () => {
    runTargets({ targetsCount: 20_000, width: 100, batch: 200 })
    const begin = cpuSeconds()
    const transitions = runTargets({ targetsCount: 200_000, width: 100, batch: 200 })
    expect(transitions / (cpuSeconds() - begin)).toBeGreaterThan(transitionsPerSecondMin)
  })

  test("over 200,000 transitions a second at width 100 with every rule", () => {
    const targetsCount = 200_000
    const plan = everyRule(targetsCount)
    runTargets({ targetsCount: 20_000, width: 100, batch: 200, plan: everyRule(20_000) })
    const begin = cpuSeconds()
    const transitions = runTargets({ targetsCount, width: 100, batch: 200, plan })
    expect(transitions).toBe(3 * targetsCount)
    expect(transitions / (cpuSeconds() - begin)).toBeGreaterThan(transitionsPerSecondMin)
  })

  test("a million targets are a window of slots, in every step", () => {
    let slotsMax = 0
    let changesMax = 0
    let succeeded = 0
    const look = ({ state, taskChanges }: StepResult): void => {
      slotsMax = Math.max(slotsMax, state.slots.size)
      succeeded = state.counts.succeeded
      changesMax = Math.max(changesMax, taskChanges.length)
    }
    runTargets({ targetsCount: 1_000_000, width: 500, batch: 1000, stepsMax: 300, look })
    expect(slotsMax).toBe(500)
    expect(succeeded).toBeGreaterThan(100_000)
    expect(changesMax).toBeLessThanOrEqual(1000)
  })

  test("a million targets are interleaved in well under two seconds", () => {
    const domains = Int32Array.from({ length: 1_000_000 }, (_, index) => (index * 7919) % 40_000)
    const begin = cpuSeconds()
    const ordered = interleaveByDomain(domains)
    expect(cpuSeconds() - begin).toBeLessThan(2)
    expect(new Set(ordered.slice(0, 40_000).map((index) => domains[index] ?? -1)).size).toBe(40_000)
  })
})
