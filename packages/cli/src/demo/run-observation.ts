/** Looks at the nodes before and after a run, and shows it while it lasts; nothing here believes the server. */
import { setTimeout as delay } from "node:timers/promises"
import { AppError } from "@signalbox/kernel/app-error"
import { followExecution } from "../rollout/follow-execution.ts"
import { overlapMax, spellsWithin, unavailableSpans } from "./availability.ts"
import { demoLimits, demoPlan } from "./demo-plan.ts"
import type { DemoScreen } from "./demo-screen.ts"
import type { NodeEvidence, RunEvidence } from "./evidence.ts"
import { type FleetNode, type NodeFiles, readNodeFiles } from "./fleet-node.ts"
import { isEntryOver, type JournalEntry, readNodeJournal } from "./node-journal.ts"
import type { Prober } from "./prober.ts"
import type { RunParts } from "./run-parts.ts"

interface NodeBefore extends NodeFiles {
  readonly version: string | undefined
}

/** The fleet as it was at a moment. */
export interface FleetBefore {
  readonly nodes: ReadonlyMap<string, NodeBefore>
  /** Of `performance.now()`. */
  readonly from: number
}

export async function lookBefore({ nodes, prober }: Pick<RunParts, "nodes" | "prober">): Promise<FleetBefore> {
  const before = new Map<string, NodeBefore>()
  for (const node of nodes)
    before.set(node.name, { ...(await readNodeFiles(node)), version: prober.answer(node.name).version })
  return { nodes: before, from: prober.now() }
}

/** What a run that has ended left on the nodes, and what was seen of it from outside. */
export async function lookAfter(
  parts: RunParts,
  executionId: string,
  before: FleetBefore,
): Promise<Pick<RunEvidence, "span" | "nodes">> {
  const { nodes, prober } = parts
  const entries = await settle(parts, executionId)
  const span = prober.span(before.from)
  const evidence = await Promise.all(
    nodes.map(async (node) => {
      const start = before.nodes.get(node.name)
      if (!start) throw new AppError("demo.part-failed", `${node.name} was not looked at before the run`)
      return nodeEvidence(node, { before: start, entries: entries.get(node.name) ?? [], prober, span })
    }),
  )
  return { span, nodes: evidence }
}

async function nodeEvidence(
  node: FleetNode,
  found: {
    readonly before: NodeBefore
    readonly entries: readonly JournalEntry[]
    readonly prober: Prober
    readonly span: RunEvidence["span"]
  },
): Promise<NodeEvidence> {
  const { before, entries, prober, span } = found
  const after = await readNodeFiles(node)
  return {
    name: node.name,
    fault: node.fault,
    versionBefore: before.version,
    versionAfter: prober.answer(node.name).version,
    spells: spellsWithin(prober.spells(node.name), span),
    entries,
    serviceStarts: after.serviceStarts - before.serviceStarts,
    configurationAfter: after.configuration,
    filesBefore: before.files,
    filesAfter: after.files,
  }
}

/** Shows the run until the server says that it has ended. */
export async function showRun(parts: RunParts, executionId: string, from: number): Promise<void> {
  const { client, screen, prober, nodes, signal } = parts
  const shown = await screen.rollout(() => outsideLine(screen, prober, { nodes, from }))
  const timeout = AbortSignal.timeout(demoLimits.executionMilliseconds)
  try {
    await followExecution(client, {
      executionId,
      output: false,
      signal: AbortSignal.any([signal, timeout]),
      onUpdate: (update) => shown.update(update),
    })
  } catch (error) {
    if (!timeout.aborted || signal.aborted) throw error
    const seconds = demoLimits.executionMilliseconds / 1000
    throw new AppError("demo.part-failed", `${executionId} didn't end in ${seconds} s`, { cause: error })
  } finally {
    shown.end()
  }
}

/** What the services answer now, one mark a node, in the order of their names. */
function outsideLine(
  screen: DemoScreen,
  prober: Prober,
  { nodes, from }: { readonly nodes: readonly FleetNode[]; readonly from: number },
): string {
  const span = prober.span(from)
  const marks = nodes.map(({ name }) => {
    const { version } = prober.answer(name)
    if (version === undefined) return screen.paint("yellow", "--")
    return screen.paint(version === demoPlan.versionBefore ? "gray" : "green", version)
  })
  const spans = nodes.flatMap(({ name }) => unavailableSpans(spellsWithin(prober.spells(name), span)))
  const down = nodes.filter(({ name }) => prober.answer(name).version === undefined).length
  return `from outside  ${marks.join(" ")}  ${down} down, ${overlapMax(spans)} at most`
}

/**
 * Until the nodes show it too: every journal entry of this run is over, and every service that should be there answers.
 * Where that doesn't come about, the claims fail on what is found.
 */
async function settle(parts: RunParts, executionId: string): Promise<Map<string, JournalEntry[]>> {
  const { nodes, prober, signal } = parts
  const deadline = performance.now() + demoLimits.settleMilliseconds
  for (;;) {
    signal.throwIfAborted()
    const entries = new Map<string, JournalEntry[]>()
    for (const node of nodes) {
      const all = await readNodeJournal(node.agentDirectory)
      entries.set(
        node.name,
        all.filter((entry) => entry.executionId === executionId),
      )
    }
    const areOver = [...entries.values()].flat().every(isEntryOver)
    const areUp = nodes.every(({ name }) => prober.answer(name).version !== undefined)
    if ((areOver && areUp) || performance.now() > deadline) {
      // One more look at every service after the last thing that happened.
      await delay(demoLimits.probeMilliseconds * 3)
      return entries
    }
    await delay(demoLimits.pollMilliseconds)
  }
}
