import { describe, expect, test } from "vitest"
import { EngineRun } from "./simulator/engine-run.ts"
import { summarize } from "./summarize.ts"
import type { ExecutionChange } from "./types.ts"

function started(changes: ConstructorParameters<typeof EngineRun>[0] = {}): EngineRun {
  const run = new EngineRun(changes)
  run.step({ type: "planned" })
  return run
}

const inFlight = (run: EngineRun): number => run.state.slots.size
const waitsFor = (run: EngineRun): string | null => summarize(run.state).waitsFor

/** What an execution change says of the pace. */
function pace(run: EngineRun): Partial<ExecutionChange> | undefined {
  const { execution } = run.last ?? {}
  return execution && { wave: execution.wave, bakeUntil: execution.bakeUntil, hold: execution.hold }
}

describe("ramp", () => {
  test("I20, W4: one, two, four, up to the width; only successes count", () => {
    const run = started({ targetsCount: 30, width: 6, ramp: true, errorsMax: 9, rollbackOnFailure: false })
    expect(inFlight(run)).toBe(1)
    expect(waitsFor(run)).toBe("ramp")
    run.finish("failed", 0)
    expect(inFlight(run)).toBe(1)
    run.finish("succeeded", 1)
    expect(inFlight(run)).toBe(2)
    run.finish("succeeded", 2, 3)
    expect(inFlight(run)).toBe(4)
    run.finish("succeeded", 4, 5, 6, 7)
    expect(inFlight(run)).toBe(6)
    expect(waitsFor(run)).toBe("width")
  })
})

describe("waves", () => {
  const waves = { targetsCount: 6, width: 4, waves: [1, 4, 6], bakeMilliseconds: 1000, errorsMax: 3 }

  test("I21, W4: nothing of the next wave starts before all of this one has ended, been put back, and baked", () => {
    const run = started(waves)
    expect(run.commands()).toEqual(["start 0/1"])
    expect(waitsFor(run)).toBe("wave")
    run.finish("failed", 0)
    expect(waitsFor(run)).toBe("wave")
    expect(run.last?.execution).toBeUndefined()
    run.rolledBack(0)
    expect(pace(run)).toEqual({ wave: 1, bakeUntil: run.now + 1000, hold: null })
    expect(run.last?.execution?.reason).toBe("wave 1 of 3 bakes until 1970-01-01T00:00:01.000Z; 1 failed")
    expect(run.last?.wakeAt).toBe(run.now + 1000)
    expect(waitsFor(run)).toBe("bake")
    expect(summarize(run.state)).toMatchObject({ wave: 1, wavesCount: 3, bakeUntil: run.now + 1000 })
    run.wait(999)
    expect(run.commands()).toEqual([])
    run.wait(1)
    expect(run.commands()).toEqual(["start 1/1", "start 2/1", "start 3/1"])
    expect(pace(run)).toEqual({ wave: 2, bakeUntil: null, hold: null })
    run.finish("succeeded", 1, 2, 3)
    run.wait(1000)
    expect(run.commands()).toEqual(["start 4/1", "start 5/1"])
    run.finish("succeeded", 4, 5)
    expect(run.store.execution).toBe("incomplete")
    expect(summarize(run.state)).toMatchObject({ wave: 3, bakeUntil: null })
  })

  test("I21: without a bake the next wave follows in the same step", () => {
    const run = started({ targetsCount: 4, width: 4, waves: [2, 4] })
    expect(run.commands()).toHaveLength(2)
    run.finish("succeeded", 0, 1)
    expect(run.commands()).toEqual(["start 2/1", "start 3/1"])
    expect(pace(run)).toEqual({ wave: 2, bakeUntil: null, hold: null })
  })

  test("I21: a wave that is wider than the run is a sliding window", () => {
    const run = started({ targetsCount: 5, width: 2, waves: [3, 5] })
    expect(run.commands()).toEqual(["start 0/1", "start 1/1"])
    run.finish("succeeded", 0)
    expect(run.commands()).toEqual(["start 2/1"])
    run.finish("succeeded", 1)
    expect(run.commands()).toEqual([])
    run.finish("succeeded", 2)
    expect(run.commands()).toEqual(["start 3/1", "start 4/1"])
  })

  test("I21: a bake goes on during a pause, and nothing wakes the server for it", () => {
    const run = started(waves)
    run.step({ type: "pause" })
    run.finish("succeeded", 0)
    expect(run.store.execution).toBe("paused")
    expect(pace(run)).toEqual({ wave: 1, bakeUntil: run.now + 1000, hold: null })
    expect(run.last?.wakeAt).toBeUndefined()
    run.wait(400)
    run.step({ type: "resume" })
    expect(run.commands()).toEqual([])
    expect(run.last?.wakeAt).toBe(run.now + 600)
    run.step({ type: "pause" })
    run.wait(5000)
    run.step({ type: "resume" })
    expect(run.commands()).toHaveLength(3)
  })

  test("I3: a stop ends a bake", () => {
    const run = started(waves)
    run.finish("succeeded", 0)
    run.step({ type: "abort", mode: "finish" })
    expect(run.last?.execution).toMatchObject({ state: "aborted", wave: 1, bakeUntil: null, hold: null })
    expect(run.last?.wakeAt).toBeUndefined()
  })

  test("I19, I21: a server that stood still over the end of a bake begins the next wave a second later", () => {
    const run = started(waves)
    run.finish("succeeded", 0)
    run.jump(3_600_000)
    expect(run.commands()).toEqual([])
    run.wait(1000)
    expect(run.commands()).toHaveLength(3)
  })
})

describe("unavailable targets", () => {
  test("I22, W4: who ended badly and was not put back takes a place; who was put back gives it back", () => {
    const run = started({ width: 4, unavailableMax: 3, errorsMax: 9 })
    expect(inFlight(run)).toBe(3)
    expect(waitsFor(run)).toBe("unavailable")
    run.finish("unreachable", 0)
    expect(inFlight(run)).toBe(2)
    expect(summarize(run.state).unavailable).toBe(3)
    run.finish("failed", 1)
    expect(inFlight(run)).toBe(2)
    expect(summarize(run.state).unavailable).toBe(3)
    run.rolledBack(1)
    expect(run.commands()).toEqual(["start 3/1"])
    run.finish("succeeded", 2, 3)
    expect(inFlight(run)).toBe(2)
  })

  test("I27, W5: a run that can never start another target stops", () => {
    const run = started({ width: 4, unavailableMax: 2, errorsMax: 9, rollbackOnFailure: false })
    run.finish("interrupted", 0)
    expect(run.store.execution).toBe("running")
    run.finish("failed", 1)
    expect(run.store.execution).toBe("failed")
    expect(run.store.stop).toEqual({ by: "unavailable-limit", unavailable: 2, unavailableMax: 2, mode: "finish" })
    expect(run.last?.execution?.reason).toContain("2 targets are unavailable, 2 tolerated")
    expect(run.last?.neverStarted).toEqual({ from: 2, to: 10 })
  })

  test("I22: a target whose way back is on its way is counted once", () => {
    const run = started({ width: 4, unavailableMax: 3, errorsMax: 9 })
    run.finish("failed", 0)
    run.step({ type: "rollback-started", ordinal: 0, attempt: 1 })
    expect(summarize(run.state).unavailable).toBe(3)
    run.finish("succeeded", 1)
    expect(run.commands()).toEqual(["start 3/1"])
  })

  test("I27: in a pause, and while a hold leaves room, nothing stops for want of room", () => {
    const run = started({ width: 4, unavailableMax: 2, errorsMax: 9, rollbackOnFailure: false })
    run.step({ type: "hold-starts", reason: "closed" })
    run.finish("succeeded", 0)
    run.finish("failed", 1)
    expect(run.store.execution).toBe("running")
    run.step({ type: "release-starts" })
    run.step({ type: "pause" })
    run.finish("failed", 2)
    expect(run.store.execution).toBe("paused")
    run.step({ type: "resume" })
    expect(run.store.stop).toMatchObject({ by: "unavailable-limit", unavailable: 2 })
  })

  test("I22: the last targets may take the limit; then the run ends as it would", () => {
    const run = started({ targetsCount: 2, width: 2, unavailableMax: 2, errorsMax: 9, rollbackOnFailure: false })
    run.finish("failed", 0, 1)
    expect(run.store.execution).toBe("incomplete")
  })
})

describe("strict", () => {
  test("I23, W10: in flight and failed never exceed the limit by more than one", () => {
    const run = started({ width: 9, errorsMax: 2, strict: true, rollbackOnFailure: false })
    expect(inFlight(run)).toBe(3)
    expect(waitsFor(run)).toBe("strict")
    run.finish("failed", 0)
    expect(inFlight(run)).toBe(2)
    run.finish("succeeded", 1)
    expect(inFlight(run)).toBe(2)
    run.finish("failed", 2)
    expect(inFlight(run)).toBe(1)
    run.finish("failed", 3)
    expect(run.store.stop).toMatchObject({ by: "error-limit", failures: 3 })
    expect(run.store.execution).toBe("failed")
  })

  test("I23: a target on its way back has failed and is counted once", () => {
    const run = started({ width: 9, errorsMax: 2, strict: true })
    run.finish("failed", 0)
    expect(inFlight(run)).toBe(3)
    run.finish("succeeded", 1, 2)
    expect(run.commands()).toEqual(["start 3/1", "start 4/1"])
  })
})

describe("failure domains", () => {
  test("I24, W10: never two members of one domain at once; the head of the line waits", () => {
    const run = started({ targetsCount: 5, width: 5, domains: Int32Array.of(0, 1, 0, 2, -1), errorsMax: 5 })
    expect(run.commands()).toEqual(["start 0/1", "start 1/1"])
    expect(waitsFor(run)).toBe("domain")
    run.finish("succeeded", 1)
    expect(run.commands()).toEqual([])
    run.finish("failed", 0)
    expect(run.commands()).toEqual(["rollback 0/1"])
    run.rolledBack(0)
    expect(run.commands()).toEqual(["start 2/1", "start 3/1", "start 4/1"])
    expect(run.last?.wakeAt).toBe(run.now + run.plan.startTimeoutMilliseconds)
  })

  test("I24: as many of one as the plan allows, and any number of none", () => {
    const domains = Int32Array.of(0, 0, 0, -1, -1)
    expect(started({ targetsCount: 5, width: 5, domains, domainWidth: 2 }).commands()).toHaveLength(2)
    expect(started({ targetsCount: 5, width: 5, domains, domainWidth: 3 }).commands()).toHaveLength(5)
    const none = Int32Array.of(-1, -1, -1, 0, 0)
    expect(started({ targetsCount: 5, width: 5, domains: none }).commands()).toHaveLength(4)
  })

  test("I24: the least of all limits holds", () => {
    const domains = Int32Array.of(0, 1, 2, 3, 4)
    const run = started({
      targetsCount: 5,
      width: 4,
      domains,
      unavailableMax: 3,
      waves: [5],
      errorsMax: 1,
      strict: true,
    })
    expect(inFlight(run)).toBe(2)
  })
})

describe("the width", () => {
  test("I25: a run made wider starts more at once, one made narrower drains and kills nothing", () => {
    const run = started()
    run.step({ type: "set-width", width: 4 })
    expect(run.commands()).toEqual(["start 2/1", "start 3/1"])
    expect(run.last?.execution).toMatchObject({ state: "running", width: 4 })
    run.step({ type: "set-width", width: 1 })
    expect(run.commands()).toEqual([])
    run.finish("succeeded", 0, 1, 2)
    expect(run.commands()).toEqual([])
    run.finish("succeeded", 3)
    expect(run.commands()).toEqual(["start 4/1"])
    expect(summarize(run.state).width).toBe(1)
  })

  test("I12, I25: no width is taken that is none, that is so already, or that comes too late", () => {
    const run = started()
    const widths = [2, 0, -1, 1.5, Number.NaN, 100_000_001]
    const { ignored } = run.step(...widths.map((width) => ({ type: "set-width", width }) as const))
    expect(ignored.map(({ why }) => why)).toEqual(["repeated", ...widths.slice(1).map(() => "out-of-range")])
    run.step({ type: "abort", mode: "finish" })
    expect(run.step({ type: "set-width", width: 3 }).ignored.map(({ why }) => why)).toEqual(["execution-state"])
    expect(run.state.width).toBe(2)
  })

  test("I25: the width may be changed before the start and in a pause", () => {
    const run = new EngineRun()
    run.step({ type: "set-width", width: 1 })
    run.step({ type: "planned" })
    expect(run.commands()).toEqual(["start 0/1"])
    run.step({ type: "pause" }, { type: "set-width", width: 100_000_000 })
    run.finish("succeeded", 0)
    expect(run.step({ type: "resume" }).commands).toHaveLength(9)
  })
})

describe("a hold", () => {
  const hold = { type: "hold-starts", reason: "the window nights is closed", until: 9000 } as const

  test("I26: nothing new starts, what runs goes on and is tried again; the release starts more", () => {
    const run = started({ attemptsMax: 2, width: 3 })
    run.finish("failed", 0)
    run.step(hold)
    expect(pace(run)).toEqual({ wave: 1, bakeUntil: null, hold: { reason: hold.reason, until: 9000 } })
    expect(run.last?.execution?.reason).toBe("no target starts: the window nights is closed")
    expect(waitsFor(run)).toBe("hold")
    run.finish("succeeded", 1, 2)
    expect(run.commands()).toEqual([])
    run.wait(run.plan.retryDelayMilliseconds)
    expect(run.commands()).toEqual(["start 0/2"])
    run.finish("succeeded", 0)
    expect(run.store.execution).toBe("running")
    expect(run.last?.wakeAt).toBeUndefined()
    run.wait(9000)
    expect(run.commands()).toEqual([])
    run.step({ type: "release-starts" })
    expect(run.commands()).toEqual(["start 3/1", "start 4/1", "start 5/1"])
    expect(run.last?.execution).toMatchObject({ hold: null, reason: null })
  })

  test("I26: another hold replaces the one before; the same one, or a release of none, changes nothing", () => {
    const run = started()
    expect(run.step({ type: "release-starts" }).ignored.map(({ why }) => why)).toEqual(["repeated"])
    run.step(hold)
    expect(run.step(hold).ignored.map(({ why }) => why)).toEqual(["repeated"])
    expect(run.step({ ...hold, until: 9001 }).execution?.hold?.until).toBe(9001)
    expect(run.step({ type: "hold-starts", reason: hold.reason }).execution?.hold?.until).toBeNull()
    run.step({ type: "hold-starts", reason: "frozen" })
    expect(run.state.hold).toEqual({ reason: "frozen", until: null })
    run.step({ type: "abort", mode: "finish" })
    expect(run.state.hold).toBeNull()
    expect(run.step(hold).ignored.map(({ why }) => why)).toEqual(["execution-state"])
  })

  test("I26: a hold before the start lets nothing start, and a bake is not waited for in vain", () => {
    const run = new EngineRun({ waves: [1, 10], bakeMilliseconds: 1000 })
    run.step(hold)
    run.step({ type: "planned" })
    expect(run.commands()).toEqual([])
    run.step({ type: "release-starts" })
    run.step(hold)
    run.finish("succeeded", 0)
    expect(pace(run)).toMatchObject({ bakeUntil: run.now + 1000 })
    expect(run.last?.wakeAt).toBeUndefined()
    run.wait(2000)
    run.step({ type: "release-starts" })
    expect(run.commands()).toEqual(["start 1/1", "start 2/1"])
  })
})
