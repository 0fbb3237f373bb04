import { createHash, randomBytes } from "node:crypto"
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { type RunningAgent, startAgent } from "./agent.ts"
import { agentRunLimits, type AgentRunLimits } from "./agent-limits.ts"
import { ArtifactFetcher } from "./artifact-fetcher.ts"
import type { Clock } from "@signalbox/kernel/clock"
import { makeMachine, newKey, orderOf, shell, type TestMachine } from "./protocol-server.fixture.ts"
import { RequestPace } from "./request-pace.ts"
import { stepOf, taskOf } from "./step-kit.fixture.ts"

const usual = {
  backoffMillisecondsMin: 20,
  backoffMillisecondsMax: 100,
  terminateGraceMilliseconds: 300,
  resendIntervalMilliseconds: 200,
}

let machine: TestMachine
let agent: RunningAgent

async function start(limits: Partial<AgentRunLimits> = {}, clock?: Clock): Promise<void> {
  const { dataDirectory, root, server } = machine
  agent = await startAgent({ dataDirectory, root, limits: { ...usual, ...limits }, ...(clock && { clock }) })
  await server.session(server.sessions + 1)
}

beforeEach(async () => {
  machine = await makeMachine()
  await start()
})
afterEach(async () => {
  await agent.stop()
  await machine.remove()
})

const inRoot = (path: string) => join(machine.root, path)
const until = (path: string) => shell(`while [ ! -e ${path} ]; do sleep 0.02; done`)
const beside = { exclusive: false } as const

describe("orders that wait and orders that don't", () => {
  test("W13: exclusive tasks run one at a time, others beside them, up to a limit", async () => {
    const { server } = machine
    await agent.stop()
    await start({ besideMax: 2 })
    const [changing, next, ...others] = Array.from({ length: 5 }, () => newKey())
    server.start(changing ?? "", orderOf([until("go")]))
    server.start(next ?? "", orderOf([shell("touch next")]))
    for (const key of others) server.start(key, { ...orderOf([until("go-beside")]), ...beside })
    await server.until(() => others.filter((key) => server.count("started", key) === 1).length === 2)
    expect(server.count("started", changing ?? "")).toBe(1)
    expect(existsSync(inRoot("next"))).toBe(false)
    writeFileSync(inRoot("go-beside"), "")
    for (const key of others) expect((await server.finished(key)).state).toBe("succeeded")
    expect(server.count("started", next ?? "")).toBe(0)
    writeFileSync(inRoot("go"), "")
    expect((await server.finished(next ?? "")).state).toBe("succeeded")
  })

  test("setting the machine's clock makes no order late, ends no step, and lets no late order in", async () => {
    const { server } = machine
    await agent.stop()
    let ahead = 0
    await start({}, { now: () => Date.now() + ahead })
    const [running, timely, late] = [newKey(), newKey(), newKey()]
    server.start(running, orderOf([until("go"), shell("touch second")], [], 600_000))
    await server.until(() => server.count("started", running) === 1)
    ahead = 86_400_000
    writeFileSync(inRoot("go"), "")
    expect(await server.finished(running)).toMatchObject({ state: "succeeded" })
    server.start(timely, orderOf([shell("true")]))
    expect(await server.finished(timely)).toMatchObject({ state: "succeeded" })
    ahead = -86_400_000
    server.start(late, orderOf([shell("touch late")]), -1_000)
    expect(await server.finished(late)).toMatchObject({ state: "failed", class: "refused" })
    expect(existsSync(inRoot("late"))).toBe(false)
  })

  test("an order that was taken waits beyond its startBefore, but not beyond its own time", async () => {
    const { server } = machine
    const [busy, patient, short] = [newKey(), newKey(), newKey()]
    server.start(busy, orderOf([until("go")]))
    await server.until(() => server.count("started", busy) === 1)
    server.start(patient, orderOf([shell("touch patient")]), 2_000)
    server.start(short, orderOf([shell("touch short")], [], 200))
    await server.until(() => server.count("accepted", patient) === 1)
    const refused = await server.finished(short)
    expect(refused).toMatchObject({ state: "failed", class: "refused", message: `the node was busy with ${busy}` })
    const late = Date.now() + 2_100
    await server.until(() => Date.now() > late || server.all("heartbeat").length > 5)
    writeFileSync(inRoot("go"), "")
    expect((await server.finished(patient)).state).toBe("succeeded")
    expect(existsSync(inRoot("short"))).toBe(false)
  })

  test("a rollback waits for the end of its own task, also beside the lane", async () => {
    const { server } = machine
    const key = newKey()
    writeFileSync(inRoot("file"), "old")
    server.start(key, { ...orderOf([shell("echo new > file"), until("go")], ["file"]), ...beside })
    await server.until(() => server.all("progress").some(({ step }) => step === 1))
    server.send({ type: "rollback", key })
    await server.until(() => server.count("accepted", key, "rollback") === 1)
    writeFileSync(inRoot("go"), "")
    expect(await server.rolledBack(key)).toMatchObject({ state: "rolled-back", restored: 1 })
    expect(readFileSync(inRoot("file"), "utf8")).toBe("old")
  })

  test("a succeeded and acknowledged attempt is rolled back later, as often as asked with one result", async () => {
    const { server } = machine
    const key = newKey()
    server.start(key, { ...taskOf([stepOf({ file: { path: "made", content: "x" } })]), keepMilliseconds: 60_000 })
    expect((await server.finished(key)).state).toBe("succeeded")
    await agent.stop()
    await start()
    server.send({ type: "rollback", key })
    expect(await server.rolledBack(key)).toMatchObject({ state: "rolled-back", restored: 1 })
    expect(existsSync(inRoot("made"))).toBe(false)
    const answers = server.all("rollback-finished").length
    server.send({ type: "rollback", key })
    await server.until(() => server.all("rollback-finished").length > answers)
    expect(server.count("started", key, "rollback")).toBe(1)
  })
})

describe("secrets of orders", () => {
  const step = shell('printf %s "$T" > seen', {
    environment: { T: [{ secret: "token" }] },
    undo: { shell: 'printf %s "$T" > undone' },
  })
  const startBefore = () => new Date(Date.now() + 60_000).toISOString()

  test("X5: come with the order and again with the rollback, and are nowhere on disk", async () => {
    const { server } = machine
    const key = newKey()
    const secrets = { token: "hunter2-hunter2" }
    server.send({ type: "start", key, startBefore: startBefore(), order: orderOf([step]), secrets })
    expect((await server.finished(key)).state).toBe("succeeded")
    expect(readFileSync(inRoot("seen"), "utf8")).toBe("hunter2-hunter2")
    server.send({ type: "rollback", key, secrets })
    expect((await server.rolledBack(key)).state).toBe("rolled-back")
    expect(readFileSync(inRoot("undone"), "utf8")).toBe("hunter2-hunter2")
    const journal = readFileSync(join(machine.dataDirectory, "journal", `${key.replaceAll("/", ".")}.log`), "utf8")
    expect(journal).not.toContain("hunter2")
    const other = newKey()
    server.start(other, orderOf([step]))
    expect(await server.finished(other)).toMatchObject({ state: "failed", class: "refused" })
    server.send({ type: "rollback", key: other })
    expect((await server.rolledBack(other)).message).toContain("had not begun")
  })
})

describe("what the server performs", () => {
  test("is asked for again in each new session until the answer has come", async () => {
    const { server } = machine
    const key = newKey()
    server.start(key, taskOf([stepOf({ server: "http", outputs: { code: "result.status" } })]))
    await server.frame("step-request")
    server.cut()
    await server.until(() => server.all("step-request").length === 2)
    const result = { name: "call", state: "succeeded", attempts: 1, durationMilliseconds: 5 } as const
    const answer = { type: "step-result", key, phase: "task", step: 0, try: 1, result, reply: { status: 204 } } as const
    server.send({ ...answer, try: 2 })
    server.send(answer)
    expect((await server.finished(key)).steps[0]).toMatchObject({ state: "succeeded", outputs: { code: "204" } })
    server.send(answer)
  })

  test("a health check runs beside a task, without the journal, and only so many at once", async () => {
    const { server } = machine
    const key = newKey()
    server.start(key, orderOf([until("go")]))
    await server.until(() => server.count("started", key) === 1)
    server.send({ type: "probe", id: "one", command: { shell: "pwd; exit 3" }, timeoutMilliseconds: 10_000 })
    const { result } = await server.frame("probe-finished")
    expect(result).toMatchObject({ state: "failed", exitCode: 3, stdout: { head: `${machine.root}\n` } })
    for (let count = 0; count <= agentRunLimits.probesMax; count++) {
      const command = { shell: "while [ ! -e go ]; do sleep 0.02; done" }
      server.send({ type: "probe", id: `p${count}`, command, timeoutMilliseconds: 30_000 })
    }
    const refused = await server.frame("probe-finished", ({ id }) => id === `p${agentRunLimits.probesMax}`)
    expect(refused.result).toMatchObject({ state: "failed", message: expect.stringContaining("already") })
    writeFileSync(inRoot("go"), "")
    await server.until(() => server.all("probe-finished").length === agentRunLimits.probesMax + 2)
    expect((await server.finished(key)).state).toBe("succeeded")
  })
})

describe("X5: artifacts", () => {
  test("come by their digest, go on where they broke off, and are refused where they are others", async () => {
    const bytes = randomBytes(300_000)
    const artifact = { digest: createHash("sha256").update(bytes).digest("hex"), bytes: bytes.length, path: "/a/b" }
    const asked: Array<string | undefined> = []
    const http = createServer((request, response) => {
      asked.push(request.headers.range)
      if (request.headers.authorization !== "Bearer good" || request.url !== "/a/b")
        return response.writeHead(404).end()
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0)
      response.writeHead(from > 0 ? 206 : 200)
      if (asked.length > 1) return response.end(bytes.subarray(from))
      response.write(bytes.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50))
    })
    const { promise, resolve } = Promise.withResolvers<void>()
    http.listen(0, "127.0.0.1", resolve)
    await promise
    const taken = performance.now()
    const pace = new RequestPace({ gapMilliseconds: 200, burst: 2 })
    const fetcher = new ArtifactFetcher({
      ...{ dataDirectory: machine.dataDirectory, limits: agentRunLimits, pace, token: () => Promise.resolve("good") },
      server: new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}`),
    })
    const { signal } = new AbortController()
    const file = await fetcher.fetch(artifact, signal)
    expect(readFileSync(file).equals(bytes)).toBe(true)
    expect(asked[0]).toBeUndefined()
    expect(asked[1]).toMatch(/^bytes=[1-9]\d*-$/)
    // A task beside this one that wants the same has a file of its own, and a lost one is fetched again.
    const another = await fetcher.fetch(artifact, signal)
    rmSync(file)
    expect(readFileSync(another).equals(bytes)).toBe(true)
    await expect(fetcher.fetch({ ...artifact, digest: "0".repeat(64) }, signal)).rejects.toThrow("digest is another")
    await expect(fetcher.fetch({ ...artifact, path: "/none", digest: "1".repeat(64) }, signal)).rejects.toThrow(
      "answered 404",
    )
    // Each call shows a token: two at once, and then one in 200 ms.
    expect(performance.now() - taken).toBeGreaterThan((asked.length - 2) * 200 - 20)
    http.closeAllConnections()
    http.close()
  })
})
