import type { Claim } from "./claims.ts"
import { demoPlan } from "./demo-plan.ts"
import type { ApprovalEvidence, NodeEvidence } from "./evidence.ts"
import type { Mail } from "./mailbox.ts"
import { cleanRule, canaryRule, diskSignal, loopRules } from "./rules-documents.ts"
import { rulesPlan } from "./rules-plan.ts"

/** What was found about a disk that filled up. Shares are percentages, by the demo's own count. */
export interface DiskEvidence {
  readonly node: string
  /** How many nodes the signal was clear on before and afterwards. */
  readonly clearBefore: number
  readonly clearAfter: number
  readonly usedBefore: number
  readonly usedFull: number
  /** When the clean-up waited for its approval. */
  readonly usedAtAsking: number
  readonly usedAfter: number
  readonly isDataKept: boolean
  /** In milliseconds since 1970. */
  readonly filledAt: number
  readonly executionId: string
  readonly nodes: readonly NodeEvidence[]
  readonly approval: ApprovalEvidence
  readonly action: { readonly state: string; readonly started: string }
  /** Events of the signal, in their order. */
  readonly told: ReadonlyArray<{ readonly type: string; readonly node: string; readonly at: number }>
  /** What `signalbox why` said of the clean-up. */
  readonly why: string
}

/** What came of one call that a rule follows. */
export interface CanaryEvidence {
  readonly node: string
  /** The paths that the reply named. */
  readonly named: readonly string[]
  /** Of the run that stands there. */
  readonly rule: string
  readonly state: string
  readonly executionId: string
  readonly nodes: readonly NodeEvidence[]
}

export interface LoopEvidence {
  readonly runs: ReadonlyArray<{
    readonly id: string
    readonly state: string
    readonly depth: number
    readonly code?: string
  }>
  readonly stoppedId: string
  /** How often the node was changed, by hand and by rules. */
  readonly changes: number
  readonly mail: Mail
  /** What `signalbox actions list --state stopped` and `signalbox why` said. */
  readonly listed: string
  readonly why: string
}

export interface RulesEvidence {
  readonly disk: DiskEvidence
  readonly canaries: readonly CanaryEvidence[]
  readonly loop: LoopEvidence
}

const touchedNodes = (nodes: readonly NodeEvidence[]): NodeEvidence[] =>
  nodes.filter(({ entries }) => entries.length > 0)
const includesAll = (text: string, parts: readonly string[]): boolean => parts.every((part) => text.includes(part))
const namesOf = (nodes: readonly NodeEvidence[]): string => nodes.map(({ name }) => name).join(", ")

/** True where this node alone was worked on, once, and with success. */
function isAlone(nodes: readonly NodeEvidence[], name: string): boolean {
  const touched = touchedNodes(nodes)
  const entries = touched.flatMap((node) => node.entries)
  const [entry] = entries
  return touched.every((node) => node.name === name) && entries.length === 1 && entry?.state === "succeeded"
}

/** Judged by disks, journals, services and mails where these can tell; runs and events are the server's own. */
export function judgeRules({ disk, canaries, loop }: RulesEvidence): Claim[] {
  const runs = [disk, ...canaries]
  const repeated = runs.flatMap(({ nodes }) =>
    nodes.flatMap(({ entries }) => entries.filter(({ ranTwice }) => ranTwice)),
  )
  return [
    ...judgeSignal(disk),
    ...judgeCleanUp(disk),
    ...judgeCanaries(canaries),
    ...judgeLoop(loop),
    { name: "nothing ran twice on any machine", ok: repeated.length === 0, measured: `${repeated.length} repeats` },
  ]
}

function judgeSignal({ node, told, clearBefore, clearAfter, usedFull }: DiskEvidence): Claim[] {
  const ofNode = told.filter((each) => each.node === node)
  const types = told.map(({ type }) => type)
  return [
    {
      name: "a full disk is told once, and that it is free again",
      ok:
        usedFull > rulesPlan.raiseAbove &&
        ofNode.length === told.length &&
        types.join() === "signal.raised,signal.cleared",
      measured: `${usedFull} % used; ${types.join(", ")}, of ${[...new Set(told.map((each) => each.node))].join(", ")}`,
    },
    {
      name: "before and afterwards the signal is clear everywhere",
      ok: clearBefore === demoPlan.nodesCount && clearAfter === demoPlan.nodesCount,
      measured: `on ${clearBefore} and on ${clearAfter} of ${demoPlan.nodesCount} nodes`,
    },
  ]
}

function judgeCleanUp(disk: DiskEvidence): Claim[] {
  const { node, nodes, approval, usedAtAsking, usedAfter, isDataKept, action, executionId, why } = disk
  const startedAt = Math.min(...nodes.flatMap(({ entries }) => entries.map(({ from }) => from)))
  const waited = startedAt - approval.approvedAt
  return [
    {
      name: "the clean-up waits for both levels",
      ok: usedAtAsking > rulesPlan.raiseAbove && waited > 0 && waited < Infinity && approval.votesByOpening === 0,
      measured: `${usedAtAsking} % while it waits; begun ${(waited / 1000).toFixed(1)} s after the last vote`,
    },
    {
      name: "it runs on that node alone, once",
      ok: isAlone(nodes, node) && action.started === executionId && action.state === "succeeded",
      measured: `${namesOf(touchedNodes(nodes))}, by the journals`,
    },
    {
      name: "the disk is free again, and its data are kept",
      ok: usedAfter < rulesPlan.clearBelow && isDataKept,
      measured: `${usedAfter} % used; data ${isDataKept ? "as before" : "are gone or changed"}`,
    },
    {
      name: "why tells it from the signal to the node",
      ok: includesAll(why, [diskSignal, cleanRule, node, "approved"]),
      measured: `${why.trimEnd().split("\n").length} lines`,
    },
  ]
}

function judgeCanaries(canaries: readonly CanaryEvidence[]): Claim[] {
  const named = canaries.filter(
    ({ named: paths, rule, state }) => paths.length === 1 && rule === canaryRule && state === "succeeded",
  )
  const updated = canaries.filter(
    ({ node, nodes }) =>
      isAlone(nodes, node) && nodes.every((each) => each.name !== node || each.versionAfter === rulesPlan.version),
  )
  const isAll = (some: readonly CanaryEvidence[]): boolean =>
    canaries.length === rulesPlan.canaries.length && some.length === canaries.length
  return [
    {
      name: "an ordinary reply names the run that it started",
      ok: isAll(named),
      measured: `${named.length} of ${canaries.length}: header, line of the command`,
    },
    {
      name: "what it names changes that node, and no other",
      ok: isAll(updated),
      measured: `${updated.map(({ node }) => node).join(", ")} answer ${rulesPlan.version} over HTTP`,
    },
  ]
}

function judgeLoop({ runs, stoppedId, changes, mail, listed, why }: LoopEvidence): Claim[] {
  const { depthMax } = rulesPlan
  const done = runs.filter(({ state }) => state === "succeeded")
  const depths = done.map(({ depth }) => depth).toSorted((a, b) => a - b)
  const stopped = runs.filter(({ state, code }) => state === "stopped" && code === "actions.loop-stopped")
  return [
    {
      name: `a loop of two rules ends at depth ${depthMax}`,
      ok:
        depths.join() === Array.from({ length: depthMax }, (_, index) => index + 1).join() &&
        runs.length === depthMax + 1 &&
        stopped.length === 1 &&
        changes === depthMax + 1,
      measured: `${done.length} runs, deepest ${depths.at(-1) ?? 0}; ${stopped.length} stopped; ${changes} changes in all`,
    },
    {
      name: "the list, why and a mail say so",
      ok:
        includesAll(listed, [stoppedId, "actions.loop-stopped"]) &&
        includesAll(why, [...loopRules]) &&
        mail.text.includes(stoppedId),
      measured: `why tells ${why.trimEnd().split("\n").length} lines`,
    },
  ]
}

/** Beside what every story reports; seconds by one clock, since all are on this machine. */
export interface RulesFigures {
  readonly secondsToRaised: number
  /** From the last vote to the signal's clearing. */
  readonly secondsFromApprovedToCleared: number
  readonly diskPercent: { readonly before: number; readonly full: number; readonly after: number }
  readonly runsNamedInReplies: number
  readonly loopDepth: number
}

export function rulesFigures({ disk, canaries, loop }: RulesEvidence): RulesFigures {
  const at = (type: string): number => disk.told.find((each) => each.type === type)?.at ?? Number.NaN
  return {
    secondsToRaised: seconds(at("signal.raised") - disk.filledAt),
    secondsFromApprovedToCleared: seconds(at("signal.cleared") - disk.approval.approvedAt),
    diskPercent: { before: disk.usedBefore, full: disk.usedFull, after: disk.usedAfter },
    runsNamedInReplies: canaries.reduce((sum, { named }) => sum + named.length, 0),
    loopDepth: Math.max(0, ...loop.runs.filter(({ state }) => state === "succeeded").map(({ depth }) => depth)),
  }
}

const seconds = (milliseconds: number): number => Math.round(milliseconds / 100) / 10
