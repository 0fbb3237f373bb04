import { execFileSync } from "node:child_process"
import { stat } from "node:fs/promises"
import { join, resolve } from "node:path"
import { findRunningPostgres } from "@signalbox/server/storage/running-postgres"
import { connectDirect } from "@signalbox/server/storage/database"
import { TestInstallation } from "./processes.fixture.ts"
import { startRun, waitForRunEnd } from "./run-evidence.fixture.ts"
import { packFiles, writeUpgradeArchive } from "./upgrade-archive.fixture.ts"

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
  "update audit set time = time + interval '100 years'",
  "update executions set finished_at = finished_at + interval '100 years'",
  "update nodes set machine_id = null",
]

const installation = await TestInstallation.create(join(checkout, "packages/cli/bin/signalbox.js"))
try {
  await installation.startServer()
  await installation.addNodes([node])
  const execution = await startRun(installation, { document, concurrency: 1, errorLimit: 0, nodes: [node] })
  const { state } = await waitForRunEnd(installation, execution)
  if (state !== "succeeded") throw new Error(`${execution} ended as ${state}`)
  const { agent, agentDirectory } = installation.node(node)
  await agent.end("SIGTERM")
  const client = await connectDirect((await findRunningPostgres(installation.data)) ?? "")
  for (const statement of agelessStatements) await client.query(statement)
  await client.end()
  const file = join(installation.directory, "backup")
  await installation.succeed(["database", "backup", file])
  const bytes = await writeUpgradeArchive({
    commit: execFileSync("git", ["rev-parse", "HEAD"], { cwd: checkout, encoding: "utf8" }).trim(),
    execution,
    node,
    backup: await packFiles(file),
    agent: await packFiles(agentDirectory),
  })
  console.log(`${(await stat(file)).size} bytes of backup, ${bytes} bytes of archive`)
} finally {
  await installation.remove()
}
