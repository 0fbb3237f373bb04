import { enrollMany, nodeNames } from "@signalbox/agent/enroll-patiently"
import { enrollmentKeysCreate, enrollmentKeysList, nodesList } from "@signalbox/contracts/fleet/operations"
import { createClient, type Client } from "@signalbox/sdk/client"
import { type RunningServer, startServer } from "@signalbox/server/serve"
import { readSettings } from "@signalbox/server/settings"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { cli } from "./test-io.fixture.ts"

let directory: string
let server: RunningServer
let client: Client

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox enrol "))
  const flags = { data: directory, port: 0, "log-level": "silent", insecure: true, "calls-per-second": 100 }
  server = await startServer(readSettings({ flags, variables: {} }))
  const admin = JSON.parse(await readFile(join(directory, "admin.json"), "utf8")) as { url: string; key: string }
  client = createClient(admin)
})
afterAll(async () => {
  await client?.close()
  await server?.stop()
  await rm(directory, { recursive: true, force: true })
})

async function newKey(usesMax: number): Promise<{ id: string; key: string }> {
  const reply = await client.call(enrollmentKeysCreate, { usesMax })
  if (reply.status === "held") throw new Error("held")
  return reply.value
}

const usesOf = async (id: string) =>
  (await client.call(enrollmentKeysList, { limit: 1000 })).items.find((key) => key.id === id)?.usesCount

test("X7: 520 machines at once with one key for 500: 500 become nodes, through the rate limit", async () => {
  const { id, key } = await newKey(500)
  const names = nodeNames("mass-", 520)
  const halves = [names.slice(0, 260), names.slice(260)]
  const terms = { serverUrl: server.url, key, nodesDirectory: join(directory, "mass") }
  const results = (await Promise.all(halves.map((half) => enrollMany({ ...terms, names: half })))).flat()
  const failed = results.filter(({ result }) => result === "failed")
  expect(new Set(failed.map(({ error }) => error?.code))).toEqual(new Set(["fleet.enrollment-key-used-up"]))
  expect(failed).toHaveLength(20)
  expect(await usesOf(id)).toBe(500)
  const ids = new Set<string>()
  for await (const { items } of client.pages(nodesList, { limit: 1000 })) for (const node of items) ids.add(node.id)
  expect(ids.size).toBe(500)
  expect(new Set(results.flatMap(({ node }) => node ?? []))).toEqual(ids)
  // The same call again: who is a node stays the same one, and uses nothing.
  const again = await enrollMany({ ...terms, names: names.slice(0, 3) })
  expect(again.map(({ result }) => result)).toContain("present")
  expect(await usesOf(id)).toBe(500)
})

test("`agent enroll --nodes` makes folders for `agent host`, and can be repeated", async () => {
  const { key } = await newKey(3)
  const nodes = join(directory, "lab nodes")
  const words = ["agent", "enroll", "--server", server.url, "--key", key, "--nodes", nodes, "--name-prefix", "lab-"]
  const first = await cli([...words, "--count", "3", "--json"])
  expect(first.code, first.stderr).toBe(0)
  expect(JSON.parse(first.stdout)).toMatchObject({ nodes: [{ name: "lab-1", result: "enrolled" }, {}, {}] })
  const second = await cli([...words, "--count", "4"])
  expect(second.code).toBe(1)
  expect(second.stdout).toMatch(/lab-3\s+present/)
  expect(second.stdout).toMatch(/lab-4\s+failed.*fleet\.enrollment-key-used-up/)
  expect((await cli([...words, "--count", "x"])).code).toBe(2)
  expect((await cli([...words.slice(0, -2), "--count", "1"])).code).toBe(2)
})

test("X8: `agent policy check` shows how the agent understands a policy, or what is wrong with it", async () => {
  const file = join(directory, "policy.yaml")
  await writeFile(file, "users: [app]\n", { mode: 0o644 })
  const good = await cli(["agent", "policy", "check", file])
  expect(good.stdout).toMatch(/digest:\s+sha256:[0-9a-f]{64}/)
  await writeFile(file, "user: [app]\n")
  const bad = await cli(["agent", "policy", "check", file])
  expect(bad.code).toBe(2)
  expect(bad.stderr).toContain("agent.policy-damaged")
  expect(bad.stderr).toContain('"user"')
})
