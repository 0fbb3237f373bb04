import { setTimeout as delay } from "node:timers/promises"
import { executionsCreate, executionsGet, executionsResize } from "@signalbox/contracts/workflows/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { followExecution } from "../rollout/follow-execution.ts"
import { overlapMax, spellsWithin, unavailableSpans } from "./availability.ts"
import { demoLimits, demoPlan } from "./demo-plan.ts"
import type { DemoScreen } from "./demo-screen.ts"
import type { ApprovalEvidence, NodeEvidence, RunEvidence } from "./evidence.ts"
import { type FleetNode, type NodeFiles, readNodeFiles } from "./fleet-node.ts"
import { approveRun } from "./members.ts"
import type { RunParts } from "./run-parts.ts"
import { isEntryOver, type JournalEntry, readNodeJournal } from "./node-journal.ts"
import type { Prober } from "./prober.ts"
import { workflowName } from "./web-config-workflow.ts"

export interface RunOrder {
  readonly version: string
  readonly workers: number
  readonly errorLimit: number
  readonly width: number
  readonly strict: boolean
  /** Nodes that are done when the run is widened to the plan's concurrency; never where it is left out. */
  readonly widenAfter?: number
  /** The error limit that it was asked for with; it is changed while the run waits for approval. */
  readonly errorLimitAsked?: number
}

interface NodeBefore extends NodeFiles {
  readonly version: string | undefined
}

/** Runs the workflow once over the fleet, and collects what can be found on the nodes and seen from outside. */
export async function runRollout(parts: RunParts, order: RunOrder): Promise<RunEvidence> {
  const { client, nodes, prober, health, secret, signal } = parts
  const before = new Map<string, NodeBefore>()
  for (const node of nodes)
    before.set(node.name, { ...(await readNodeFiles(node)), version: prober.answer(node.name).version })
  const from = prober.now()
  const approval = await startApproved(parts, order)
  const id = approval.executionId
  const widening = order.widenAfter === undefined ? undefined : widen(parts, id, order.widenAfter)
  // Whatever goes wrong with it is told when the run has been shown.
  widening?.catch(() => undefined)
  await showRun(parts, id, from)
  const widenedAt = await widening
  const entries = await settle(parts, id)
  const span = prober.span(from)
  const evidence = await Promise.all(
    nodes.map(async (node) => {
      const start = before.get(node.name)
      if (!start) throw new AppError("demo.part-failed", `${node.name} was not looked at before the run`)
      return nodeEvidence(node, { before: start, entries: entries.get(node.name) ?? [], prober, span })
    }),
  )
  const { counts } = await client.call(executionsGet, { execution: id }, { signal })
  const asked = health.answers.filter(({ at }) => at >= span.from && at <= span.to)
  return {
    ...order,
    executionId: id,
    approval,
    secret,
    span,
    nodes: evidence,
    health: { asked: asked.length, well: asked.filter(({ isWell }) => isWell).length },
    ...(widenedAt === undefined ? {} : { widenedAt }),
    server: counts,
  }
}

/** Asks for the run, and has it approved. @throws demo.part-failed where it starts without */
async function startApproved(parts: RunParts, order: RunOrder): Promise<ApprovalEvidence> {
  const { client, health, signal } = parts
  const { version, workers, errorLimit, width, strict, errorLimitAsked = errorLimit } = order
  const input = {
    workflow: workflowName,
    targets: { query: "role=web" },
    parameters: { version, workers },
    concurrency: width,
    strict,
    health: { http: { url: `http://${health.address}/` }, every: demoPlan.healthEvery },
  }
  const reply = await client.call(executionsCreate, { ...input, errorLimit: errorLimitAsked }, { signal })
  if (reply.status !== "held") throw new AppError("demo.part-failed", "the run started without approval")
  const edit = { input: { ...input, errorLimit }, text: `errors tolerated: ${errorLimitAsked} to ${errorLimit}` }
  return await approveRun(parts, reply.requestUrl, errorLimitAsked === errorLimit ? undefined : edit)
}

/** Lets more nodes in at once when some are done; gives the moment before it asked, in milliseconds since 1970. */
async function widen(parts: RunParts, execution: string, doneCount: number): Promise<number | undefined> {
  const { client, signal } = parts
  const deadline = performance.now() + demoLimits.executionMilliseconds
  while (performance.now() < deadline) {
    const { counts, finishedAt } = await client.call(executionsGet, { execution }, { signal })
    if (finishedAt !== undefined) return undefined
    if (counts.succeeded + counts.failed >= doneCount) break
    await delay(demoLimits.pollMilliseconds)
  }
  const at = Date.now()
  await client.call(executionsResize, { execution, concurrency: demoPlan.concurrency }, { signal })
  return at
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
async function showRun(parts: RunParts, executionId: string, from: number): Promise<void> {
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
