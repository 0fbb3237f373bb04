import { expect, test } from "vitest"
import { markIndex, nodeMarks } from "./node-mark.ts"
import { foldLimits, RolloutFold } from "./rollout-fold.ts"
import { startedAt, testExecution, testTask, testUpdate } from "./rollout.fixture.ts"

test("nothing is seen before the first message", () => {
  expect(new RolloutFold().view(startedAt)).toBeUndefined()
})

test("rate and time left come from the last half minute, not from the whole run", () => {
  const fold = new RolloutFold()
  const at = (seconds: number, succeeded: number) =>
    fold.apply(
      testUpdate(testExecution({ targets: { text: "all", count: 1000 } }, { succeeded })),
      startedAt + seconds * 1000,
    )
  at(0, 0)
  at(10, 500)
  for (let second = 11; second <= 60; second++) at(second, 500 + 2 * (second - 10))
  const view = fold.view(startedAt + 60_000)
  expect(view?.nodesPerSecond).toBeCloseTo(2, 1)
  expect(view?.remainingMilliseconds).toBeCloseTo(200_000, -4)
})

test("a paused run has no time left to tell", () => {
  const fold = new RolloutFold()
  fold.apply(testUpdate(testExecution({ state: "paused" }, { succeeded: 1 })), startedAt)
  fold.apply(testUpdate(testExecution({ state: "paused" }, { succeeded: 2 })), startedAt + 5000)
  expect(fold.view(startedAt + 6000)?.remainingMilliseconds).toBeUndefined()
})

test("a node that failed and succeeds at its next attempt is no longer among the failed", () => {
  const fold = new RolloutFold()
  fold.apply(testUpdate(testExecution(), [testTask(1, { state: "failed" })]), startedAt)
  expect(fold.view(startedAt)?.failed.map(({ ordinal }) => ordinal)).toEqual([1])
  fold.apply(testUpdate(testExecution(), [testTask(1, { state: "running" })]), startedAt)
  expect(fold.view(startedAt)).toMatchObject({ failed: [], running: [{ ordinal: 1 }] })
  fold.apply(testUpdate(testExecution(), [testTask(1)]), startedAt)
  expect(fold.view(startedAt)).toMatchObject({ failed: [], running: [] })
})

test("a fleet of any size costs one byte a node", () => {
  const fold = new RolloutFold()
  const count = 2_000_000
  const tasks = Array.from({ length: 1000 }, (_, ordinal) => testTask(ordinal * 1999, { state: "failed" }))
  fold.apply(testUpdate(testExecution({ targets: { text: "all", count } }), tasks), startedAt)
  const view = fold.view(startedAt)
  expect(view?.marks).toHaveLength(foldLimits.gridNodesMax)
  expect(view?.failed).toHaveLength(foldLimits.linesMax)
  expect(nodeMarks[view?.marks[1999] ?? 0]?.name).toBe("failed")
  expect(view?.marks[1]).toBe(markIndex("queued"))
})
