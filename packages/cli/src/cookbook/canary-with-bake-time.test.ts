import { existsSync } from "node:fs"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { tasksList } from "@signalbox/contracts/workflows/operations"
import { afterAll, beforeAll, expect, test } from "vitest"
import { readNodeJournal } from "../demo/node-journal.ts"
import { type TestHost, TestInstallation } from "../resilience/processes.fixture.ts"
import { readExample, replaceIn, runByCommand, untilEnded } from "./cookbook.fixture.ts"

const example = "canary-with-bake-time"
const nodesCount = 20
let installation: TestInstallation
let host: TestHost
let metrics: Metrics

/** The shop's metrics: it is well unless one of its servers runs with a version that is known here to be bad. */
class Metrics {
  readonly #server: Server
  #asked = 0
  badVersion: string | undefined

  constructor(loadedVersions: () => Promise<string[]>) {
    this.#server = createServer((_, response) => {
      this.#asked += 1
      void loadedVersions().then((versions) =>
        response.writeHead(this.badVersion !== undefined && versions.includes(this.badVersion) ? 503 : 200).end(),
      )
    })
  }

  get asked(): number {
    return this.#asked
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve))
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async end(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }
}

/** A service that takes its configuration into use at a reload: `run/loaded` is what it runs with. */
const serviceScript = `#!/bin/sh
cd "$(dirname "$0")/../.." || exit 1
case "$1" in
  status) [ -e run/loaded ] ;;
  start|restart|reload) cp etc/shop.conf run/loaded; echo "$1" >> run/calls ;;
  stop) rm -f run/loaded ;;
esac
`
const rootOf = (name: string): string => join(host.nodesDirectory, name, "root")
const configurationBefore = (name: string): string => `version=v1\nnode=${name}\n# by hand, no line end`

beforeAll(async () => {
  installation = await TestInstallation.create()
  metrics = new Metrics(loadedVersions)
  const address = await metrics.listen()
  await installation.startServer({ words: ["--egress-allow", address] })
  host = await installation.addHostedNodes("shop-", nodesCount)
  await installation.succeed(["login", "--local"])
  for (const name of host.names) {
    for (const directory of ["etc/init.d", "run"]) await mkdir(join(rootOf(name), directory), { recursive: true })
    await writeFile(join(rootOf(name), "etc/init.d/shop"), serviceScript, { mode: 0o755 })
    for (const path of ["etc/shop.conf", "run/loaded"])
      await writeFile(join(rootOf(name), path), configurationBefore(name))
  }
  const text = replaceIn(readExample(example, "workflow.yaml"), {
    "metrics.example:9090": address,
    "every: 10s": "every: 1s",
    "bake: 15m": "bake: 4s",
  })
  const file = join(installation.directory, "workflow.yaml")
  await writeFile(file, text)
  await installation.succeed(["apply", "-f", file])
}, 240_000)
afterAll(async () => {
  await metrics.end()
  await installation.remove()
}, 120_000)

async function loadedVersions(): Promise<string[]> {
  const texts = await Promise.all(host.names.map((name) => readFile(join(rootOf(name), "run/loaded"), "utf8")))
  return texts.map((text) => /^version=(\S+)$/m.exec(text)?.[1] ?? "")
}

async function touchedBy(id: string): Promise<string[]> {
  const touched: string[] = []
  for (const name of host.names) {
    const entries = await readNodeJournal(join(host.nodesDirectory, name, "agent"))
    if (entries.some(({ executionId }) => executionId === id)) touched.push(name)
  }
  return touched
}

test(
  "W5, W6: health that turns bad while the canary bakes stops the run, and the canary is put back",
  {
    timeout: 240_000,
  },
  async () => {
    metrics.badVersion = "v2"
    const id = await runByCommand(installation, [example, "-t", "role=web", "-p", "version=v2"])
    const ended = await untilEnded(installation, id)
    expect(ended, await installation.succeed(["why", id])).toMatchObject({
      state: "failed",
      counts: { succeeded: 1, neverStarted: nodesCount - 1 },
    })
    expect(ended.reason).toMatch(/health/i)
    const [rollback = ""] = await installation.eventually("the rollback to be named", async () => {
      const { rolledBackBy } = await untilEnded(installation, id)
      return rolledBackBy !== undefined && rolledBackBy.length > 0 && rolledBackBy
    })
    expect(await untilEnded(installation, rollback)).toMatchObject({ state: "succeeded", counts: { succeeded: 1 } })
    const touched = await touchedBy(id)
    expect(touched).toHaveLength(1)
    for (const name of host.names) {
      const texts = await Promise.all(
        ["etc/shop.conf", "run/loaded"].map((path) => readFile(join(rootOf(name), path), "utf8")),
      )
      expect(texts, name).toEqual([configurationBefore(name), configurationBefore(name)])
      expect(existsSync(join(rootOf(name), "run/calls")), name).toBe(touched.includes(name))
    }
  },
)

test(
  "W4: with good health it goes on to a tenth and to the rest, each wave after the one before has baked",
  {
    timeout: 240_000,
  },
  async () => {
    metrics.badVersion = undefined
    const askedBefore = metrics.asked
    const id = await runByCommand(installation, [example, "-t", "role=web", "-p", "version=v3"])
    const ended = await untilEnded(installation, id)
    expect(ended, await installation.succeed(["why", id])).toMatchObject({
      state: "succeeded",
      counts: { succeeded: nodesCount },
      strategy: { waves: [1, 2, nodesCount - 3] },
    })
    expect(metrics.asked).toBeGreaterThan(askedBefore)
    expect(await loadedVersions()).toEqual(host.names.map(() => "v3"))
    const { items } = await installation.client.call(tasksList, { execution: id, limit: nodesCount })
    const spans = await Promise.all(
      items.map(async ({ nodeName }) => {
        const entries = await readNodeJournal(join(host.nodesDirectory, nodeName, "agent"))
        return entries.find(({ executionId }) => executionId === id)
      }),
    )
    const byBegin = spans.filter((span) => span !== undefined).toSorted((a, b) => a.from - b.from)
    for (const [begin, end] of [
      [0, 1],
      [1, 3],
      [3, nodesCount],
    ] as const) {
      const before = Math.max(0, ...byBegin.slice(0, begin).map(({ to }) => to))
      // The bake of four seconds, on one machine's clock.
      if (begin > 0) expect((byBegin[begin]?.from ?? 0) - before).toBeGreaterThanOrEqual(4000)
      expect(byBegin.slice(begin, end)).toHaveLength(end - begin)
    }
  },
)
