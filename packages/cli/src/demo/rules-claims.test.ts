import { expect, test } from "vitest"
import { secondRunEvidence } from "./evidence.fixture.ts"
import type { NodeEvidence } from "./evidence.ts"
import {
  judgeRules,
  type CanaryEvidence,
  type DiskEvidence,
  type LoopEvidence,
  type RulesEvidence,
} from "./rules-claims.ts"
import { canaryRule } from "./rules-documents.ts"
import { rulesPlan } from "./rules-plan.ts"

const approvedAt = 1_000

/** The fleet after a run that touched one node, and left it with this version. */
function nodesAfter(touched: string, versionAfter: string): NodeEvidence[] {
  const entry = { executionId: "exe_1", attempt: 1, state: "succeeded", rollback: undefined, message: undefined }
  const worked = { ...entry, from: approvedAt + 50, to: approvedAt + 90, taskEndedAt: approvedAt + 90, ranTwice: false }
  return secondRunEvidence().nodes.map((node, index) => {
    const name = `web-${String(index + 1).padStart(2, "0")}`
    return name === touched ? { ...node, name, entries: [worked], versionAfter } : { ...node, name, entries: [] }
  })
}

const disk: DiskEvidence = {
  ...{
    node: rulesPlan.full,
    clearBefore: 12,
    clearAfter: 12,
    usedBefore: 2,
    usedFull: 97,
    usedAtAsking: 97,
    usedAfter: 2,
  },
  ...{ isDataKept: true, filledAt: 0, executionId: "exe_1", nodes: nodesAfter(rulesPlan.full, "v1") },
  approval: { requestId: "apr_1", executionId: "exe_1", digest: "", linksOpened: 6, votesByOpening: 0, approvedAt },
  action: { state: "succeeded", started: "exe_1" },
  told: [
    { type: "signal.raised", node: rulesPlan.full, at: 500 },
    { type: "signal.cleared", node: rulesPlan.full, at: 3_000 },
  ],
  why: "signal disk-full raised on web-07\nthe rule clean-full-disks acts\ncy approved\nweb-07 succeeded",
}

const canaryOf = (node: string): CanaryEvidence => ({
  ...{ node, named: ["/v1/actions/act_1"], rule: canaryRule, state: "succeeded", executionId: "exe_2" },
  nodes: nodesAfter(node, rulesPlan.version),
})
const canaries = rulesPlan.canaries.map(canaryOf)

const loop: LoopEvidence = {
  runs: [
    ...Array.from({ length: 8 }, (_, index) => ({ id: `act_${index}`, state: "succeeded", depth: index + 1 })),
    { id: "act_stopped", state: "stopped", depth: 9, code: "actions.loop-stopped" },
  ],
  ...{ stoppedId: "act_stopped", changes: 9, listed: "act_stopped stopped actions.loop-stopped" },
  mail: { to: [rulesPlan.onCall], text: "Subject: act_stopped", at: 0 },
  why: "the rule prefer-blue acts\nthe rule prefer-green acts",
}

const evidence: RulesEvidence = { disk, canaries, loop }
const failing = (found: RulesEvidence): string[] => judgeRules(found).flatMap(({ name, ok }) => (ok ? [] : [name]))

test("all claims of the rules hold where all is as it should be", () => {
  expect(failing(evidence)).toEqual([])
})

const withDisk = (change: Partial<DiskEvidence>): RulesEvidence => ({ ...evidence, disk: { ...disk, ...change } })
const withLoop = (change: Partial<LoopEvidence>): RulesEvidence => ({ ...evidence, loop: { ...loop, ...change } })
const withCanary = (change: Partial<CanaryEvidence>): RulesEvidence => ({
  ...evidence,
  canaries: canaries.map((each, index) => (index === 0 ? { ...each, ...change } : each)),
})
const told = "a full disk is told once, and that it is free again"
const waits = "the clean-up waits for both levels"
const alone = "it runs on that node alone, once"
const free = "the disk is free again, and its data are kept"
const names = "an ordinary reply names the run that it started"
const ends = "a loop of two rules ends at depth 8"
const says = "the list, why and a mail say so"

test.each<[string, RulesEvidence]>([
  [told, withDisk({ told: [...disk.told, ...disk.told] })],
  [told, withDisk({ told: disk.told.map((each) => ({ ...each, node: "web-01" })) })],
  [told, withDisk({ usedFull: 80 })],
  ["before and afterwards the signal is clear everywhere", withDisk({ clearAfter: 11 })],
  [waits, withDisk({ approval: { ...disk.approval, approvedAt: approvedAt + 60 } })],
  [waits, withDisk({ usedAtAsking: 2 })],
  [waits, withDisk({ nodes: [] })],
  [alone, withDisk({ nodes: nodesAfter("web-01", "v1") })],
  [alone, withDisk({ action: { state: "held", started: "" } })],
  [free, withDisk({ usedAfter: 75 })],
  [free, withDisk({ isDataKept: false })],
  ["why tells it from the signal to the node", withDisk({ why: "web-07 approved" })],
  [names, withCanary({ named: [] })],
  [names, withCanary({ rule: "another" })],
  [names, { ...evidence, canaries: [] }],
  ["what it names changes that node, and no other", withCanary({ nodes: nodesAfter("web-03", "v1") })],
  ["what it names changes that node, and no other", withCanary({ nodes: nodesAfter("web-12", "v2") })],
  [ends, withLoop({ runs: loop.runs.slice(0, -1) })],
  [ends, withLoop({ runs: loop.runs.slice(1) })],
  [ends, withLoop({ changes: 10 })],
  [says, withLoop({ listed: "act_stopped stopped" })],
  [says, withLoop({ mail: { ...loop.mail, text: "" } })],
  [says, withLoop({ why: "prefer-blue" })],
  [
    "nothing ran twice on any machine",
    withDisk({
      nodes: disk.nodes.map((node) => ({
        ...node,
        entries: node.entries.map((each) => ({ ...each, ranTwice: true })),
      })),
    }),
  ],
])("%s fails where it is not so", (name, found) => {
  expect(failing(found)).toContain(name)
})
