import { agentFrame, agentLimits, type AgentFrame, type StepResult } from "@signalbox/contracts/fleet/agent-protocol"
import { describe, expect, test } from "vitest"
import { exchangedBytes, fitFrame } from "./fit-frame.ts"
import { RequestPace } from "./request-pace.ts"

const key = `exe_${"0".repeat(26)}/0/1`
const bytesMax = agentLimits.exchangeBytesMax

function stepOf(text: string): StepResult {
  const output = { head: text, tail: text, bytes: text.length * 4, truncated: true }
  const message = text.slice(0, 2000)
  return { name: "s", state: "failed", attempts: 1, durationMilliseconds: 1, stdout: output, stderr: output, message }
}

describe("a frame of an exchange", () => {
  test("goes as it is where it fits", () => {
    const frame: AgentFrame = { type: "task-finished", key, outcome: { state: "failed", steps: [stepOf("out")] } }
    expect(fitFrame(frame, bytesMax)).toBe(JSON.stringify(frame))
  })

  test.each([
    ["plain text", "x"],
    ["text that is escaped twice", "\u0001"],
    ["quotes", '"\\'],
    ["characters of four bytes", "😀"],
  ])("is cut until it fits, however it is written: %s", (_, unit) => {
    const steps = Array.from({ length: 40 }, () => stepOf(unit.repeat(8_000)))
    const frames: AgentFrame[] = [
      { type: "task-finished", key, outcome: { state: "failed", steps } },
      { type: "rollback-finished", key, outcome: { state: "rollback-failed", restored: 1, undone: steps } },
    ]
    for (const frame of frames) {
      const text = fitFrame(frame, bytesMax) ?? ""
      expect(exchangedBytes(text)).toBeLessThanOrEqual(bytesMax)
      expect(agentFrame.parse(JSON.parse(text))).toMatchObject({ type: frame.type, key })
    }
  })

  test("is refused where nothing can be left out", () => {
    const frame: AgentFrame = { type: "progress", key, step: 0, stepsCount: 1, name: "n", message: "m".repeat(500) }
    expect(fitFrame(frame, 300)).toBeUndefined()
  })
})

test("calls go at once up to the burst, then one each interval, also when they were asked for together", async () => {
  const pace = new RequestPace({ gapMilliseconds: 20, burst: 3 })
  const begin = performance.now()
  const times = await Promise.all(
    Array.from({ length: 6 }, async () => {
      await pace.take(new AbortController().signal)
      return performance.now() - begin
    }),
  )
  expect(times[2]).toBeLessThan(20)
  // A timer may fire up to a millisecond early.
  for (const index of [3, 4, 5]) expect(times[index]).toBeGreaterThanOrEqual((index - 2) * 20 - 2)
  const stopped = new AbortController()
  stopped.abort()
  await expect(pace.take(stopped.signal)).rejects.toThrow("abort")
})
