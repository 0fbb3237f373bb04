import { demoPlan, faultOf } from "./demo-plan.ts"
import type { NodeEvidence, RunEvidence } from "./evidence.ts"
import type { FileCopy } from "./file-copy.ts"
import type { JournalEntry } from "./node-journal.ts"
import { configurationWritten } from "./web-config-workflow.ts"

const executionId = "exe_01m80h8wm1e5t8zgx7bwjs0yvz"
const file = (content: string, identity: string): ReadonlyMap<string, FileCopy> =>
  new Map([["etc/web.conf", { path: "etc/web.conf", mode: 0o100640, owner: "0:0", content, identity }]])

function entryOf(from: number, isUpdated: boolean): JournalEntry {
  return {
    executionId,
    attempt: 1,
    state: isUpdated ? "succeeded" : "failed",
    rollback: isUpdated ? undefined : "rolled-back",
    message: undefined,
    from,
    to: from + 90,
    taskEndedAt: from + 50,
    ranTwice: false,
  }
}

const secret = "0123456789abcdef"

/** One first, then two when it has baked, then four: when the node's order comes. */
function startOf(number: number): number {
  if (number === 1) return 0
  return 1200 + (number <= 3 ? 0 : 100 + Math.floor((number - 4) / demoPlan.concurrency) * 100)
}

/** Evidence of a node as it is when all goes as it should. */
function nodeOf(run: { version: string; workers: number }, number: number, end: "updated" | "failed" | "untouched") {
  const from = startOf(number)
  const before = file("before", "1")
  const node: NodeEvidence = {
    name: `web-${number}`,
    fault: faultOf(number),
    versionBefore: "v1",
    versionAfter: end === "updated" ? run.version : "v1",
    spells: [
      { from: 0, to: from + 10, version: "v1", started: "a" },
      { from: from + 20, to: from + 40, version: undefined, started: undefined },
      { from: from + 45, to: 1700, version: end === "updated" ? run.version : "v1", started: "b" },
    ],
    entries: [entryOf(from, end === "updated")],
    serviceStarts: end === "updated" ? 1 : 2,
    configurationAfter: end === "updated" ? configurationWritten({ ...run, secret }) : "before",
    filesBefore: before,
    filesAfter: end === "updated" ? file("after", "2") : file("before", "3"),
  }
  if (end !== "untouched") return node
  const spells = [{ from: 0, to: 400, version: "v1", started: "a" }]
  return { ...node, spells, entries: [], serviceStarts: 0, filesAfter: before }
}

const numbers = Array.from({ length: demoPlan.nodesCount }, (_, index) => index + 1)

function approvalOf(edited: boolean): RunEvidence["approval"] {
  return {
    requestId: "apr_01m80h8wm1e5t8zgx7bwjs0yvz",
    executionId,
    digest: "ab".repeat(32),
    linksOpened: 6,
    votesByOpening: 0,
    ...(edited ? { votesVoided: 2, oldLinkStatus: 409 } : {}),
    approvedAt: -500,
  }
}

export function firstRunEvidence(): RunEvidence {
  const run = demoPlan.firstRun
  const nodes = numbers.map((number) => nodeOf(run, number, faultOf(number) === "none" ? "updated" : "failed"))
  return {
    ...run,
    executionId,
    approval: approvalOf(true),
    secret,
    widenedAt: 1295,
    health: { asked: 3, well: 3 },
    span: { from: 0, to: 1700 },
    nodes,
    server: { succeeded: 10, failed: 2, rolledBack: 2, neverStarted: 0 },
  }
}

export function secondRunEvidence(): RunEvidence {
  const run = demoPlan.secondRun
  const nodes = numbers.map((number) => nodeOf(run, number, number <= 2 ? "failed" : "untouched"))
  return {
    ...run,
    executionId,
    approval: approvalOf(false),
    secret,
    health: { asked: 3, well: 3 },
    span: { from: 0, to: 1700 },
    nodes,
    server: { succeeded: 0, failed: 2, rolledBack: 2, neverStarted: 10 },
  }
}

/** The same run, with one node changed. */
export function withNode(run: RunEvidence, name: string, change: (node: NodeEvidence) => Partial<NodeEvidence>) {
  return { ...run, nodes: run.nodes.map((node) => (node.name === name ? { ...node, ...change(node) } : node)) }
}
