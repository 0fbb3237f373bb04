import { nodesGet } from "@signalbox/contracts/fleet/operations"
import { access, cp, rename, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { getRun, startRun, waitForRunEnd } from "./run-evidence.fixture.ts"
import { type TestHost, TestInstallation } from "./processes.fixture.ts"

const mebibyte = 1024 ** 2
let installation: TestInstallation
let [red, blue]: TestHost[] = []

beforeAll(async () => {
  installation = await TestInstallation.create()
  await installation.startServer()
  ;[red, blue] = await Promise.all([installation.addHostedNodes("red-", 10), installation.addHostedNodes("blue-", 3)])
}, 120_000)
afterAll(() => installation.remove())

const hosts = () => {
  if (!red || !blue) throw new Error("the hosts were not made")
  return { red, blue }
}

const stateOf = async (name: string) => (await installation.client.call(nodesGet, { node: name })).state

const untilState = (name: string, state: string) =>
  installation.eventually(`${name} to be ${state}`, async () => (await stateOf(name)) === state, 60_000)

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

test("one process runs ten nodes, each in its own root, in little more memory than one", async () => {
  const { red } = hosts()
  const document = JSON.stringify({ kind: "Workflow", name: "mark", steps: [{ run: "pwd > where" }] })
  const id = await startRun(installation, { document, concurrency: 10, errorLimit: 0, nodes: [...red.names] })
  expect(await waitForRunEnd(installation, id)).toMatchObject({ state: "succeeded" })
  expect(await getRun(installation, id)).toMatchObject({ counts: { succeeded: 10 } })
  for (const name of red.names) expect(await exists(join(red.nodesDirectory, name, "root", "where"))).toBe(true)
  expect((await red.process.residentBytes()) / mebibyte).toBeLessThan(250)
})

test("the kill of one host's process is not the other's, and it goes on where it was", async () => {
  const { red, blue } = hosts()
  await blue.process.end("SIGKILL")
  await untilState("blue-1", "offline")
  expect(await stateOf("red-1")).toBe("online")
  installation.restartHost(blue)
  for (const name of blue.names) await untilState(name, "online")
  expect(red.process.isRunning).toBe(true)
})

test("a node that can't run is no matter of the others, and runs once it can", async () => {
  const { blue } = hosts()
  const folder = (name: string) => join(blue.nodesDirectory, name)
  await blue.process.end("SIGTERM")
  for (const name of blue.names) await untilState(name, "offline")
  await rename(folder("blue-2"), join(installation.directory, "set aside"))
  await rename(join(folder("blue-3"), "agent", "agent-key.pem"), join(folder("blue-3"), "key"))
  await writeFile(join(blue.nodesDirectory, "a stray file"), "")
  installation.restartHost(blue)
  await untilState("blue-1", "online")
  await installation.eventually("the complaint", async () => blue.process.log.includes("node=blue-3"))
  expect(await stateOf("blue-3")).toBe("offline")
  await rename(join(folder("blue-3"), "key"), join(folder("blue-3"), "agent", "agent-key.pem"))
  await rename(join(installation.directory, "set aside"), folder("blue-2"))
  for (const name of blue.names) await untilState(name, "online")
})

test("a node's folder that goes away ends that node alone", async () => {
  const { blue } = hosts()
  await rename(join(blue.nodesDirectory, "blue-2"), join(installation.directory, "taken away"))
  await untilState("blue-2", "offline")
  expect(await stateOf("blue-1")).toBe("online")
})

test("no two processes run the same node", async () => {
  const { blue } = hosts()
  const one = join(blue.nodesDirectory, "blue-1", "agent")
  const second = await installation.run(["agent", "run", "--data", one])
  expect(second.code).toBe(6)
  expect(second.stderr).toContain("agent.already-running")
})

test("X8: the copy of a node's folder is not run beside the node, and nobody's session is taken over", async () => {
  const { blue } = hosts()
  await cp(join(blue.nodesDirectory, "blue-1"), join(blue.nodesDirectory, "copy"), { recursive: true })
  await rm(join(blue.nodesDirectory, "copy", "agent", "lock"))
  await installation.eventually("the complaint", async () => blue.process.log.includes("node=copy"))
  expect(blue.process.log).toContain("is blue-1's")
  expect(await stateOf("blue-1")).toBe("online")
})
