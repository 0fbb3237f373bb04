import { expect, test } from "vitest"
import { firstRunEvidence, secondRunEvidence, withNode } from "./evidence.fixture.ts"
import { judgeNight, type NightEvidence } from "./night-claims.ts"

/** All as it should be: two failed, one was never touched, the retry of the two succeeds. */
function nightEvidence(): NightEvidence {
  const whole = firstRunEvidence()
  const untouched = secondRunEvidence().nodes
  const run = { ...whole, nodes: whole.nodes.map((node, index) => (index === 11 ? (untouched[11] ?? node) : node)) }
  const retry = {
    ...whole,
    executionId: "exe_retry",
    nodes: whole.nodes.map((node, index) => {
      const updated = { ...node, entries: node.entries.map((entry) => ({ ...entry, state: "succeeded" })) }
      if (node.fault !== "none") return { ...updated, versionAfter: "v2" }
      return { ...(untouched[index] ?? node), name: node.name, entries: [], filesAfter: node.filesBefore }
    }),
  }
  const text = `Never started: 1\n$ signalbox why ${run.executionId}`
  return { run, retry, mails: [{ to: ["x"], text, at: 1_500 }], why: "web-4 failed\nweb-9 failed" }
}

const failing = (evidence: NightEvidence): string[] =>
  judgeNight(evidence).flatMap(({ name, ok }) => (ok ? [] : [name]))

test("all claims of the night hold where all is as it should be", () => {
  expect(failing(nightEvidence())).toEqual([])
})

test.each<[string, (night: NightEvidence) => Partial<NightEvidence>]>([
  ["the run at night stopped itself", ({ run }) => ({ run: { ...run, nodes: firstRunEvidence().nodes } })],
  ["a person was told, once", ({ mails }) => ({ mails: [...mails, ...mails] })],
  ["a person was told, once", ({ mails }) => ({ mails: mails.map((mail) => ({ ...mail, at: 1e9 })) })],
  ["the mail says why, and where to look", ({ mails }) => ({ mails: mails.map((mail) => ({ ...mail, text: "x" })) })],
  ["why names each machine that failed", () => ({ why: "web-4 failed" })],
  [
    "what failed is as before, by files and answers",
    ({ run }) => ({ run: { ...run, ...withNode(firstRunEvidence(), "web-4", () => ({ versionAfter: "v2" })) } }),
  ],
  [
    "the retry touches what failed, and nothing else",
    ({ retry, run }) => ({
      retry: { ...retry, nodes: retry.nodes.map((node) => ({ ...node, entries: run.nodes[0]?.entries ?? [] })) },
    }),
  ],
  [
    "after the repair the retry succeeds",
    ({ retry }) => ({ retry: { ...retry, nodes: retry.nodes.map((node) => ({ ...node, versionAfter: "v1" })) } }),
  ],
  [
    "nothing ran twice on any machine",
    ({ retry }) => ({
      retry: {
        ...retry,
        nodes: retry.nodes.map((node) => ({
          ...node,
          entries: node.entries.map((entry) => ({ ...entry, ranTwice: true })),
        })),
      },
    }),
  ],
])("%s fails where it is not so", (name, change) => {
  const night = nightEvidence()
  expect(failing({ ...night, ...change(night) })).toContain(name)
})
