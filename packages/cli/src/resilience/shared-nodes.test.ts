import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { nodesGet, nodesList } from "@signalbox/contracts/fleet/operations"
import {
  executionsAbort,
  executionsPause,
  executionsResume,
  tasksList,
} from "@signalbox/contracts/workflows/operations"
import { createClient, type Client } from "@signalbox/sdk/client"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { nodesOf, type ChaosNode } from "./chaos/chaos-run.fixture.ts"
import { openServerGroup, type ServerGroup } from "./chaos/servers-round.fixture.ts"
import type { TestHost, TestInstallation } from "./processes.fixture.ts"
import { getRun, readNodesEvidence, slowStep, startRun, waitForRunEnd } from "./run-evidence.fixture.ts"

/** Real servers on one database; the nodes of one host process are connected to each. What ran is read from the nodes. */
const timeoutMilliseconds = 300_000
const runSeconds = 200
const perHost = 3
let group: ServerGroup
let first: TestInstallation
let second: TestInstallation
let hosts: TestHost[]
let nodes: ChaosNode[]
let receiver: Server
let received: number
let clients: Client[]

beforeAll(async () => {
  receiver = createServer((_, response) => {
    received += 1
    response.end("{}")
  })
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve))
  group = await openServerGroup(2, ["--egress-allow", `127.0.0.1:${(receiver.address() as AddressInfo).port}`])
  const [one, two] = group.servers
  if (!one || !two) throw new Error("there are two servers")
  ;[first, second] = [one, two]
  group.relay.spreadOver([first.port])
  hosts = [await first.addHostedNodes("one-", perHost)]
  group.relay.spreadOver([second.port])
  hosts.push(await first.addHostedNodes("two-", perHost))
  nodes = hosts.flatMap(nodesOf)
}, timeoutMilliseconds)
beforeEach(() => {
  received = 0
  clients = []
})
afterEach(async () => {
  for (const client of clients) await client.close()
})
afterAll(async () => {
  receiver.close()
  await group.remove({})
}, timeoutMilliseconds)

/** Calls one of the servers and no other. */
async function clientOf(server: TestInstallation): Promise<Client> {
  const { key } = await server.admin()
  const client = createClient({ url: `http://127.0.0.1:${server.port}`, key })
  clients.push(client)
  return client
}

const documentOf = (fields: object): string =>
  JSON.stringify({ kind: "Workflow", name: "shared", rollback: "never", startTimeout: "5m", ...fields })

const allNames = (): string[] => nodes.map(({ name }) => name)

/** On one server, by its own client. */
const startOn = async (server: TestInstallation, fields: object, concurrency = nodes.length): Promise<string> =>
  startRun({ client: await clientOf(server) } as TestInstallation, {
    document: documentOf(fields),
    concurrency,
    errorLimit: 0,
    nodes: allNames(),
  })

async function expectEachOnce(id: string): Promise<void> {
  for (const { name, begun, ended, entries } of await readNodesEvidence(nodes, id)) {
    expect(begun, name).toHaveLength(1)
    expect(ended, name).toEqual(begun)
    expect(entries, name).toMatchObject([{ state: "succeeded", ranTwice: false }])
  }
}

/** Which server has which nodes, by the rows that they share. */
const homes = () =>
  group.query<{ server: string; nodes: string[] }>(
    `select s.server_id as server, array_agg(n.name order by n.name) as nodes
     from node_sessions s join nodes n on n.id = s.node_id group by 1 order by 2`,
  )

const ownerOf = async (id: string): Promise<string | undefined> => {
  const rows = await group.query<{ id: string; owner: string | null }>("select id, owner from executions")
  return rows.find((row) => row.id === id)?.owner?.split("/")[0]
}

const waitUntilAllOnline = () =>
  first.eventually(
    "all nodes to be online",
    async () => (await (await clientOf(second)).call(nodesList, { state: "online" })).items.length === nodes.length,
    timeoutMilliseconds,
  )

describe("X12, W9: nodes that are spread over two servers", () => {
  test(
    "a run started on either reaches all nodes, its HTTP steps and health checks too; each attempt runs once",
    async () => {
      expect((await homes()).map((home) => home.nodes)).toEqual(hosts.map(({ names }) => names))
      const { port } = receiver.address() as AddressInfo
      for (const [server, probed] of [
        [first, "two-1"],
        [second, "one-1"],
      ] as const) {
        received = 0
        const id = await startOn(server, {
          steps: [{ run: slowStep(1) }, { http: { method: "POST", url: `http://127.0.0.1:${port}/` } }],
          health: { run: "true", on: probed, every: "200ms", timeout: "60s", failures: 1 },
        })
        const ended = await waitForRunEnd(first, id, runSeconds)
        expect(ended).toMatchObject({ state: "succeeded", counts: { succeeded: nodes.length } })
        expect(ended.health).toMatchObject({ ok: true })
        expect(received).toBe(nodes.length)
        await expectEachOnce(id)
      }
    },
    timeoutMilliseconds,
  )

  test(
    "a run is paused on one, resumed on the other, and killed on the one that does not own it",
    async () => {
      const [one, two] = [await clientOf(first), await clientOf(second)]
      const id = await startOn(first, { steps: [{ run: slowStep(0.3) }] }, 2)
      await two.call(executionsPause, { execution: id })
      await first.eventually("the run to be paused", async () => (await getRun(first, id)).state === "paused", 60_000)
      await one.call(executionsResume, { execution: id })
      expect(await waitForRunEnd(first, id, runSeconds)).toMatchObject({ state: "succeeded" })
      await expectEachOnce(id)
      const stuck = await startOn(first, { steps: [{ run: slowStep(0, allNames()) }] })
      await first.eventually(
        "all to be running",
        async () => {
          const { items } = await one.call(tasksList, { execution: stuck })
          return items.every(({ state }) => state === "running")
        },
        60_000,
      )
      await two.call(executionsAbort, { execution: stuck, mode: "kill" })
      expect(await waitForRunEnd(first, stuck, runSeconds)).toMatchObject({
        state: "aborted",
        counts: { aborted: nodes.length },
      })
      for (const { ended } of await readNodesEvidence(nodes, stuck)) expect(ended).toEqual([])
    },
    timeoutMilliseconds,
  )

  test(
    "a third server changes nobody's presence; each of the two killed in turn, runs end with each attempt once",
    async () => {
      const before = await homes()
      const third = await group.add()
      expect(await homes()).toEqual(before)
      for (const name of allNames())
        expect(await (await clientOf(second)).call(nodesGet, { node: name })).toMatchObject({ state: "online" })
      await third.server.end("SIGTERM")
      expect(await homes()).toEqual(before)
      for (const killed of [first, second]) {
        const other = killed === first ? second : first
        group.relay.spreadOver([first.port, second.port])
        const id = await startOn(killed, { steps: [{ run: slowStep(3) }] }, 4)
        await first.eventually(
          "the run to have begun",
          async () => {
            const evidence = await readNodesEvidence(nodes, id)
            return evidence.some(({ begun }) => begun.length > 0)
          },
          60_000,
        )
        const owner = await ownerOf(id)
        await killed.server.end("SIGKILL")
        group.relay.spreadOver([other.port])
        const ended = await other.eventually(
          "the run to end",
          async () => {
            const run = await (await clientOf(other)).call(tasksList, { execution: id })
            return run.items.every(({ state }) => state === "succeeded") && run
          },
          timeoutMilliseconds,
        )
        expect(ended.items).toHaveLength(nodes.length)
        expect(await ownerOf(id)).not.toBe(owner)
        await expectEachOnce(id)
        await group.start(killed)
        await waitUntilAllOnline()
      }
    },
    timeoutMilliseconds,
  )
})
