import { expect, test } from "vitest"
import { testTask } from "../rollout/rollout.fixture.ts"
import { renderNodeOutput } from "./render-node-output.ts"

const kept = (head: string, tail = "", truncated = false) => ({
  head,
  tail,
  bytes: head.length + tail.length,
  truncated,
})
const taskWith = (stdout: ReturnType<typeof kept>, stderr = kept("")) => ({
  ...testTask(1),
  outcome: {
    state: "succeeded" as const,
    steps: [{ name: "s", state: "succeeded" as const, attempts: 1, durationMilliseconds: 1, stdout, stderr }],
  },
})

test("each line has its node's name, whether it ends or not", () => {
  const task = taskWith(kept("a\r\n\nb"), kept("e\n"))
  expect(renderNodeOutput(task, { forTerminal: false })).toBe("web-1 | a\nweb-1 | \nweb-1 | b\nweb-1 | e\n")
})

test("what was kept in two halves is joined; what was cut says so", () => {
  expect(renderNodeOutput(taskWith(kept("on", "e\ntwo")), { forTerminal: false })).toBe("web-1 | one\nweb-1 | two\n")
  const cut = renderNodeOutput(taskWith(kept("one\n", "two\n", true)), { forTerminal: false })
  expect(cut).toBe("web-1 | one\nweb-1 | … (8 bytes in all, the middle is not kept)\nweb-1 | two\n")
})

test("a node without output says why it failed", () => {
  const task = testTask(3, { state: "unreachable", message: "took no order within 30s" })
  expect(renderNodeOutput(task, { forTerminal: false })).toBe("web-3 ! unreachable: took no order within 30s\n")
})

test("a terminal gets no escape sequences of a node, a pipe gets the bytes as they are", () => {
  const task = taskWith(kept("\u001b]0;title\u0007\u001b[2Jred\u009b31m\n"))
  expect(renderNodeOutput(task, { forTerminal: true })).toBe("web-1 | red\n")
  expect(renderNodeOutput(task, { forTerminal: false })).toContain("\u001b[2J")
})
