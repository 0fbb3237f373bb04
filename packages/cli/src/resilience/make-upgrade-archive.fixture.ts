import { execFileSync } from "node:child_process"
import { stat, writeFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { connectDirect } from "@signalbox/server/storage/database"
import { findRunningPostgres } from "@signalbox/server/storage/running-postgres"
import { z } from "zod"
import { TestInstallation } from "./processes.fixture.ts"
import { startRun, waitForRunEnd } from "./run-evidence.fixture.ts"
import { startRecordingRelay } from "./recording-relay.fixture.ts"
import { dialElsewhere, packFiles, writeUpgradeArchive } from "./upgrade-archive.fixture.ts"

/**
 * Makes the archive of the upgrade test by the programs of another version: see docs/how-to/upgrade.md.
 *
 *   npm run upgrade-archive -- CHECKOUT
 */
const checkout = resolve(process.argv[2] ?? "")
const node = "old-node"
const document = JSON.stringify({
  kind: "Workflow",
  name: "old-change",
  steps: [{ name: "say", run: "echo said by the version before; echo kept > kept.txt" }],
})

/** Runs of that time are old when the test runs: retention must leave them alone, and another machine be the node's. */
const agelessStatements = [
  "update outbox set time = time + interval '100 years'",
  "update executions set finished_at = finished_at + interval '100 years'",
  "update nodes set machine_id = null",
  "delete from node_inventories",
]

/** Nothing of the machine on which this runs goes into the repository. */
const machineMembers: Readonly<Record<string, string>> = {
  machineId: "00000000000000000000000000000001",
  bootId: "00000000-0000-4000-8000-000000000001",
  hostname: "old-host",
  kernel: "6.1.0",
}
const withoutMachine = (frames: unknown[]): unknown =>
  JSON.parse(JSON.stringify(frames, (member, value: unknown) => machineMembers[member] ?? value))

/** What the fleet's test replays: see packages/server/src/services/fleet/earlier-agent.test.ts. */
const protocolFile = fileURLToPath(new URL("../../../server/src/services/fleet/earlier-agent.json", import.meta.url))

/** What agents of that version take from a server. */
async function readServerFrameSchema(): Promise<Record<string, unknown>> {
  const path = pathToFileURL(join(checkout, "packages/contracts/dist/fleet/agent-protocol.js")).href
  const { serverFrame } = (await import(path)) as { serverFrame: z.ZodType }
  return z.toJSONSchema(serverFrame, { io: "input" })
}

const installation = await TestInstallation.create(join(checkout, "packages/cli/bin/signalbox.js"))
try {
  await installation.startServer()
  await installation.addNodes([node])
  const { agentDirectory } = installation.node(node)
  await installation.node(node).agent.end("SIGTERM")
  const relay = await startRecordingRelay(await installation.admin())
  const identity = await dialElsewhere(agentDirectory, relay.url)
  installation.restartAgent(node)
  const execution = await startRun(installation, { document, concurrency: 1, errorLimit: 0, nodes: [node] })
  const { state } = await waitForRunEnd(installation, execution)
  if (state !== "succeeded") throw new Error(`${execution} ended as ${state}`)
  await installation.node(node).agent.end("SIGTERM")
  await relay.stop()
  await writeFile(join(agentDirectory, "identity.json"), identity)
  const client = await connectDirect((await findRunningPostgres(installation.data)) ?? "")
  for (const statement of agelessStatements) await client.query(statement)
  await client.end()
  const file = join(installation.directory, "backup")
  await installation.succeed(["database", "backup", file])
  const commit = execFileSync("git", ["rev-parse", "HEAD"], { cwd: checkout, encoding: "utf8" }).trim()
  const serverFrameSchema = await readServerFrameSchema()
  await writeFile(
    protocolFile,
    `${JSON.stringify({ commit, agentFrames: withoutMachine(relay.fromAgent), serverFrameSchema }, undefined, 2)}\n`,
  )
  const bytes = await writeUpgradeArchive({
    commit,
    execution,
    node,
    serverFrameSchema,
    backup: await packFiles(file),
    agent: await packFiles(agentDirectory),
  })
  console.log(`${(await stat(file)).size} bytes of backup, ${bytes} bytes of archive`)
} finally {
  await installation.remove()
}
