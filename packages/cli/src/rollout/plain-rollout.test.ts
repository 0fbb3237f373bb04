import { expect, test } from "vitest"
import { conclusion } from "./conclusion.ts"
import { PlainRollout } from "./plain-rollout.ts"
import { testExecution, testTask, testUpdate } from "./rollout.fixture.ts"

test("a run in a pipe: one line for each change worth telling", () => {
  const plain = new PlainRollout()
  const ended = testExecution(
    { state: "failed", reason: "over the error limit", finishedAt: "2026-01-02T03:04:17.300Z" },
    { succeeded: 1, failed: 1, rolledBack: 1, neverStarted: 10 },
  )
  const lines = [
    testUpdate(testExecution({ state: "planning" })),
    testUpdate(testExecution(), [testTask(0, { state: "running" })]),
    testUpdate(testExecution(), [
      testTask(0),
      testTask(1, { state: "failed", rollback: "pending", message: "exit 1\nbad\u001b[2J" }),
    ]),
    testUpdate(testExecution(), [testTask(1, { state: "failed", rollback: "running" })]),
    testUpdate(testExecution(), [testTask(1, { state: "failed", rollback: "rolled-back" })]),
    testUpdate(testExecution({ state: "aborting", reason: "over the error limit" })),
    testUpdate(ended, [testTask(2, { state: "never-started" })]),
    testUpdate(ended),
  ].flatMap((update) => plain.lines(update))
  expect([...lines, conclusion(ended)].join("\n")).toMatchInlineSnapshot(`
    "exe_01jd3v0n9wfx2s8q4r6t8v0xya: deploy v3 over 12 nodes, 4 at once, 2 failures tolerated
    exe_01jd3v0n9wfx2s8q4r6t8v0xya: running
    web-0: succeeded
    web-1: rolling-back: exit 1 bad
    web-1: rolled-back
    exe_01jd3v0n9wfx2s8q4r6t8v0xya: aborting: over the error limit
    exe_01jd3v0n9wfx2s8q4r6t8v0xya failed: over the error limit (1 succeeded, 1 failed, 10 never started, 1 rolled back, 12s)"
  `)
})

test("successes of a big fleet are told in steps of a twentieth; failures one by one", () => {
  const plain = new PlainRollout()
  const at = (succeeded: number, tasks = [testTask(succeeded)]) =>
    plain.lines(testUpdate(testExecution({ targets: { text: "all", count: 1000 } }, { succeeded }), tasks))
  expect(at(0)).toHaveLength(1)
  expect(at(49)).toEqual([])
  expect(at(50)).toEqual(["50/1000: 50 succeeded"])
  expect(at(51, [testTask(7, { state: "unreachable" })])).toEqual(["web-7: unreachable"])
})
