import { mkdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { tasksGet } from "@signalbox/contracts/workflows/operations"
import { Ajv2020 as Ajv } from "ajv/dist/2020.js"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import { TestInstallation } from "./processes.fixture.ts"
import { getRun, startRun, waitForRunEnd } from "./run-evidence.fixture.ts"
import { startRecordingRelay } from "./recording-relay.fixture.ts"
import { dialElsewhere, readUpgradeArchive, unpackFiles, type UpgradeArchive } from "./upgrade-archive.fixture.ts"

/** docs/how-to/upgrade.md: what an earlier version left, under the programs of this one. */
let installation: TestInstallation
let archive: UpgradeArchive

beforeAll(async () => {
  archive = await readUpgradeArchive()
  installation = await TestInstallation.create()
  const file = join(installation.directory, "an old backup")
  await unpackFiles(archive.backup, file)
  await installation.succeed(["database", "restore", file, "--data", installation.data])
  await installation.startServer()
  await installation.succeed(["login", "--local"])
})
afterAll(() => installation.remove())

test("X6: runs of the version before are there: state, outputs, and their stories", async () => {
  const { execution, node } = archive
  expect(await getRun(installation, execution)).toMatchObject({ state: "succeeded", counts: { succeeded: 1 } })
  const task = await installation.client.call(tasksGet, { execution, task: "0" })
  expect(task).toMatchObject({ nodeName: node, state: "succeeded" })
  expect(JSON.stringify(task)).toContain("said by the version before")
  const story = await installation.succeed(["why", execution])
  expect(story).toContain("executions.create")
  expect(story).toContain("old-change")
})

test("X3, X6: audit records of the version before are sealed, and those of now after them", async () => {
  await installation.eventually("the old records to be sealed", async () => {
    const { records } = JSON.parse(await installation.succeed(["audit", "verify", "--json"])) as { records: number }
    return records > 0
  })
})

test("X6: an agent's data directory of the version before goes on: same node, new work", async () => {
  const { node } = archive
  const root = join(installation.directory, node, "root")
  const agentDirectory = join(installation.directory, node, "agent")
  await mkdir(root, { recursive: true })
  await unpackFiles(archive.agent, agentDirectory)
  // The server is on another port than then; an upgrade in place has nothing of this.
  const relay = await startRecordingRelay(await installation.admin())
  await dialElsewhere(agentDirectory, relay.url)
  installation.adoptNode(node, { root, agentDirectory })
  await installation.waitForNodes(1)
  const document = JSON.stringify({ kind: "Workflow", name: "new-change", steps: [{ run: "echo new > new.txt" }] })
  const run = await startRun(installation, { document, concurrency: 1, errorLimit: 0, nodes: [node] })
  expect(await waitForRunEnd(installation, run)).toMatchObject({ state: "succeeded", counts: { succeeded: 1 } })
  expect(await readFile(join(root, "new.txt"), "utf8")).toBe("new\n")
  const types = () => relay.fromServer.map((frame) => (frame as { type: string }).type)
  await vi.waitFor(() => expect(types()).toContain("acknowledge"), { timeout: 30_000 })
  await installation.node(node).agent.end("SIGTERM")
  await relay.stop()
  // What the server said would have been understood by the agent of then.
  const isUnderstood = new Ajv({ strict: false }).compile(archive.serverFrameSchema)
  expect(types()).toEqual(expect.arrayContaining(["welcome", "start", "acknowledge"]))
  expect(relay.fromServer.filter((frame) => !isUnderstood(frame))).toEqual([])
})
