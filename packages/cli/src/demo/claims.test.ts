import { describe, expect, it } from "vitest"
import {
  type Claim,
  figuresOf,
  judgeFirstRun,
  judgeProbing,
  judgeSecondRun,
  judgeSecret,
  judgeServer,
} from "./claims.ts"
import { firstRunEvidence, secondRunEvidence, withNode } from "./evidence.fixture.ts"
import type { NodeEvidence, RunEvidence } from "./evidence.ts"

const broken = (claims: readonly Claim[]): string[] => claims.filter(({ ok }) => !ok).map(({ name }) => name)
const everyNode = (run: RunEvidence, change: (node: NodeEvidence) => Partial<NodeEvidence>): RunEvidence => ({
  ...run,
  nodes: run.nodes.map((node) => ({ ...node, ...change(node) })),
})

describe("a demo in which all goes as it should", () => {
  it("holds every claim", () => {
    const runs = [firstRunEvidence(), secondRunEvidence()]
    const probing = { probesCount: 5000, pauseMaxMilliseconds: 20 }
    expect(broken(runs.slice(0, 1).flatMap(judgeFirstRun))).toEqual([])
    expect(broken(runs.slice(1).flatMap(judgeSecondRun))).toEqual([])
    expect(broken([judgeProbing(runs, probing), judgeServer(runs)])).toEqual([])
  })

  it("has figures that add up", () => {
    expect(figuresOf(firstRunEvidence())).toEqual({
      maxInFlight: 4,
      maxUnavailable: 4,
      touched: 12,
      succeeded: 10,
      failed: 2,
      rolledBack: 2,
      neverStarted: 0,
      filesRestoredExactly: true,
    })
    expect(figuresOf(secondRunEvidence())).toMatchObject({ touched: 2, failed: 2, rolledBack: 2, neverStarted: 10 })
  })

  it("names every claim once", () => {
    const names = [...judgeFirstRun(firstRunEvidence()), ...judgeSecondRun(secondRunEvidence())].map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
  })
})

/** Each row plants one fault that must break exactly these claims. */
const plantedInFirst: ReadonlyArray<[string, (run: RunEvidence) => RunEvidence, string[]]> = [
  [
    "a fifth node is down at the same time",
    (run) =>
      withNode(run, "web-8", ({ spells }) => ({
        spells: [{ from: 1325, to: 1335, version: undefined, started: undefined }, ...spells.slice(1)],
      })),
    ["run 1: never over 4 nodes unavailable at once"],
  ],
  [
    "a fifth node is in flight at the same time",
    (run) => withNode(run, "web-8", ({ entries }) => ({ entries: entries.map((entry) => ({ ...entry, from: 1350 })) })),
    ["run 1: never over 4 nodes in flight at once", "run 1: widened from 2 to 4 while it runs"],
  ],
  [
    "the second wave begins before the first has baked",
    (run) => withNode(run, "web-2", ({ entries }) => ({ entries: entries.map((entry) => ({ ...entry, from: 900 })) })),
    ["run 1: it bakes 1 s after the first node"],
  ],
  ["it was never widened", (run) => ({ ...run, widenedAt: 0 }), ["run 1: widened from 2 to 4 while it runs"]],
  [
    "it was wide before it was asked to be",
    (run) => ({ ...run, widenedAt: 1350 }),
    ["run 1: widened from 2 to 4 while it runs"],
  ],
  [
    "the health was bad once",
    (run) => ({ ...run, health: { asked: 3, well: 2 } }),
    ["run 1: the service's health is asked all along"],
  ],
  [
    "a node serves the old version although its agent reported success",
    (run) => withNode(run, "web-1", () => ({ versionAfter: "v1" })),
    ["run 1: the other 10 nodes finish and serve v2"],
  ],
  [
    "a rolled-back node keeps serving the new version",
    (run) => withNode(run, "web-4", () => ({ versionAfter: "v2" })),
    ["run 1: the 2 failed nodes are rolled back"],
  ],
  [
    "a restored file has another mode",
    (run) =>
      withNode(run, "web-4", ({ filesAfter }) => ({
        filesAfter: new Map([...filesAfter].map(([path, copy]) => [path, { ...copy, mode: 0o100644 }])),
      })),
    ["run 1: their files are exactly as before"],
  ],
  [
    "a file is left behind by a rollback",
    (run) =>
      withNode(run, "web-9", ({ filesAfter }) => ({
        filesAfter: new Map([
          ...filesAfter,
          ["etc/x", { path: "etc/x", mode: 0, owner: "", content: "", identity: "" }],
        ]),
      })),
    ["run 1: their files are exactly as before"],
  ],
  [
    "a service was started once more than the journal explains",
    (run) => withNode(run, "web-2", () => ({ serviceStarts: 2 })),
    ["run 1: no attempt ran twice"],
  ],
  [
    "a journal has the same attempt twice",
    (run) => withNode(run, "web-2", ({ entries }) => ({ entries: entries.map((e) => ({ ...e, ranTwice: true })) })),
    ["run 1: no attempt ran twice"],
  ],
]

const untouched = "run 2: the other nodes are never touched"
const plantedInSecond: ReadonlyArray<[string, (run: RunEvidence) => RunEvidence, string[]]> = [
  [
    "an untouched node was down for one look",
    (run) =>
      withNode(run, "web-9", ({ spells }) => ({
        spells: [...spells, { from: 390, to: 390, version: undefined, started: undefined }],
      })),
    [untouched],
  ],
  [
    "an untouched node was restarted between two looks",
    (run) =>
      withNode(run, "web-9", ({ spells }) => ({
        spells: [...spells, { from: 390, to: 400, version: "v1", started: "b" }],
      })),
    [untouched],
  ],
  [
    "a file of an untouched node was written with the same bytes",
    (run) =>
      withNode(run, "web-9", ({ filesAfter }) => ({
        filesAfter: new Map([...filesAfter].map(([path, copy]) => [path, { ...copy, identity: "9" }])),
      })),
    [untouched],
  ],
  [
    "the run goes on over all nodes",
    (run) => ({ ...run, nodes: run.nodes.map((node, index) => run.nodes[index % 2] ?? node) }),
    [
      "run 2: never over 4 nodes unavailable at once",
      "run 2: never over 4 nodes in flight at once",
      "run 2: it stops by itself, 2 nodes at most",
      untouched,
    ],
  ],
]

describe("a planted fault breaks the claim that is about it, and no other", () => {
  it.each(plantedInFirst)("%s", (_what, plant, expected) => {
    expect(broken(judgeFirstRun(plant(firstRunEvidence())))).toEqual(expected)
  })

  it.each(plantedInSecond)("%s", (_what, plant, expected) => {
    expect(broken(judgeSecondRun(plant(secondRunEvidence())))).toEqual(expected)
  })

  it("nobody looked", () => {
    const run = everyNode(firstRunEvidence(), ({ spells }) => ({ spells: spells.filter(({ version }) => version) }))
    expect(judgeProbing([run], { probesCount: 5000, pauseMaxMilliseconds: 20 }).ok).toBe(false)
    expect(broken(judgeFirstRun(run))).toEqual(["run 1: never over 4 nodes unavailable at once"])
  })

  it("the secret is found, or nobody looked, or nothing had it in its output", () => {
    const good = { filesSearched: 30, found: [], outputsMasked: 14 }
    expect(judgeSecret(good).ok).toBe(true)
    for (const bad of [{ found: ["logs/server.log"] }, { filesSearched: 0 }, { outputsMasked: 0 }])
      expect(judgeSecret({ ...good, ...bad }).ok).toBe(false)
  })

  it("the server tells another story than the nodes", () => {
    const run = firstRunEvidence()
    expect(judgeServer([{ ...run, server: { ...run.server, succeeded: 12, failed: 0 } }]).ok).toBe(false)
  })
})
