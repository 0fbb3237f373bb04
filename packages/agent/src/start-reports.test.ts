import type { AgentFrame } from "@signalbox/contracts/fleet/agent-protocol"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { StartReports } from "./start-reports.ts"

const key = `exe_${"0".repeat(26)}/0/1`
const other = `exe_${"0".repeat(26)}/1/1`
const started = (of: string): AgentFrame => ({
  type: "started",
  key: of,
  phase: "task",
  at: "2030-01-01T00:00:00.000Z",
})
const finished: AgentFrame = { type: "task-finished", key, outcome: { state: "succeeded", steps: [] } }
const progress: AgentFrame = { type: "progress", key, step: 0, stepsCount: 2, name: "one" }

let sent: AgentFrame[]
let reports: StartReports

beforeEach(() => {
  vi.useFakeTimers()
  sent = []
  reports = new StartReports((frame) => sent.push(frame) > 0, 100)
})
afterEach(() => vi.useRealTimers())

test("a task that ends soon says its end alone", () => {
  reports.send(started(key))
  reports.send({ type: "heartbeat", load: 0 })
  vi.advanceTimersByTime(99)
  reports.send(finished)
  vi.advanceTimersByTime(1_000)
  expect(sent.map(({ type }) => type)).toEqual(["heartbeat", "task-finished"])
})

test("a longer one says that it began, once, and each for itself", () => {
  reports.send(started(key))
  vi.advanceTimersByTime(50)
  reports.send(started(other))
  vi.advanceTimersByTime(50)
  expect(sent).toEqual([started(key)])
  reports.send(finished)
  vi.advanceTimersByTime(50)
  expect(sent).toEqual([started(key), finished, started(other)])
})

test("whatever else is said of a task comes after its start", () => {
  reports.send(started(key))
  reports.send(progress)
  reports.send(finished)
  vi.advanceTimersByTime(1_000)
  expect(sent).toEqual([started(key), progress, finished])
})

test("the start of a rollback is not held back", () => {
  const rollback: AgentFrame = { type: "started", key, phase: "rollback", at: "2030-01-01T00:00:00.000Z" }
  reports.send(rollback)
  expect(sent).toEqual([rollback])
})
