import { existsSync } from "node:fs"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { catalogEnd } from "@signalbox/contracts/catalog/instances"
import { nodesList } from "@signalbox/contracts/fleet/operations"
import { executionsList } from "@signalbox/contracts/workflows/operations"
import { freePorts } from "../cookbook/cookbook.fixture.ts"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import { exitCodes } from "../exit-codes.ts"
import { WebNodeExample } from "./web-node.fixture.ts"

/** Real processes throughout: a server with its database, two backends, agents, and a web service on each node. */
let example: WebNodeExample

beforeAll(async () => {
  example = await WebNodeExample.create()
}, 300_000)

afterEach(() => example.endBackends())
afterAll(() => (example as WebNodeExample | undefined)?.remove(), 120_000)

async function nodesOf(instance: string) {
  const { items } = await example.installation.client.call(nodesList, { query: `catalog.instance=${instance}` })
  return items
}

/** Processes that have this path in their command line. */
async function processesIn(path: string): Promise<string[]> {
  const found: string[] = []
  for (const name of await readdir("/proc")) {
    const line = /^\d+$/.test(name) ? await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "") : ""
    if (line.split("\0").some((word) => word.startsWith(`${path}/`))) found.push(line.replaceAll("\0", " "))
  }
  return found
}

const pageOf = (url: string): Promise<string | undefined> =>
  fetch(url).then(
    (response) => response.text(),
    () => undefined,
  )

test(
  "A13: a web node is launched, restarted and ended, and one template governs all of it",
  { timeout: 600_000 },
  async () => {
    const { installation } = example
    await example.startProvisioner()
    await example.startAdministrator()
    const [port = 0] = await freePorts(1)

    const words = ["catalog", "launch", "web", "web-node", "--name", "shop-1", "--parameter", `port=${port}`]
    const launched = await installation.run([...words, "--parameter", "page=welcome"])
    expect([launched.code, launched.stderr]).toEqual([exitCodes.held, expect.anything()])
    const launch = await example.approve()
    expect(launch).toMatchObject({ title: 'Launch web-node as "shop-1" from web', template: { name: "web-change" } })
    const listed = JSON.parse(await installation.succeed(["catalog", "instances", "--json"])) as {
      items: [{ id: string }]
    }
    const id = listed.items[0].id
    const { outputs } = await example.untilState(id, "available")
    expect(await nodesOf(id)).toMatchObject([{ id: outputs["node"], state: "online", tags: { role: "web" } }])
    const url = outputs["url"] ?? ""
    const before = await example.until("the page", () => pageOf(url))
    expect(before).toMatch(/^welcome from process \d+/)

    const asked = await fetch(`http://127.0.0.1:${example.administratorPort}/restart/${id}`, { method: "POST" })
    expect(asked.status).toBe(202)
    const request = await asked.text()
    const forged = await fetch(`http://127.0.0.1:${example.administratorPort}/results`, {
      method: "POST",
      body: JSON.stringify({ data: { request, result: "approved" } }),
    })
    expect(forged.status).toBe(403)
    const restart = await example.approve()
    expect(restart).toMatchObject({ id: request, attributes: { product: "web-node" }, template: launch.template })
    const run = await example.until("the run to end", async () => {
      const { items } = await installation.client.call(executionsList, { workflow: "restart-web" })
      return items.find(({ finishedAt }) => finishedAt !== undefined)
    })
    expect(run.state).toBe("succeeded")
    await example.until("another process to answer", async () => {
      const page = await pageOf(url)
      return page !== undefined && page !== before
    })

    const folder = join(example.directory, id)
    expect(await processesIn(folder)).toHaveLength(2)
    expect((await example.installation.run(["catalog", "end", id])).code).toBe(exitCodes.held)
    expect((await example.approve()).template).toEqual(launch.template)
    await example.untilState(id, "ended")
    expect(await nodesOf(id)).toEqual([])
    expect(await processesIn(folder)).toEqual([])
    expect(existsSync(folder)).toBe(false)

    const story = await installation.succeed(["why", id])
    for (const what of ["catalog.launch", "instance.available", "instance.ended", launch.id])
      expect(story).toContain(what)
  },
)

test("A13: a provisioner that is killed in the middle leaves exactly one node", { timeout: 600_000 }, async () => {
  const [port = 0] = await freePorts(1)
  const first = await example.startProvisioner()
  const { id } = await example.launch({ name: "shop-2", parameters: { port, page: "still here" } })
  await example.untilState(id, "provisioning")
  await first.end("SIGKILL")
  const second = await example.startProvisioner()
  await example.until("the node to be enrolled", async () => (await nodesOf(id)).length > 0)
  await second.end("SIGKILL")
  const third = await example.startProvisioner()
  const { outputs } = await example.untilState(id, "available")
  expect((await nodesOf(id)).map((node) => node.id)).toEqual([outputs["node"]])
  expect(await processesIn(join(example.directory, id))).toHaveLength(2)

  // Killed once more while it takes everything down.
  const reply = await example.lea.call(catalogEnd, { instance: id })
  expect(reply.status).toBe("held")
  await example.approve()
  await third.end("SIGKILL")
  await example.startProvisioner()
  await example.untilState(id, "ended")
  expect(await nodesOf(id)).toEqual([])
  expect(await processesIn(join(example.directory, id))).toEqual([])
})
