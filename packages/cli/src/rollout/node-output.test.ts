import { expect, test } from "vitest"
import { NodeOutput } from "./node-output.ts"
import { testExecution, testTask, testUpdate } from "./rollout.fixture.ts"

const chunk = (ordinal: number, text: string, stream: "stdout" | "stderr" = "stdout") => ({
  ordinal,
  step: 0,
  stream,
  text,
})
const running = (ordinal: number) => testTask(ordinal, { state: "running" })

test("lines are whole, whoever writes between their parts", () => {
  const output = new NodeOutput({ forTerminal: false })
  const first = output.text(
    testUpdate(testExecution(), [running(1), running(2)], [chunk(1, "a"), chunk(2, "x\ny"), chunk(1, "b\nc")]),
  )
  expect(first).toBe("web-2 | x\nweb-1 | ab\n")
  expect(output.text(testUpdate(testExecution(), [], [chunk(1, "err\n", "stderr")]))).toBe("web-1 | err\n")
  expect(output.text(testUpdate(testExecution(), [testTask(1)]))).toBe("web-1 | c\n")
  expect(output.rest()).toBe("web-2 | y\n")
  expect(output.rest()).toBe("")
})

test("a node without output says why it failed", () => {
  const output = new NodeOutput({ forTerminal: false })
  const task = testTask(3, { state: "unreachable", message: "took no order within 30s" })
  expect(output.text(testUpdate(testExecution(), [task]))).toBe("web-3 ! unreachable: took no order within 30s\n")
})

test("a terminal gets no escape sequences of a node, a pipe gets the bytes as they are", () => {
  const update = testUpdate(testExecution(), [running(1)], [chunk(1, "\u001b]0;title\u0007\u001b[2Jred\u009b31m\r\n")])
  expect(new NodeOutput({ forTerminal: true }).text(update)).toBe("web-1 | red\n")
  expect(new NodeOutput({ forTerminal: false }).text(update)).toContain("\u001b[2J")
})
