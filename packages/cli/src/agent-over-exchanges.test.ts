import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { agentRunLimits } from "@signalbox/agent/agent-limits"
import { startAgent, type RunningAgent } from "@signalbox/agent/agent"
import { enrollAgent } from "@signalbox/agent/enroll"
import { testCertificate, testCertificateAuthority, testCertificateKey } from "@signalbox/agent/certificates.fixture"
import { agentLimits } from "@signalbox/contracts/fleet/agent-protocol"
import { enrollmentKeysCreate, nodesGet } from "@signalbox/contracts/fleet/operations"
import {
  executionsAbort,
  executionsCreate,
  executionsGet,
  tasksGet,
  tasksOutput,
} from "@signalbox/contracts/workflows/operations"
import { createClient, type Client } from "@signalbox/sdk/client"
import { type RunningServer, startServer } from "@signalbox/server/serve"
import { agentTokenLimits } from "@signalbox/server/services/fleet/model"
import { readSettings } from "@signalbox/server/settings"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import { CuttingProxy, startForwardProxy } from "./cutting-proxy.fixture.ts"

/** A real agent and a real server, with a proxy in between that lets no WebSocket through. */
let directory: string
let server: RunningServer
let proxy: CuttingProxy
let client: Client
let agent: RunningAgent
const lines: string[] = []
const name = "behind-a-proxy"
const root = () => join(directory, "root")

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox exchange "))
  const flags = { data: directory, port: 0, "log-level": "silent", insecure: true }
  server = await startServer(readSettings({ flags, variables: {} }))
  const admin = JSON.parse(await readFile(join(directory, "admin.json"), "utf8")) as { url: string; key: string }
  client = createClient(admin)
  proxy = new CuttingProxy(server.url)
  await proxy.start()
  const reply = await client.call(enrollmentKeysCreate, {})
  if (reply.status === "held") throw new Error("held")
  await mkdir(root())
  const dataDirectory = join(directory, "agent")
  await enrollAgent({ serverUrl: proxy.url, key: reply.value.key, name, dataDirectory })
  const write = (message: string, fields?: object) => void lines.push(`${message} ${JSON.stringify(fields)}`)
  agent = await startAgent({
    dataDirectory,
    root: root(),
    limits: { backoffMillisecondsMin: 20, backoffMillisecondsMax: 50, socketRetryMilliseconds: 60_000 },
    logger: { info: write, warn: write, error: write },
  })
}, 60_000)

afterAll(async () => {
  await agent?.stop()
  await proxy?.stop()
  await client?.close()
  await server?.stop()
  await rm(directory, { recursive: true, force: true })
})

const waitForState = (state: string) =>
  vi.waitFor(async () => expect((await client.call(nodesGet, { node: name })).state).toBe(state), { timeout: 15_000 })

async function run(steps: object[], more: object = {}): Promise<string> {
  const document = JSON.stringify({ kind: "Workflow", name: "w", steps, ...more })
  const reply = await client.call(executionsCreate, { document, targets: { nodes: [name] } })
  if (reply.status === "held") throw new Error("held")
  return reply.value.id
}

const waitForEnd = (execution: string, state: string) =>
  vi.waitFor(
    async () => {
      const found = await client.call(executionsGet, { execution })
      expect(found.state, lines.slice(-20).join("\n")).toBe(state)
    },
    { timeout: 20_000, interval: 50 },
  )

const ran = async () => (await readFile(join(root(), "ran"), "utf8")).trim().split("\n")

test("X8: an agent whose WebSockets are cut works over exchanges, and shows as online", async () => {
  await waitForState("online")
  expect(proxy.cut).toBe(agentRunLimits.socketCutsMax)
  const execution = await run([{ name: "say", run: "echo one >> ran; echo hello; echo oh >&2" }])
  await waitForEnd(execution, "succeeded")
  const { outcome } = await client.call(tasksGet, { execution, task: "0" })
  expect(outcome?.steps).toMatchObject([{ stdout: { head: "hello\n" }, stderr: { head: "oh\n" } }])
})

test("X8: lost replies lose no frame, and nothing is done twice", async () => {
  const seen = new Set<string>()
  // Each first reply to a report is lost, and the first that would bring an order.
  proxy.loses = (frames) => {
    const what = frames.map(({ type }) => type).join()
    if (seen.has(what)) return false
    seen.add(what)
    return true
  }
  const execution = await run([{ name: "once", run: "echo twice >> ran" }])
  await waitForEnd(execution, "succeeded")
  proxy.loses = () => false
  expect(proxy.lost).toBeGreaterThan(1)
  expect(await ran()).toEqual(["one", "twice"])
})

test("X8: output larger than an exchange arrives cut, and says so", async () => {
  const big = `head -c 1000000 /dev/zero | tr '\\0' x`
  const steps = [1, 2].map((step) => ({ name: `big-${step}`, run: big, outputLimit: "1MiB" }))
  const execution = await run(steps)
  await waitForEnd(execution, "succeeded")
  const { outcome } = await client.call(tasksGet, { execution, task: "0" })
  for (const step of outcome?.steps ?? []) {
    expect(step.stdout).toMatchObject({ bytes: 1_000_000, truncated: true })
  }
  const { items } = await client.call(tasksOutput, { execution, task: "0" })
  expect(items.reduce((length, { text }) => length + text.length, 0)).toBeGreaterThan(200_000)
})

test("X8: a run is aborted over exchanges, and a failed one rolled back", async () => {
  const long = await run([{ name: "long", run: "echo long >> ran; sleep 60" }])
  await vi.waitFor(async () => expect(await ran()).toContain("long"), { timeout: 10_000 })
  await client.call(executionsAbort, { execution: long, mode: "kill" })
  await waitForEnd(long, "aborted")
  await writeFile(join(root(), "conf"), "before")
  const failing = await run([{ name: "break", run: "echo after > conf; exit 1" }], {
    save: ["conf"],
    rollback: "on-failure",
  })
  await vi.waitFor(
    async () =>
      expect((await client.call(tasksGet, { execution: failing, task: "0" })).rollbackOutcome?.state).toBe(
        "rolled-back",
      ),
    { timeout: 15_000 },
  )
  expect(await readFile(join(root(), "conf"), "utf8")).toBe("before")
})

test("X8: a proxy that restarts costs no session, and what ran meanwhile is reported", async () => {
  const opened = () => lines.filter((line) => line.startsWith("session open")).length
  const before = opened()
  const execution = await run([{ name: "slow", run: "echo slow >> ran; while [ ! -e go ]; do sleep 0.05; done" }])
  await vi.waitFor(async () => expect(await ran()).toContain("slow"), { timeout: 10_000 })
  await proxy.stop()
  await writeFile(join(root(), "go"), "")
  await proxy.start()
  await waitForEnd(execution, "succeeded")
  expect(opened()).toBe(before)
  await waitForState("online")
})

test("X8: WebSockets are used again where they get through, and the node stays online", async () => {
  await agent.stop()
  await waitForState("offline")
  const dataDirectory = join(directory, "agent")
  const limits = { backoffMillisecondsMin: 20, backoffMillisecondsMax: 50, socketRetryMilliseconds: 200 }
  const log: string[] = []
  const write = (message: string) => void log.push(message)
  agent = await startAgent({ dataDirectory, root: root(), limits, logger: { info: write, warn: write, error: write } })
  await vi.waitFor(() => expect(log).toContain("session open"), { timeout: 10_000 })
  proxy.upgrades = true
  await vi.waitFor(() => expect(log.filter((line) => line === "session open")).toHaveLength(2), { timeout: 10_000 })
  expect(log).toContain("WebSockets get through again")
  await waitForEnd(await run([{ name: "again", run: "true" }]), "succeeded")
  await waitForState("online")
})

test("X8: exchanges go by TLS with the pinned CA, and through the proxy that the environment names", async () => {
  const outer = new CuttingProxy(server.url, { cert: testCertificate, key: testCertificateKey })
  await outer.start()
  const forward = await startForwardProxy()
  process.env["HTTPS_PROXY"] = forward.url
  const base = join(directory, "by tls")
  await mkdir(base)
  const caFile = join(base, "pinned.pem")
  await writeFile(caFile, testCertificateAuthority)
  const reply = await client.call(enrollmentKeysCreate, {})
  if (reply.status === "held") throw new Error("held")
  const dataDirectory = join(base, "agent")
  await enrollAgent({ serverUrl: outer.url, key: reply.value.key, caFile, name: "by-tls", dataDirectory })
  const limits = { backoffMillisecondsMin: 20, backoffMillisecondsMax: 50 }
  const second = await startAgent({ dataDirectory, root: base, limits })
  try {
    await vi.waitFor(async () => expect((await client.call(nodesGet, { node: "by-tls" })).state).toBe("online"), {
      timeout: 15_000,
    })
    expect(outer.exchanges).toBeGreaterThan(0)
    expect(outer.cut).toBe(agentRunLimits.socketCutsMax)
    expect(new Set(forward.connects)).toEqual(new Set([`127.0.0.1:${outer.port}`]))
  } finally {
    delete process.env["HTTPS_PROXY"]
    await second.stop()
    forward.stop()
    await outer.stop()
  }
})

test("an agent's calls stay within the tokens that the server remembers of a node", () => {
  const { exchangeBurst, exchangeGapMilliseconds, exchangeTokenSeconds, exchangeWaitMilliseconds } = agentRunLimits
  const rememberedSeconds = exchangeTokenSeconds + agentTokenLimits.clockLeewaySeconds + 1
  const calls = exchangeBurst + (rememberedSeconds * 1000) / exchangeGapMilliseconds
  expect(calls).toBeLessThan(agentTokenLimits.liveTokensPerNodeMax)
  const wait = exchangeWaitMilliseconds + agentRunLimits.exchangeMarginMilliseconds
  expect(wait).toBeLessThan(agentLimits.sessionSilenceSeconds * 1000)
  expect(exchangeWaitMilliseconds).toBeLessThanOrEqual(agentLimits.exchangeWaitMillisecondsMax)
})
