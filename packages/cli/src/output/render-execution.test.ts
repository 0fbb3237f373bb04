import { expect, test } from "vitest"
import { testExecution } from "../rollout/rollout.fixture.ts"
import { renderExecution } from "./render-execution.ts"

test("W8, W6: a run that is about another one says so in its first line", () => {
  const first = (change: Parameters<typeof testExecution>[0]) =>
    renderExecution(testExecution({ id: "exe_2", ...change }), undefined).split("\n")[0]
  expect(first({})).toMatch(/exe_2$/)
  expect(first({ kind: "retry", retryOf: "exe_1" })).toContain("exe_2, a retry of exe_1")
  expect(first({ kind: "rollback", rollbackOf: "exe_1" })).toContain("exe_2, the rollback of exe_1")
})
