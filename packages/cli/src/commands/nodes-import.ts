import { groupsPut, nodesResolve, nodesUpdate } from "@signalbox/contracts/fleet/operations"
import type { CallInputOf } from "@signalbox/contracts/operation"
import { mapBounded } from "@signalbox/kernel/map-bounded"
import type { Client } from "@signalbox/sdk/client"
import type { Command } from "commander"
import { addCommand, type CommandContext, type CommandFrame, onRun, textOption } from "../command.ts"
import { exitCodes } from "../exit-codes.ts"
import { showHeld } from "../output/show-held.ts"
import { readInputFile } from "../input-file.ts"
import type { InstallTarget } from "../install/install-plan.ts"
import { renderTable } from "../output/table.ts"

const parallelMax = 8
const resolvedMax = 1000

/** `nodes import`: what an Ansible inventory says of groups becomes tags and node groups. */
export function addNodesImport(nodes: Command, frame: CommandFrame): void {
  const command = addCommand(nodes, "import", "Take over the groups of an Ansible inventory as tags and node groups")
    .requiredOption("-i, --inventory <file>", "an Ansible inventory, INI or YAML; - for standard input")
    .option("--dry-run", "only show what would be done")
  onRun(command, frame, { run: importInventory })
}

interface ImportedHost {
  readonly host: string
  readonly node: string
  /** `missing`: no node has this name yet. */
  readonly result: "missing" | "unchanged" | "tagged" | "held"
  readonly tags: Readonly<Record<string, string>>
}

async function importInventory(context: CommandContext): Promise<number> {
  const { parseInventory } = await import("../inventories/inventory.ts")
  const { groupTag, nodeNameOf, planInstall } = await import("../install/install-plan.ts")
  const file = textOption(context, "inventory") ?? ""
  const inventory = parseInventory(await readInputFile(file, context.io), file)
  const targets = planInstall(inventory, { tagFromGroups: true, limit: [], isReached: false })
  const isDry = context.options["dryRun"] === true
  const client = await context.client()
  const groups = inventory.groups.map((name) => ({ group: nodeNameOf(name), query: groupTag(name) }))
  if (!isDry) {
    for (const { group, query } of groups) {
      const held = await putGroup(client, { name: group, query, description: "From an Ansible inventory" })
      if (held !== undefined) return await showHeld(context, held)
    }
  }
  const known = await findNodes(client, targets)
  const hosts = await mapBounded(targets, parallelMax, async (target): Promise<ImportedHost> => {
    const shown = { host: target.host, node: target.name, tags: target.tags }
    const tags = known.get(target.name)
    if (!tags) return { ...shown, result: "missing" }
    const isTagged = Object.keys(target.tags).every((key) => Object.hasOwn(tags, key))
    if (isTagged) return { ...shown, result: "unchanged" }
    if (isDry) return { ...shown, result: "tagged" }
    const reply = await client.call(nodesUpdate, { node: target.name, tags: { ...target.tags } })
    return { ...shown, result: reply.status === "held" ? "held" : "tagged" }
  })
  const missing = hosts.filter(({ result }) => result === "missing").length
  await context.show({ groups, hosts }, (columns) =>
    [
      groups.length > 0 ? `${renderTable(groups, { fields: ["group", "query"], columns })}\n` : "",
      renderTable(hosts, { fields: ["host", "node", "result", "tags"], columns }),
      missing > 0
        ? `\n${missing} ${missing === 1 ? "host is no node" : "hosts are no nodes"} yet: signalbox nodes install --ssh -i ${file} --tag-from-groups\n`
        : "",
      isDry ? "\nnothing was changed (--dry-run)\n" : "",
    ].join(""),
  )
  return hosts.some(({ result }) => result === "held") ? exitCodes.held : exitCodes.ok
}

/** The URL of the approval request where the change is held. */
async function putGroup(client: Client, input: CallInputOf<typeof groupsPut>): Promise<string | undefined> {
  const reply = await client.call(groupsPut, input)
  return reply.status === "held" ? reply.requestUrl : undefined
}

/** Tags of the hosts that are nodes, by name. */
async function findNodes(
  client: Client,
  targets: readonly InstallTarget[],
): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
  const found = new Map<string, Readonly<Record<string, string>>>()
  for (let from = 0; from < targets.length; from += resolvedMax) {
    const nodes = targets.slice(from, from + resolvedMax).map(({ name }) => name)
    const { items } = await client.call(nodesResolve, { nodes, limit: resolvedMax })
    for (const { name, tags } of items) found.set(name, tags)
  }
  return found
}
