import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { tasksGet, tasksList } from "@signalbox/contracts/workflows/operations"
import type { Client } from "@signalbox/sdk/client"
import type { SecretEvidence } from "./evidence.ts"
import type { FleetNode } from "./fleet-node.ts"

/**
 * Looks for a secret where it must not be: in the journals of the nodes' agents, in the logs of all processes, and in
 * what the server tells of every task of these runs.
 */
export async function searchSecret(
  client: Client,
  secret: string,
  places: {
    readonly nodes: readonly FleetNode[]
    readonly logsDirectory: string
    readonly executionIds: readonly string[]
  },
): Promise<SecretEvidence> {
  const directories = [places.logsDirectory, ...places.nodes.map((node) => join(node.agentDirectory, "journal"))]
  const files = (await Promise.all(directories.map(filesOf))).flat()
  const found: string[] = []
  for (const path of files) if ((await readFile(path)).includes(secret)) found.push(path)
  let outputsMasked = 0
  for (const execution of places.executionIds) {
    const { items } = await client.call(tasksList, { execution })
    for (const { id, ordinal } of items) {
      const text = JSON.stringify(await client.call(tasksGet, { execution, task: String(ordinal) }))
      if (text.includes(secret)) found.push(id)
      if (text.includes("token=***")) outputsMasked += 1
    }
  }
  return { filesSearched: files.length, found, outputsMasked }
}

async function filesOf(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isFile()).map(({ name }) => join(directory, name))
}
