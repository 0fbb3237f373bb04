import { mkdir, open, readdir, readFile, stat, writeFile } from "node:fs/promises"
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { actionsGet, actionsList } from "@signalbox/contracts/actions/operations"
import { eventsList } from "@signalbox/contracts/audit/operations"
import { signalsStates } from "@signalbox/contracts/triggers/signals"
import { AppError } from "@signalbox/kernel/app-error"
import type { FleetNode } from "./fleet-node.ts"
import { approveRun, makeApprovers } from "./members.ts"
import type { DiskEvidence } from "./rules-claims.ts"
import { cleanRule, diskDocuments, diskSignal } from "./rules-documents.ts"
import { rulesPlan } from "./rules-plan.ts"
import { lookAfter, lookBefore, showRun } from "./run-observation.ts"
import { applyDocuments, type CommandParts, waitUntil } from "./story-commands.ts"
import { tellWhy } from "./story-shared.ts"

const logFolder = "var/log"
const dataFile = "var/data"

/** A node's disk fills up, is told, cleaned with its members' yes, and told to be free again. */
export async function fillDisk(parts: CommandParts): Promise<DiskEvidence> {
  const { screen, nodes } = parts
  screen.title("1. A signal that every node measures, and two rules: what it starts, and who has to say yes")
  await makeApprovers(parts)
  for (const node of nodes) await writeData(node)
  await applyDocuments(parts, "disks.yaml", diskDocuments)
  const clearBefore = await waitForStates(parts, "clear", nodes.length)
  screen.done(`${clearBefore} nodes measure themselves: all clear`)
  const node = nodeNamed(nodes, rulesPlan.full)
  const data = await readFile(join(node.root, dataFile))
  const usedBefore = await usedPercent(node)
  const before = await lookBefore(parts)
  screen.title(`2. On ${node.name} a log grows until the disk is full. Nobody looks.`)
  const filledAt = await grow(node)
  const usedFull = await usedPercent(node)
  screen.done(`${usedFull} % of the ${rulesPlan.spaceKilobytes / 1024} MB on ${node.name} are used`)
  await waitForStates(parts, "raised", 1)
  const { run, requestUrl } = await waitForHeld(parts)
  screen.done(`the signal ${diskSignal} is raised; the rule ${cleanRule} asks for a clean-up: ${run}`)
  const usedAtAsking = await usedPercent(node)
  const approval = await approveRun(parts, requestUrl, undefined)
  await showRun(parts, approval.executionId, before.from)
  const seen = await lookAfter(parts, approval.executionId, before)
  const usedAfter = await usedPercent(node)
  const clearAfter = await waitForStates(parts, "clear", nodes.length)
  screen.done(`${usedAfter} % are used on ${node.name}, and the signal is clear again`)
  return {
    node: node.name,
    ...{ clearBefore, clearAfter, usedBefore, usedFull, usedAtAsking, usedAfter, filledAt },
    isDataKept: data.equals(await readFile(join(node.root, dataFile))),
    executionId: approval.executionId,
    nodes: seen.nodes,
    approval,
    action: await readAction(parts, run),
    told: await toldOf(parts),
    why: await tellWhy(parts, approval.executionId),
  }
}

export function nodeNamed(nodes: readonly FleetNode[], name: string): FleetNode {
  const node = nodes.find((each) => each.name === name)
  if (!node) throw new AppError("demo.part-failed", `there is no node ${name}`)
  return node
}

async function writeData({ root }: FleetNode): Promise<void> {
  await mkdir(join(root, logFolder), { recursive: true })
  await writeFile(join(root, dataFile), randomBytes(rulesPlan.dataBytes), { flush: true })
}

/** Random, and flushed: a file system that packs or waits tells the space too. Gives when it was full. */
async function grow({ root }: FleetNode): Promise<number> {
  const file = await open(join(root, logFolder, "debug.log.old"), "w", 0o640)
  try {
    await file.writeFile(randomBytes(rulesPlan.logBytes))
    await file.sync()
  } finally {
    await file.close()
  }
  return Date.now()
}

/** Counted here, by what the files take, and not by the command of the signal. */
async function usedPercent({ root }: FleetNode): Promise<number> {
  const names = await readdir(join(root, "var"), { recursive: true })
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(root, "var", name))).blocks * blockBytes))
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  return Math.round((bytes / 1024 / rulesPlan.spaceKilobytes) * 100)
}

/** Of \`stat\`, whatever the file system's own are. */
const blockBytes = 512

async function waitForStates(parts: CommandParts, state: "clear" | "raised", count: number): Promise<number> {
  const { client, signal } = parts
  return await waitUntil(parts, `the signal ${diskSignal}, ${state} on ${count}`, async () => {
    const { items } = await client.call(signalsStates, { name: diskSignal, state }, { signal })
    return items.length === count ? count : undefined
  })
}

async function waitForHeld(parts: CommandParts): Promise<{ run: string; requestUrl: string }> {
  const { client, signal } = parts
  return await waitUntil(parts, `a held run of the rule ${cleanRule}`, async () => {
    const { items } = await client.call(actionsList, { rule: cleanRule }, { signal })
    const held = items.find(({ state }) => state === "held")
    return held?.requestUrl === undefined ? undefined : { run: held.id, requestUrl: held.requestUrl }
  })
}

async function readAction(parts: CommandParts, action: string): Promise<DiskEvidence["action"]> {
  const { client, signal } = parts
  return await waitUntil(parts, `the end of ${action}`, async () => {
    const { state, started = "", finishedAt } = await client.call(actionsGet, { action }, { signal })
    return finishedAt === undefined ? undefined : { state, started }
  })
}

/** The events of the signal, in their order. */
async function toldOf({ client, signal }: CommandParts): Promise<DiskEvidence["told"]> {
  const told: Array<DiskEvidence["told"][number]> = []
  for (const type of ["signal.raised", "signal.cleared"]) {
    const { items } = await client.call(eventsList, { type }, { signal })
    for (const { data, time } of items) told.push({ type, node: String(data["node"]), at: Date.parse(time) })
  }
  return told
}
