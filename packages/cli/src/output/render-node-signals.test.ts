import { expect, test } from "vitest"
import { nodeSignalLines } from "./render-node-signals.ts"
import { renderNodeAnswer } from "./render-node-answer.ts"

const since = "2026-11-22T03:00:00.000Z"
const base = { subject: "sig_1:nod_1", metric: { disk: "/" }, raise: { above: 90, for: "PT5M" } }

test("each signal of a node is a line, with what its raising set going below", () => {
  const run = { id: "act_1", rule: "clean-up", operation: "executions.create", state: "succeeded" as const }
  const signals = [
    {
      ...{ ...base, signal: "disk-full", state: "raised" as const, since, value: 95 },
      latest: { at: since, value: 96.25 },
      raised: {
        event: "evt_1",
        at: since,
        value: 95,
        runs: [
          { ...run, started: "exe_1" },
          { ...run, rule: "tell" },
        ],
      },
    },
    {
      ...{ ...base, signal: "load", state: "clearing" as const, since, value: 2 },
      silenced: { by: "silence" as const, name: "move" },
      raised: { event: "evt_2", at: since, runs: [] },
    },
    {
      ...{ ...base, signal: "memory", state: "unknown" as const, since },
      latest: { at: since, problem: "not available:\n/proc/meminfo can't be read" },
    },
    { ...base, signal: "new", state: "unknown" as const },
  ]
  const lines = [
    "Signals:",
    "  disk-full: raised since 2026-11-22T03:00:00Z at 95 (raised above 90 for 5m); now 96.25",
    "    └ clean-up: executions.create succeeded  [exe_1]",
    "    └ tell: executions.create succeeded  [act_1]",
    "  load: clearing since 2026-11-22T03:00:00Z at 2 (raised above 90 for 5m); quiet by the silence move",
    "    └ it set no rule going",
    "  memory: unknown since 2026-11-22T03:00:00Z (raised above 90 for 5m); now not available: /proc/meminfo can't be read",
    "  new: unknown, has said nothing yet (raised above 90 for 5m)",
  ]
  expect(nodeSignalLines(signals)).toEqual(lines)
  const answer = { node: "nod_1", nodeName: "web-1", answer: "no run has touched web-1", findings: [] }
  expect(renderNodeAnswer({ ...answer, signals })).toBe(["no run has touched web-1", ...lines, ""].join("\n"))
  expect(renderNodeAnswer(answer)).toBe("no run has touched web-1\n")
})
