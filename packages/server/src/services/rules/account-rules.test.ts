/** Rules that the program of today can't read or compile: stored by another one, or written into the table. */
import { operations } from "@signalbox/contracts/operations"
import { expect, test } from "vitest"
import { createRuleDirectory } from "./rule-directory.ts"
import type { RuleRow } from "./rule-store.ts"

const known = new Map(operations.map((operation) => [operation.name, operation]))

function rowOf(name: string, definition: unknown): RuleRow {
  const rest = { faultAt: null, faultMessage: null, faultsCount: 0, createdAt: 0, changedAt: 0 }
  return { account: "main", name, id: "rul_1", version: 3, enabled: true, author: "usr_1", definition, ...rest }
}

async function directoryOf(rows: readonly RuleRow[]) {
  const noted: string[] = []
  const directory = createRuleDirectory({
    sql: { query: () => Promise.resolve(rows as never) },
    operations: known,
    faults: { note: (_account, { rule }, message) => void noted.push(`${rule}: ${message}`) },
  })
  await directory.listener.load("main", 1)
  return { directory, noted }
}

const call = {
  account: "main",
  operation: "windows.apply",
  caller: { principal: "usr_1", kind: "user" as const, roles: [] },
  input: { name: "night" },
}

const deny = [{ deny: { reason: "closed" } }]

test("R7: a gating rule that can't be compiled refuses the calls that it is about", async () => {
  const on = [{ operation: "windows.*", phase: "before" }]
  const { directory, noted } = await directoryOf([rowOf("old", { on, when: "input.gone()", do: deny })])
  expect(directory.isAsked("main", "windows.apply", "before")).toBe(true)
  expect(directory.isAsked("main", "nodes.list", "before")).toBe(false)
  expect(directory.decide(call)).toMatchObject({ kind: "deny", code: "rules.condition-failed", by: { rule: "old" } })
  expect(directory.findBroken("main", { rule: "old", version: 3 })).toContain("can't compile")
  expect(noted).toHaveLength(1)
})

test("R7: one that can't even be read refuses every call", async () => {
  const { directory } = await directoryOf([rowOf("newer", { on: [{ comet: "halley" }], do: deny })])
  expect(directory.isAsked("main", "nodes.list", "before")).toBe(true)
  expect(directory.decide(call)).toMatchObject({ kind: "deny", code: "rules.condition-failed" })
  expect(directory.isAsked("other", "nodes.list", "before")).toBe(false)
})

test("R5: one that follows and can't be compiled fires nothing", async () => {
  const on = [{ event: "node.enrolled" }]
  const { directory } = await directoryOf([
    rowOf("follower", { on, when: "event.gone()", do: [{ operation: "windows.remove", input: { name: "night" } }] }),
  ])
  const event = { id: "evt_1", type: "node.enrolled", subject: "nod_1", time: 0, cause: "req_1", depth: 0 }
  const matched = directory.matchEvent("main", { ...event, principal: "usr_1", data: {} })
  expect(matched.firings).toEqual([])
  expect(directory.decide(call)).toEqual({ kind: "pass" })
})

test("R5: events, signals, webhooks, triggers and the members of a correlation", async () => {
  const action = [{ operation: "windows.remove", input: { name: "night" } }]
  const { directory } = await directoryOf([
    rowOf("a-event", { on: [{ event: "node.*" }], when: "event.data.count > 1", do: action }),
    rowOf("b-raised", { on: [{ signal: "disk" }], do: action }),
    rowOf("c-cleared", { on: [{ signal: "disk", state: "cleared" }], do: action }),
    rowOf("d-hook", { on: [{ webhook: "git" }], do: action }),
    rowOf("e-fired", { on: [{ trigger: "nightly" }], do: action }),
    rowOf("f-together", {
      correlate: {
        all: [{ event: "node.enrolled" }, { event: "node.*", when: "event.data.count == 5" }],
        within: "5m",
      },
      do: action,
    }),
  ])
  const match = (type: string, data: object) => {
    const event = { id: "evt_1", type, subject: "s", time: 0, cause: "req_1", depth: 0, principal: "usr_1", data }
    const { firings, members, faults } = directory.matchEvent("main", event)
    return [
      ...firings.map(({ rule }) => rule),
      ...members.map(({ rule, list, index }) => `${rule} ${list} ${index}`),
      ...faults.map(({ rule }) => `${rule} failed`),
    ]
  }
  expect(match("node.enrolled", { count: 5 })).toEqual(["a-event", "f-together all 0", "f-together all 1"])
  expect(match("node.removed", { count: 1 })).toEqual([])
  expect(match("node.removed", {})).toEqual(["a-event failed", "f-together failed"])
  expect(match("signal.raised", { signal: "disk" })).toEqual(["b-raised"])
  expect(match("signal.cleared", { signal: "disk" })).toEqual(["c-cleared"])
  expect(match("signal.raised", { signal: "load" })).toEqual([])
  expect(match("webhook.received", { webhook: "git" })).toEqual(["d-hook"])
  expect(match("signal.raised", { signal: "disk", silenced: { by: "silence", name: "move" } })).toEqual([])
  expect(match("signal.cleared", { signal: "disk", silenced: { by: "signal", name: "power" } })).toEqual([])
  expect(match("trigger.fired", { trigger: "nightly" })).toEqual(["e-fired"])
  expect(match("trigger.fired", { trigger: "weekly" })).toEqual([])
  expect(match("operation.done", { firings: [{ rule: "a-event", version: 1 }] })).toEqual(["a-event"])
  expect(directory.eventTypes().toSorted()).toEqual(
    ["node.*", "node.enrolled", "signal.cleared", "signal.raised", "trigger.fired", "webhook.received"].toSorted(),
  )
})
