import { describe, expect, test } from "vitest"
import type { StopCounts } from "./plan.ts"
import { EngineRun } from "./simulator/engine-run.ts"
import { describeStop } from "./summarize.ts"
import type { EngineInput, FailureClass, StopCause, TaskOutcome } from "./types.ts"

function started(changes: ConstructorParameters<typeof EngineRun>[0] = {}): EngineRun {
  const run = new EngineRun({ width: 10, errorsMax: 9, rollbackOnFailure: false, ...changes })
  run.step({ type: "planned" })
  return run
}

function end(run: EngineRun, ordinal: number, outcome: TaskOutcome): void {
  run.step({ type: "task-finished", ordinal, attempt: 1, outcome })
}

const unwell: EngineInput = { type: "health", ok: false, message: "503 from the load balancer" }

describe("W5: what stops a run by itself", () => {
  test.each<readonly [FailureClass, "failed" | "timeout" | "interrupted" | "unreachable", TaskOutcome["state"]]>([
    ["command", "failed", "failed"],
    ["system", "failed", "failed"],
    ["refused", "failed", "failed"],
    ["timeout", "timeout", "failed"],
    ["interrupted", "interrupted", "interrupted"],
    ["unreachable", "unreachable", "unreachable"],
  ])("I27, W10: one more of class %s than is tolerated of %s", (name, group, state) => {
    const run = started({ errorsMaxByClass: { [group]: 1 } })
    end(run, 0, { state, class: name })
    expect(run.store.execution).toBe("running")
    end(run, 1, { state, class: name })
    expect(run.store.stop).toEqual({ by: "class-limit", group, failures: 2, errorsMax: 1, mode: "finish" })
    expect(run.last?.execution?.reason).toMatch(/^stopped by itself: 2 targets .*, 1 tolerated/)
  })

  test("I27: other classes do not count, nor an attempt that is repeated", () => {
    const run = started({ errorsMaxByClass: { failed: 0 }, attemptsMax: 2 })
    end(run, 0, { state: "failed", class: "timeout" })
    end(run, 1, { state: "failed" })
    end(run, 2, { state: "interrupted" })
    end(run, 3, { state: "aborted" })
    expect(run.store.execution).toBe("running")
    expect(run.state.classes).toMatchObject({ command: 0, interrupted: 1 })
    run.wait(run.plan.retryDelayMilliseconds)
    run.finish("failed", 1)
    expect(run.store.stop).toMatchObject({ by: "class-limit", group: "failed" })
  })

  test("I27: a rate among the completed, from the smallest sample on", () => {
    const run = started({ errorRate: { thousandths: 33_333, sampleMin: 3 } })
    run.finish("failed", 0)
    run.finish("skipped", 1)
    run.finish("unreachable", 2)
    run.finish("succeeded", 3)
    expect(run.store.execution).toBe("running")
    run.finish("succeeded", 4)
    expect(run.store.stop).toEqual({
      by: "error-rate",
      failures: 1,
      completed: 3,
      thousandths: 33_333,
      mode: "finish",
    })
    expect(run.last?.execution?.reason).toContain("1 of 3 completed targets failed, 33.333% tolerated")
  })

  test("I27: exactly the tolerated rate is tolerated", () => {
    const run = started({ errorRate: { thousandths: 50_000, sampleMin: 1 }, countUnreachable: true })
    run.finish("succeeded", 0)
    run.finish("failed", 1)
    expect(run.store.execution).toBe("running")
    run.finish("unreachable", 2)
    expect(run.store.stop).toMatchObject({ by: "error-rate", failures: 2, completed: 3 })
  })

  test("I27: a condition, judged over the run's numbers", () => {
    let seen: StopCounts | undefined
    const stopWhen = {
      text: "failed >= 2",
      test: (counts: StopCounts) => {
        // The checker judges the condition as well, from fewer numbers.
        if (counts.total > 0) seen = counts
        return counts.failed >= 2
      },
    }
    const run = started({ stopWhen, targetsCount: 14, rollbackOnFailure: true, waves: [14] })
    end(run, 0, { state: "succeeded" })
    end(run, 1, { state: "skipped" })
    end(run, 2, { state: "failed", class: "system" })
    end(run, 3, { state: "failed", class: "timeout" })
    end(run, 4, { state: "interrupted" })
    end(run, 5, { state: "unreachable" })
    end(run, 6, { state: "aborted" })
    run.rolledBack(2)
    run.step({ type: "rollback-finished", ordinal: 3, attempt: 1, outcome: "rollback-failed" })
    run.step({ type: "rollback-finished", ordinal: 4, attempt: 1, outcome: "not-reversible" })
    run.step({ type: "rollback-finished", ordinal: 6, attempt: 1, outcome: "unknown" })
    run.step({ type: "tick" })
    expect(seen).toEqual({
      total: 14,
      started: 14,
      inFlight: 7,
      ended: 7,
      completed: 5,
      succeeded: 1,
      skipped: 1,
      failed: 1,
      timedOut: 1,
      interrupted: 1,
      unreachable: 1,
      aborted: 1,
      failures: 4,
      unavailable: 11,
      rolledBack: 1,
      rollbackFailed: 1,
      notReversible: 1,
      rollbackUnknown: 1,
      wave: 1,
    })
    expect(run.store.execution).toBe("running")
    end(run, 7, { state: "failed" })
    expect(run.store.stop).toEqual({ by: "expression", text: "failed >= 2", error: null, mode: "finish" })
    expect(run.last?.execution?.reason).toContain("stopped by its condition: failed >= 2")
  })

  test.each([
    [new RangeError("no such number"), "no such number"],
    ["a text", "a text"],
    [new Error("x".repeat(900)), "x".repeat(500)],
  ])("I27: a condition that throws stops the run, in a pause too", (thrown, message) => {
    let broken = false
    const stopWhen = {
      text: "broken",
      test: () => {
        if (broken) throw thrown
        return false
      },
    }
    const run = started({ stopWhen })
    run.step({ type: "pause" })
    broken = true
    run.step({ type: "tick" })
    expect(run.store.stop).toEqual({ by: "expression", text: "broken", error: message, mode: "finish" })
    expect(run.last?.execution?.reason).toContain(`could not be evaluated (${message}): broken`)
  })

  test("I3, I27: a condition that stops the run in the step in which a retry is due", () => {
    const stopWhen = { text: "succeeded >= 1", test: ({ succeeded }: StopCounts) => succeeded >= 1 }
    const run = started({ stopWhen, attemptsMax: 2, retryDelayMilliseconds: 0 })
    run.step(
      { type: "task-finished", ordinal: 0, attempt: 1, outcome: { state: "failed" } },
      { type: "task-finished", ordinal: 1, attempt: 1, outcome: { state: "succeeded" } },
    )
    expect(run.row(0)).toMatchObject({ state: "failed", attempt: 1 })
  })

  test("I27: a condition is not looked at before the start, nor once the run is over", () => {
    let looks = 0
    const stopWhen = {
      text: "true",
      test: () => {
        looks += 1
        return true
      },
    }
    const run = new EngineRun({ stopWhen })
    run.step({ type: "tick" })
    expect(looks).toBe(0)
    run.step({ type: "planned" })
    expect(run.store.execution).toBe("failed")
    expect(run.commands()).toEqual([])
    const before = looks
    run.step({ type: "tick" })
    expect(looks).toBe(before)
  })

  test("I27: a health check that fails, in any state but the last", () => {
    const run = started()
    expect(run.step({ type: "health", ok: true, message: "" }).ignored).toEqual([])
    expect(run.store.execution).toBe("running")
    run.step(unwell)
    expect(run.store.stop).toEqual({ by: "health", message: "503 from the load balancer", mode: "finish" })
    expect(run.last?.execution?.reason).toMatch(/^stopped by its health check: 503 from the load balancer/)
    expect(run.step(unwell).ignored.map(({ why }) => why)).toEqual(["execution-state"])
    run.finish("succeeded", ...Array.from({ length: 10 }, (_, ordinal) => ordinal))
    expect(run.store.execution).toBe("failed")
    const long = new EngineRun()
    long.step({ ...unwell, message: "y".repeat(600) })
    expect(long.store.stop).toMatchObject({ message: "y".repeat(500) })
    expect(long.store.execution).toBe("failed")
  })

  test("I9: a run that is to kill when it stops by itself kills", () => {
    const run = started({ stopMode: "kill", width: 3, errorsMax: 0 })
    run.finish("failed", 1)
    expect(run.store.stop).toMatchObject({ by: "error-limit", mode: "kill" })
    expect(run.commands()).toEqual(["kill 0/1 abort", "kill 2/1 abort"])
    expect(run.last?.execution?.reason).toContain("1 tolerated, running tasks were killed".replace("1", "0"))
  })

  test("I4: the first cause stays, an abort makes it harsher only", () => {
    const run = started()
    run.step(unwell, { type: "abort", mode: "kill" })
    expect(run.store.stop).toMatchObject({ by: "health", mode: "kill" })
    run.step({ type: "task-finished", ordinal: 0, attempt: 1, outcome: { state: "aborted" } })
    run.wait(run.plan.graceMilliseconds)
    expect(run.store.execution).toBe("failed")
  })
})

describe("the sentence about a stop", () => {
  test.each<readonly [StopCause, string]>([
    [{ by: "person" }, "aborted by a person"],
    [{ by: "error-limit", failures: 4, errorsMax: 3 }, "stopped by itself: 4 of 20 targets failed, 3 tolerated"],
    [
      { by: "class-limit", group: "failed", failures: 2, errorsMax: 1 },
      "stopped by itself: 2 targets failed, 1 tolerated",
    ],
    [
      { by: "class-limit", group: "timeout", failures: 2, errorsMax: 1 },
      "stopped by itself: 2 targets timed out, 1 tolerated",
    ],
    [
      { by: "class-limit", group: "unreachable", failures: 2, errorsMax: 1 },
      "stopped by itself: 2 targets were unreachable, 1 tolerated",
    ],
    [
      { by: "class-limit", group: "interrupted", failures: 2, errorsMax: 1 },
      "stopped by itself: 2 targets were interrupted, 1 tolerated",
    ],
  ])("%j", (cause, sentence) => {
    expect(describeStop(cause, 20)).toBe(sentence)
  })
})
