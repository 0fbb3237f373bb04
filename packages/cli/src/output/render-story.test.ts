import { expect, test } from "vitest"
import { renderStory } from "./render-story.ts"

const entry = (what: string, text: string, data?: Record<string, unknown>) => ({
  time: "2030-01-01T03:00:00.000Z",
  kind: "event" as const,
  id: "evt_1#0",
  what,
  subject: "tsk_1",
  principal: "system:workflows",
  depth: 1,
  text,
  ...(data && { data }),
})

test("X4: a story counts the tasks that went well and names those that did not", () => {
  const succeeded = { state: "succeeded" }
  const entries = [
    entry("execution.started", "execution slow started"),
    entry("task.started", "web-1 started"),
    entry("task.started", "web-2 started"),
    entry("task.finished", "web-1 succeeded", succeeded),
    entry("task.finished", "web-2 failed: disk full", { state: "failed" }),
    entry("task.started", "web-3 started"),
    entry("task.finished", "web-3 succeeded", succeeded),
  ]
  const lines = renderStory({ id: "exe_1", cause: "req_1", entries, truncated: true }).split("\n")
  expect(lines.map((line) => line.replace("2030-01-01T03:00:00Z  ", ""))).toEqual([
    "The story of exe_1, which began with req_1",
    "└ execution slow started  [execution.started tsk_1]",
    "└ nodes: 2 started, 1 succeeded",
    "└ web-2 failed: disk full  [task.finished tsk_1]",
    "└ web-3 started  [task.started tsk_1]",
    "└ web-3 succeeded  [task.finished tsk_1]",
    "There is more than is told here; --limit tells more of it.",
    "",
  ])
})
