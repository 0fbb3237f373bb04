import { expect, test } from "vitest"
import { readableDocument } from "./cell-text.ts"
import { ruleColumns, ruleRow, signalColumns, signalRow, stateColumns, stateRow } from "./rule-rows.ts"
import { renderTable } from "./table.ts"

const at = "2026-11-22T03:00:00.000Z"
const stored = { version: 1, author: "user:ada", createdAt: at, changedAt: at, enabled: true, id: "rul_1" }
const budget = { firings: 100, within: "PT1H" }
const lines = (rows: readonly object[], fields: readonly string[]): string[] =>
  renderTable(rows, { fields }).trimEnd().split("\n")

test("R14: a list of rules says what sets them going, what they do and what is wrong", () => {
  const warning = { code: "triggers.signal-not-found", path: "on.0.signal", message: "" }
  const rows = [
    { name: "a", on: [{ signal: "disk-full" }], do: [{ operation: "executions.create" }], warnings: [warning] },
    {
      ...{ name: "b", on: [{ operation: "nodes.remove", phase: "before" as const }, { webhook: "shop" }] },
      ...{ do: [{ delay: "PT30M" }, { requireApproval: { template: "two" } }], enabled: false },
    },
    {
      ...{ name: "c", correlate: { any: [{ event: "a.b" }, { event: "c.d" }], within: "PT5M", by: [] } },
      ...{ do: [{ deny: { reason: "no" } }], lastFault: { at, message: "", count: 3 } },
    },
    { name: "d", on: [{ trigger: "go" }], do: [{ rewrite: { note: "x" } }], broken: "no such field" },
    { name: "e", on: [{ trigger: "go" }], do: [{ operation: "ext.shop.sell" }], outdated: "there is no operation" },
  ]
  expect(
    lines(
      rows.map((row) => ruleRow({ ...stored, budget, ...row })),
      ruleColumns,
    ),
  ).toEqual([
    "NAME  STATE          ON                              DOES                     VERSION  CHANGED",
    "a     on, 1 warning  signal disk-full                executions.create        1        2026-11-22T03:00:00Z",
    "b     off            before nodes.remove, hook shop  delay 30m, approval two  1        2026-11-22T03:00:00Z",
    "c     on, 3 faults   any of a.b, c.d                 deny                     1        2026-11-22T03:00:00Z",
    "d     broken         trigger go                      rewrite note             1        2026-11-22T03:00:00Z",
    "e     on, outdated   trigger go                      ext.shop.sell            1        2026-11-22T03:00:00Z",
  ])
})

test("R5: a list of signals counts the states that some node is in", () => {
  const counts = { unknown: 0, clear: 11, pending: 0, raised: 1, clearing: 0 }
  const signal = {
    ...{ ...stored, changedBy: "user:ada", name: "s", metric: { disk: "/" }, raise: { above: 90, for: "PT5M" } },
    ...{ clear: { below: 80 }, every: "PT15S", missing: { as: "keep" as const, after: "PT5M" }, counts },
  }
  expect(lines([signalRow(signal)], signalColumns)).toEqual([
    "NAME  STATES              NODES  METRIC  RAISE            CLEAR     EVERY",
    "s     11 clear, 1 raised  all    disk /  above 90 for 5m  below 80  15s",
  ])
})

test("R5: a node's state stands beside what it said last, or why it has no figure", () => {
  const state = { node: "web-1", nodeId: "nod_1", state: "raised" as const, since: at, value: 97 }
  const rows = [
    stateRow({ ...state, latest: { at, value: 85 }, silenced: { by: "silence", name: "move" } }),
    stateRow({ ...state, latest: { at, problem: "no such file" } }),
  ]
  expect(lines(rows, stateColumns)).toEqual([
    "NODE   STATE   SINCE                 AT  NOW  SAID                  PROBLEM       QUIET",
    "web-1  raised  2026-11-22T03:00:00Z  97  85   2026-11-22T03:00:00Z  -             silence move",
    "web-1  raised  2026-11-22T03:00:00Z  97  -    2026-11-22T03:00:00Z  no such file  -",
  ])
})

test("durations of a document are as people write them, and nothing else is changed", () => {
  expect(readableDocument("every: PT1M30S\nwithin: P2D\nnote: PT boat\nname: P\n")).toBe(
    "every: 1m30s\nwithin: 2d\nnote: PT boat\nname: P\n",
  )
})
