import { mkdir, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { overlapMax } from "../demo/availability.ts"
import { readNodeJournal } from "../demo/node-journal.ts"
import { TestInstallation } from "../resilience/processes.fixture.ts"
import { ask, Balancer, RequestStream, webProgram } from "./balanced-web.fixture.ts"
import {
  findSystemProgram,
  freePorts,
  installService,
  readExample,
  replaceIn,
  runByCommand,
  startService,
  untilEnded,
} from "./cookbook.fixture.ts"

const example = "restart-behind-load-balancer"
const pools = { "web-1": "shop", "web-2": "shop", "web-3": "search", "web-4": "search" } as const
const names = Object.keys(pools) as Array<keyof typeof pools>
const haproxy = findSystemProgram("haproxy", "haproxy")
const curl = findSystemProgram("curl", "curl")

let installation: TestInstallation
let balancer: Balancer | undefined
let [front, statistics]: string[] = []
let ports: number[] = []

describe.skipIf(!haproxy || !curl)("the cookbook's restart behind a load balancer", () => {
  beforeAll(async () => {
    installation = await TestInstallation.create()
    ports = await freePorts(names.length + 2)
    front = `http://127.0.0.1:${ports[4]}`
    statistics = `http://127.0.0.1:${ports[5]}/stats`
    await installation.startServer()
    await installation.addNodes(names)
    await installation.succeed(["login", "--local"])
    for (const [index, name] of names.entries()) {
      const { root } = installation.node(name)
      await mkdir(join(root, "srv"), { recursive: true })
      await writeFile(join(root, "srv/ready"), "ready\n")
      await installService(root, "web", webProgram(ports[index] ?? 0))
      startService(root, "web")
      const tags = [`pool=${pools[name]}`, `address=127.0.0.1:${ports[index]}`]
      await installation.succeed(["nodes", "update", name, ...tags.flatMap((tag) => ["--tag", tag])])
    }
    balancer = await startBalancer()
    const file = join(installation.directory, "workflow.yaml")
    await writeFile(file, readExample(example, "workflow.yaml"))
    await installation.succeed(["apply", "-f", file])
  }, 240_000)
  afterAll(async () => {
    await balancer?.end()
    await installation.remove()
  }, 120_000)

  test(
    "W10: every server is restarted, never two of one pool, and not one request fails",
    { timeout: 240_000 },
    async () => {
      const before = await processIds()
      const urls = ["/shop", "/shop", "/shop/slow", "/search", "/search", "/search/slow"].map(
        (path) => `${front}${path}`,
      )
      const requests = new RequestStream(urls)
      const run = ["-t", "role=web", "--concurrency", "2", "-p", `balancer=${statistics}`]
      const id = await runByCommand(installation, [example, ...run])
      const ended = await untilEnded(installation, id)
      await requests.end()
      expect(ended, await installation.succeed(["executions", "get", id])).toMatchObject({
        state: "succeeded",
        counts: { succeeded: names.length },
      })
      expect(requests.failures).toEqual([])
      expect(requests.count).toBeGreaterThan(100)
      const after = await processIds()
      for (const name of names) expect(after.get(name), name).not.toBe(before.get(name))
      for (const pool of new Set(Object.values(pools))) {
        const members = names.filter((name) => pools[name] === pool)
        const spans = await Promise.all(members.map((name) => spansOf(name, id)))
        expect(overlapMax(spans.flat()), pool).toBe(1)
      }
    },
  )

  test(
    "W5, W8: one that does not come back stays out of its pool and ends the run; the retry takes it in again",
    { timeout: 240_000 },
    async () => {
      const file = join(installation.directory, "impatient.yaml")
      await writeFile(file, replaceIn(readExample(example, "workflow.yaml"), { "attempts: 60": "attempts: 3" }))
      const sick = names.map((name) => join(installation.node(name).root, "etc/sick"))
      for (const path of sick) await writeFile(path, "")
      const requests = new RequestStream([`${front}/shop`, `${front}/search`])
      const run = ["-t", "role=web", "--concurrency", "1", "-p", `balancer=${statistics}`]
      const id = await runByCommand(installation, ["-f", file, ...run])
      expect(await untilEnded(installation, id)).toMatchObject({
        state: "failed",
        counts: { failed: 1, neverStarted: names.length - 1 },
        results: { failed: 1, untouched: names.length - 1 },
      })
      const story = await installation.succeed(["why", id])
      const [, broken = ""] = /(web-\d) failed: step "wait for its health" exited with 22/.exec(story) ?? []
      expect(await serversUp(), story).toEqual(names.filter((name) => name !== broken))
      for (const path of sick) await rm(path)
      const retried = JSON.parse(await installation.succeed(["executions", "retry", id, "--json"])) as { id: string }
      expect(await untilEnded(installation, retried.id)).toMatchObject({ state: "succeeded", counts: { succeeded: 1 } })
      expect(await serversUp()).toEqual(names)
      await requests.end()
      expect(requests.failures).toEqual([])
    },
  )
})

async function startBalancer(): Promise<Balancer> {
  const text = replaceIn(readExample(example, "haproxy.cfg"), {
    "10.0.0.5:8404": `127.0.0.1:${ports[5]}`,
    "10.0.0.5:80": `127.0.0.1:${ports[4]}`,
    // Not one request may need a second try.
    "timeout connect 2s": "timeout connect 20s\n    retries 0",
    ...Object.fromEntries(names.map((_, index) => [`10.0.0.1${index + 1}:8080`, `127.0.0.1:${ports[index]}`])),
  })
  const file = join(installation.directory, "haproxy.cfg")
  await writeFile(file, text)
  const started = new Balancer(haproxy ?? "", file)
  await installation.eventually("haproxy to send requests", async () => {
    if (!started.isRunning) throw new Error(`haproxy ended: ${started.log}`)
    return (await serversUp()).length === names.length
  })
  return started
}

/** Those that HAProxy sends requests to. */
async function serversUp(): Promise<string[]> {
  const { body } = await ask(`${statistics};csv`)
  const lines = body.split("\n").map((line) => line.split(","))
  return names.filter((name) => lines.some((line) => line[1] === name && line[17] === "UP"))
}

/** Each server's process, by what it answers itself. */
async function processIds(): Promise<Map<string, string>> {
  const answers = await Promise.all(ports.slice(0, names.length).map((port) => ask(`http://127.0.0.1:${port}/`)))
  return new Map(names.map((name, index) => [name, answers[index]?.body ?? ""]))
}

async function spansOf(name: string, id: string) {
  const entries = await readNodeJournal(installation.node(name).agentDirectory)
  return entries.filter(({ executionId }) => executionId === id).map(({ from, to }) => ({ from, to }))
}
