import { access, mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { createEmptyDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, expect, test } from "vitest"
import { urlOf } from "./connection-url.fixture.ts"
import { TestInstallation } from "./processes.fixture.ts"
import { readEvidence, slowStep, startRun, waitForRunEnd } from "./run-evidence.fixture.ts"

/** docs/how-to/back-up-and-move.md, step by step, with real processes. */
let installation: TestInstallation
const names = ["db1", "db2", "db3"] as const
/** Each is a dozen commands, and each command a process of its own. */
const slowly = { timeout: 180_000 }
const document = JSON.stringify({ kind: "Workflow", name: "change", steps: [{ run: slowStep(1) }] })

beforeAll(async () => {
  installation = await TestInstallation.create()
  await installation.startServer()
  await installation.addNodes(names)
  await installation.succeed(["login", "--local"])
})
afterAll(() => installation.remove())

const run = (concurrency: number) => startRun(installation, { document, concurrency, errorLimit: 0, nodes: names })
const nodeIds = async () => {
  const { items } = JSON.parse(await installation.succeed(["nodes", "list", "--json"]))
  return (items as Array<{ id: string; name: string }>).map(({ id, name }) => `${name} ${id}`)
}

test(
  "X6: back up under load, kill -9, lose the data directory, restore: agents stay, the run ends, no step ran twice",
  slowly,
  async () => {
    const nodesBefore = await nodeIds()
    const done = await run(3)
    await waitForRunEnd(installation, done)
    const open = await run(1)
    await installation.eventually("the first node to work", async () => {
      const evidence = await readEvidence(installation, open)
      return evidence.some(({ begun }) => begun.length > 0)
    })
    const file = join(installation.directory, "a backup")
    const said = await installation.succeed(["database", "backup", file])
    expect(said).toContain("the audit chain fits")
    expect(said).toContain("admin.json, master.key, signing.key, tls/authority.pem")
    // The nodes go on after the backup: the restored server knows nothing of that.
    await installation.eventually("a second node to work", async () => {
      const evidence = await readEvidence(installation, open)
      return evidence.filter(({ begun }) => begun.length > 0).length >= 2
    })
    await installation.server.end("SIGKILL")
    const lost = installation.data
    await rm(lost, { recursive: true, force: true, maxRetries: 20 })
    installation.data = join(installation.directory, "restored data")
    await installation.succeed(["database", "restore", file, "--data", installation.data])
    await installation.startServer()
    await installation.waitForNodes(names.length)
    expect(await nodeIds()).toEqual(nodesBefore)
    expect(await waitForRunEnd(installation, open)).toMatchObject({ state: "succeeded", counts: { succeeded: 3 } })
    for (const { name, entries, begun, ended } of await readEvidence(installation, open)) {
      expect({ name, begun: begun.length, ended: ended.length }).toEqual({ name, begun: 1, ended: 1 })
      expect(entries).toMatchObject([{ state: "succeeded", attempt: 1, ranTwice: false }])
    }
    expect(await waitForRunEnd(installation, done)).toMatchObject({ state: "succeeded" })
    expect(await installation.succeed(["why", done])).toContain("executions.create")
    expect(await installation.succeed(["audit", "verify"])).toContain("the audit chain of main fits")
    await expect(access(lost)).rejects.toMatchObject({ code: "ENOENT" })
  },
)

test("X6: a backup is not restored over another installation, and not from a damaged file", slowly, async () => {
  const file = join(installation.directory, "another backup")
  await installation.succeed(["database", "backup", file])
  const running = await installation.run(["database", "restore", file])
  expect(running).toMatchObject({ code: 6, stdout: "" })
  expect(running.stderr).toContain("storage.data-directory-locked")
  const empty = join(installation.directory, "no backup")
  await mkdir(empty)
  const wrong = await installation.run(["database", "restore", empty, "--data", join(installation.directory, "new")])
  expect(wrong).toMatchObject({ code: 2, stdout: "" })
  expect(wrong.stderr).toContain("storage.backup-unreadable")
})

test(
  "X6: from the private database to another PostgreSQL while agents stay enrolled; the history comes along",
  slowly,
  async () => {
    const before = await run(3)
    await waitForRunEnd(installation, before)
    const nodesBefore = await nodeIds()
    const story = await installation.succeed(["why", before])
    const { connection, drop } = await createEmptyDatabase()
    try {
      const url = urlOf(connection)
      const early = await installation.run(["database", "move", "--to", url])
      expect(early.stderr).toContain("storage.data-directory-locked")
      await installation.server.end("SIGTERM")
      await installation.succeed(["database", "move", "--to", url])
      await installation.startServer({ variables: { DATABASE_URL: url } })
      await installation.waitForNodes(names.length)
      expect(await nodeIds()).toEqual(nodesBefore)
      expect(await installation.succeed(["why", before])).toBe(story)
      const after = await run(3)
      expect(await waitForRunEnd(installation, after)).toMatchObject({ state: "succeeded", counts: { succeeded: 3 } })
      expect(await installation.succeed(["audit", "verify"])).toContain("the audit chain of main fits")
      expect((await installation.run(["database", "move", "--to", url])).stderr).toContain("storage.target-not-empty")
      await installation.server.end("SIGTERM")
    } finally {
      await drop()
    }
  },
)
