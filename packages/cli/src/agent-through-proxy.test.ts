import { type RunningAgent, startAgent } from "@signalbox/agent/agent"
import { enrollAgent } from "@signalbox/agent/enroll"
import { enrollmentKeysCreate, nodesGet } from "@signalbox/contracts/fleet/operations"
import { executionsCreate, executionsGet } from "@signalbox/contracts/workflows/operations"
import { createClient, type Client } from "@signalbox/sdk/client"
import { type RunningServer, startServer } from "@signalbox/server/serve"
import { readSettings } from "@signalbox/server/settings"
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type PrepareRequestFunctionOpts, Server as ProxyServer } from "proxy-chain"
import { afterAll, beforeAll, expect, test, vi } from "vitest"

/** A real forward proxy that wants a name and a password, between a real agent and a server with TLS of its own. */
let directory: string
let server: RunningServer
let client: Client
let proxy: ProxyServer
let agent: RunningAgent
let caFingerprint: string
const asked: Array<{ readonly host: string; readonly isConnect: boolean; readonly user: string }> = []
const limits = { backoffMillisecondsMin: 20, backoffMillisecondsMax: 100, reconnectMillisecondsMax: 100 }
const log: string[] = []
const write = (message: string, fields?: object) => void log.push(`${message} ${JSON.stringify(fields)}`)
const logger = { info: write, warn: write, error: write }

async function startProxy(port: number): Promise<ProxyServer> {
  const made = new ProxyServer({
    port,
    host: "127.0.0.1",
    prepareRequestFunction: ({ hostname, isHttp, username, password }: PrepareRequestFunctionOpts) => {
      asked.push({ host: hostname, isConnect: !isHttp, user: username })
      return { requestAuthentication: username !== "agent" || password !== "p@ss word" }
    },
  })
  await made.listen()
  return made
}

const useProxy = (credentials: string) => (process.env["HTTPS_PROXY"] = `http://${credentials}127.0.0.1:${proxy.port}`)

async function enroll(name: string): Promise<string> {
  const reply = await client.call(enrollmentKeysCreate, {})
  if (reply.status === "held") throw new Error("held")
  const dataDirectory = join(directory, name)
  await enrollAgent({ serverUrl: server.url, key: reply.value.key, caFingerprint, name, dataDirectory })
  return dataDirectory
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox proxy "))
  const flags = { data: directory, port: 0, "log-level": "silent" }
  server = await startServer(readSettings({ flags, variables: {} }))
  const admin = JSON.parse(await readFile(join(directory, "admin.json"), "utf8")) as {
    url: string
    key: string
    caPem: string
  }
  client = createClient(admin)
  caFingerprint = server.caFingerprint ?? ""
  proxy = await startProxy(0)
  await mkdir(join(directory, "root"))
})

afterAll(async () => {
  delete process.env["HTTPS_PROXY"]
  await agent?.stop()
  await proxy?.close(true)
  await client?.close()
  await server?.stop()
  await rm(directory, { recursive: true, force: true })
})

const untilState = (node: string, state: string) =>
  vi.waitFor(async () => expect((await client.call(nodesGet, { node })).state, log.slice(-10).join("\n")).toBe(state), {
    timeout: 30_000,
    interval: 50,
  })

test("X8: an agent enrols and works through a proxy that wants a password, by a WebSocket in a tunnel", async () => {
  useProxy("agent:p%40ss%20word@")
  const dataDirectory = await enroll("inside")
  agent = await startAgent({ dataDirectory, root: join(directory, "root"), limits, logger })
  await untilState("inside", "online")
  const document = JSON.stringify({ kind: "Workflow", name: "w", steps: [{ run: "echo done > ran" }] })
  const reply = await client.call(executionsCreate, { document, targets: { nodes: ["inside"] } })
  if (reply.status === "held") throw new Error("held")
  await vi.waitFor(
    async () => {
      const { state } = await client.call(executionsGet, { execution: reply.value.id })
      expect(state).toBe("succeeded")
    },
    { timeout: 20_000, interval: 50 },
  )
  expect(await readFile(join(directory, "root", "ran"), "utf8")).toBe("done\n")
  // Everything went by CONNECT to the server, nothing in the clear.
  expect(asked.length).toBeGreaterThanOrEqual(3)
  for (const one of asked) expect(one).toEqual({ host: "127.0.0.1", isConnect: true, user: "agent" })
  expect(log.join("\n")).not.toContain("exchanges carry the session")
})

test("X8: the proxy's end is a lost session, and its return a new one", async () => {
  const { port } = proxy
  await proxy.close(true)
  await untilState("inside", "offline")
  proxy = await startProxy(port)
  await untilState("inside", "online")
})

test("X8: without the right password nothing gets through, and the agent says why", async () => {
  useProxy("agent:wrong@")
  await expect(enroll("outside")).rejects.toMatchObject({ code: "cli.no-server" })
  useProxy("agent:p%40ss%20word@")
  const dataDirectory = await enroll("outside")
  useProxy("")
  const lines: string[] = []
  const note = (message: string, fields?: object) => void lines.push(`${message} ${JSON.stringify(fields)}`)
  const outside = await startAgent({ dataDirectory, limits, logger: { info: note, warn: note, error: note } })
  try {
    await vi.waitFor(() => expect(lines.join("\n")).toMatch(/407/), { timeout: 15_000 })
    expect((await client.call(nodesGet, { node: "outside" })).state).toBe("offline")
  } finally {
    await outside.stop()
    useProxy("agent:p%40ss%20word@")
  }
})

test("X8: NO_PROXY leaves the proxy out", async () => {
  const before = asked.length
  process.env["NO_PROXY"] = "127.0.0.1"
  try {
    await enroll("direct")
  } finally {
    delete process.env["NO_PROXY"]
  }
  expect(asked.length).toBe(before)
})
