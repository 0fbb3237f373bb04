import { expect, test } from "vitest"
import { decideNext, describeEvent, isSubscribed } from "./model.ts"
import { retryPausesMilliseconds } from "./notification-limits.ts"

test("patterns take a noun, a type, or all but deliveries, so that a failing delivery makes no loop", () => {
  expect(isSubscribed(["execution.*"], "execution.failed")).toBe(true)
  expect(isSubscribed(["execution.*"], "executions.failed")).toBe(false)
  expect(isSubscribed(["node.held", "key.created"], "key.created")).toBe(true)
  expect(isSubscribed(["*"], "task.finished")).toBe(true)
  expect(isSubscribed(["*"], "delivery.dead")).toBe(false)
  expect(isSubscribed(["delivery.dead"], "delivery.dead")).toBe(true)
})

test("pauses grow to about 16 hours together, spread by a fifth; the tenth failure is the last", () => {
  const next = (attempts: number, fraction: number, more: object = {}) =>
    decideNext({ ok: false, answer: "", ...more }, { attempts, fraction, pausesMilliseconds: retryPausesMilliseconds })
  expect(next(1, 0)).toEqual({ state: "pending", inMilliseconds: 4_000 })
  expect(next(1, 1)).toEqual({ state: "pending", inMilliseconds: 6_000 })
  expect(next(9, 0.5)).toEqual({ state: "pending", inMilliseconds: 28_800_000 })
  expect(next(10, 0.5)).toEqual({ state: "dead" })
  expect(next(1, 0, { permanent: true })).toEqual({ state: "dead" })
  expect(next(1, 0, { retryAfterMilliseconds: 60_000 })).toEqual({ state: "pending", inMilliseconds: 60_000 })
  expect(next(1, 0, { retryAfterMilliseconds: 1e12 })).toEqual({ state: "pending", inMilliseconds: 3_600_000 })
  expect(next(10, 0, { ok: true })).toEqual({ state: "delivered" })
  const total = retryPausesMilliseconds.reduce((sum, pause) => sum + pause, 0)
  expect(total / 3_600_000).toBeCloseTo(15.7, 1)
})

test("what events say goes into a message as one line of bounded length", () => {
  const event = { specversion: "1.0", id: "e", source: "/accounts/a", type: "node.held", subject: "nod_1" } as const
  const rest = { subjectversion: 1, time: "2026-01-01T00:00:00.000Z", cause: "c", depth: 0, principal: "p" }
  const data = { name: "a\r\nBcc: all@example.org", long: "x".repeat(5000), nested: { not: "shown" } }
  const message = describeEvent({ ...event, ...rest, data }, { publicUrl: "https://s" })
  expect(message.facts).toContainEqual(["name", "a Bcc: all@example.org"])
  expect(message.facts.find(([label]) => label === "long")?.[1]).toHaveLength(1000)
  expect(message.severity).toBe("alert")
  expect(JSON.stringify(message)).not.toContain("shown")
})

test.each([
  [
    "action.stopped",
    { rule: "prefer-blue", operation: "nodes.update", reason: "a chain stops at 8" },
    "rule prefer-blue: nodes.update stopped: a chain stops at 8",
    "alert",
  ],
  [
    "action.finished",
    { rule: "clean", operation: "executions.create" },
    "rule clean: executions.create finished",
    "notice",
  ],
  ["signal.raised", { signal: "disk-full", node: "web-7", value: 97 }, "disk-full raised on web-7: 97", "alert"],
  [
    "signal.cleared",
    { signal: "disk-full", node: "web-7", value: null, reason: "missing" },
    "disk-full cleared on web-7: missing",
    "notice",
  ],
  ["key.revoked", { name: "x" }, "key.revoked: sub_1", "notice"],
])("a message about %s says in its title what it is about", (...[type, data, title, severity]) => {
  const event = {
    specversion: "1.0",
    id: "e",
    source: "/accounts/a",
    type,
    subject: "sub_1",
    subjectversion: 1,
  } as const
  const rest = { time: "2026-01-01T00:00:00.000Z", cause: "c", depth: 0, principal: "p" }
  expect(describeEvent({ ...event, ...rest, data }, { publicUrl: "https://s" })).toMatchObject({ title, severity })
})
