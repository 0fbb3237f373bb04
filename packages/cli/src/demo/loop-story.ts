import { actionsList } from "@signalbox/contracts/actions/operations"
import { eventsList } from "@signalbox/contracts/audit/operations"
import { nodesGet } from "@signalbox/contracts/fleet/operations"
import type { LoopEvidence } from "./rules-claims.ts"
import { loopDocuments, loopRules } from "./rules-documents.ts"
import { rulesPlan } from "./rules-plan.ts"
import { applyDocuments, type CommandParts, runCommand, waitUntil } from "./story-commands.ts"
import { tellWhy } from "./story-shared.ts"

/** Two rules that set each other going, until the chain is as deep as it may be. */
export async function findLoop(parts: CommandParts): Promise<LoopEvidence> {
  const { client, signal, screen, mailbox } = parts
  const { looping, onCall } = rulesPlan
  screen.title("4. Two rules, each of which undoes what the other one did")
  await applyDocuments(parts, "loop.yaml", loopDocuments)
  await runCommand(parts, ["nodes", "update", looping, "--tag", "colour=green"])
  const stopped = await waitUntil(parts, "a run that was stopped", async () =>
    (await listRuns(parts)).find(({ state }) => state === "stopped"),
  )
  const mail = await mailbox.waitForMail(onCall, [stopped.id], signal)
  screen.done(`the mail to ${onCall}: ${/^Subject: (.*)$/m.exec(mail.text)?.[1]?.trim() ?? ""}`)
  const listed = await runCommand(parts, ["actions", "list", "--state", "stopped"])
  const why = await tellWhy(parts, stopped.id)
  const node = await client.call(nodesGet, { node: looping }, { signal })
  // The last call's own run may be told as done a moment later than what it set going.
  const runs = await waitUntil(parts, "the end of all runs", async () => {
    const all = await listRuns(parts)
    return all.every(({ state }) => ended.has(state)) ? all : undefined
  })
  const { items } = await client.call(eventsList, { type: "node.updated", subject: node.id }, { signal })
  return { runs, stoppedId: stopped.id, changes: items.length, mail, listed, why }
}

const ended = new Set(["succeeded", "dead", "cancelled", "stopped"])

async function listRuns({ client, signal }: CommandParts): Promise<LoopEvidence["runs"]> {
  const pages = await Promise.all(loopRules.map((rule) => client.call(actionsList, { rule }, { signal })))
  return pages.flatMap(({ items }) =>
    items.map(({ id, state, depth, error }) => ({ id, state, depth, ...(error && { code: error.code }) })),
  )
}
