import type { TaskOrder, TaskOutcome } from "@signalbox/contracts/fleet/agent-protocol"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest"
import type { ExecutorOrder } from "../../router/ports.ts"
import {
  enrollMachine,
  startFleetServer,
  type TestMachine,
  type FleetServer,
  type TestSession,
} from "./fleet.fixture.ts"
import { liveLimits } from "./live-reports.ts"
import { OrderBook, orderLimits } from "./order-book.ts"

let test_: TestDatabase
let server: FleetServer
let machine: TestMachine
let sequence = 0
/** Runs as the real one, which the tokens of agents are checked against, and can be set forward. */
const clock = {
  ahead: 0,
  now: () => Date.now() + clock.ahead,
  advance: (milliseconds: number) => void (clock.ahead += milliseconds),
}

beforeAll(async () => {
  test_ = await createTestDatabase()
  server = await startFleetServer({ database: test_.database, clock })
})
afterAll(async () => {
  await server.stop()
  await test_.drop()
})
beforeEach(async () => {
  machine = await enrollMachine(server)
})

const newKey = (attempt = 1) => `exe_${"0".repeat(26)}/${(sequence += 1)}/${attempt}`
const order: TaskOrder = {
  save: [],
  steps: [
    {
      name: "restart",
      command: { argv: ["true"] },
      environment: {},
      timeoutMilliseconds: 1000,
      outputKeptBytes: 1000,
      attemptsMax: 1,
      retryDelayMilliseconds: 0,
    },
  ],
  timeoutMilliseconds: 10_000,
}
const outcome: TaskOutcome = { state: "succeeded", steps: [] }
const start = (key: string, startBefore = clock.now() + 60_000): ExecutorOrder => ({
  type: "start",
  nodeId: machine.node,
  key,
  startBefore,
  order,
})
const patiently = { timeout: 10_000, interval: 5 }
const mine = () => server.reports.filter((report) => report.nodeId === machine.node)
const waitForReport = (report: object) => vi.waitFor(() => expect(mine()).toContainEqual(report), patiently)

/** Everything that the server sent before now has arrived: it answers what came before in order. */
async function settle(session: TestSession): Promise<void> {
  const key = newKey()
  server.executor.acknowledge([{ nodeId: machine.node, key, phase: "task" }])
  await vi.waitFor(() => {
    const at = session.frames.findIndex((frame) => frame.type === "acknowledge" && frame.key === key)
    expect(at).toBeGreaterThanOrEqual(0)
    session.frames.splice(at, 1)
  }, patiently)
}

describe("orders", () => {
  test("an order reaches a connected node at once, whole, and its reports come back", async () => {
    const session = await machine.connect(server)
    const key = newKey()
    const startBefore = clock.now() + 60_000
    server.executor.dispatch([start(key, startBefore)])
    expect(await session.waitFor("start")).toEqual({
      type: "start",
      key,
      startBefore: new Date(startBefore).toISOString(),
      order,
    })
    session.send({ type: "accepted", key, phase: "task" })
    session.send({ type: "started", key, phase: "task", at: "2030-01-01T00:00:00.000Z" })
    session.send({ type: "task-finished", key, outcome })
    await waitForReport({ type: "task-finished", nodeId: machine.node, key, outcome })
    expect(mine().map((report) => report.type)).toEqual(["accepted", "started", "task-finished"])
    expect(session.frames).toEqual([])
    server.executor.acknowledge([{ nodeId: machine.node, key, phase: "task" }])
    expect(await session.waitFor("acknowledge")).toEqual({ type: "acknowledge", key, phase: "task" })
    session.end()
  })

  test("W9: an order for a node that is away goes out when it connects, and again until the node has it", async () => {
    const [task, rollback] = [newKey(), newKey()]
    server.executor.dispatch([start(task), { type: "rollback", nodeId: machine.node, key: rollback }])
    for (let round = 0; round < 2; round += 1) {
      const session = await machine.connect(server)
      expect((await session.waitFor("start")).key).toBe(task)
      expect((await session.waitFor("rollback")).key).toBe(rollback)
      session.end()
    }
    const session = await machine.connect(server)
    await session.waitFor("start")
    session.send({ type: "accepted", key: task, phase: "task" })
    session.send({ type: "accepted", key: rollback, phase: "rollback" })
    await waitForReport({ type: "accepted", nodeId: machine.node, key: rollback, phase: "rollback" })
    session.end()
    const last = await machine.connect(server)
    await settle(last)
    expect(last.frames).toEqual([])
    last.end()
  })

  test("a rollback that the run has given up does not go out to a node that comes back later", async () => {
    const [given, late] = [newKey(), newKey()]
    const now = Date.now()
    server.executor.dispatch([
      { type: "rollback", nodeId: machine.node, key: late, until: now },
      { type: "rollback", nodeId: machine.node, key: given, until: now + 60_000 },
    ])
    const session = await machine.connect(server)
    expect((await session.waitFor("rollback")).key).toBe(given)
    await settle(session)
    expect(session.frames).toEqual([])
    session.end()
  })

  test("D13: an order for a node that was removed comes back as vanished; one that is only away waits", async () => {
    const away = await enrollMachine(server)
    await server.call("nodes.remove", { node: machine.node })
    const [gone, waiting] = [newKey(), newKey()]
    server.executor.dispatch([start(gone), { ...start(waiting), nodeId: away.node }])
    await waitForReport({ type: "vanished", nodeId: machine.node, key: gone })
    expect(server.reports.filter((report) => report.nodeId === away.node)).toEqual([])
    const session = await away.connect(server)
    expect((await session.waitFor("start")).key).toBe(waiting)
    session.end()
  })

  test("a start that is too late is never sent", async () => {
    const [late, due] = [newKey(), newKey()]
    server.executor.dispatch([start(late, clock.now()), start(due, clock.now() + 1_000)])
    clock.advance(1_000)
    const session = await machine.connect(server)
    await settle(session)
    expect(session.frames).toEqual([])
    session.end()
  })

  test("a kill takes back a start that the node does not have, and waits for the node itself", async () => {
    const key = newKey()
    server.executor.dispatch([start(key), { type: "kill", nodeId: machine.node, key, reason: "abort" }])
    const session = await machine.connect(server)
    expect(await session.waitFor("kill")).toEqual({ type: "kill", key, reason: "abort" })
    await settle(session)
    expect(session.frames).toEqual([])
    session.send({ type: "task-finished", key, outcome: { state: "aborted", steps: [] } })
    await waitForReport(expect.objectContaining({ type: "task-finished", key }))
    session.end()
    const again = await machine.connect(server)
    await settle(again)
    expect(again.frames).toEqual([])
    again.end()
  })

  test("what the agent's journal holds is not sent again, and the engine hears of it", async () => {
    const [accepted, running, finished, unknown] = [newKey(), newKey(), newKey(), newKey()]
    server.executor.dispatch([accepted, running, finished, unknown].map((key) => start(key)))
    const session = await machine.connect(server, {
      open: [
        { key: accepted, phase: "task", state: "accepted" },
        { key: running, phase: "task", state: "running" },
        { key: finished, phase: "task", state: "finished" },
      ],
    })
    expect((await session.waitFor("start")).key).toBe(unknown)
    await settle(session)
    expect(session.frames).toEqual([])
    expect(mine()).toEqual([
      { type: "accepted", nodeId: machine.node, key: accepted, phase: "task" },
      { type: "started", nodeId: machine.node, key: running, phase: "task" },
    ])
    session.end()
  })

  test("a repeated order goes out again, since the agent answers it from its journal", async () => {
    const session = await machine.connect(server)
    const key = newKey()
    for (let round = 0; round < 2; round += 1) {
      server.executor.dispatch([start(key)])
      expect((await session.waitFor("start")).key).toBe(key)
    }
    session.end()
  })

  test("a node that reports another node's task speaks for itself only", async () => {
    const victim = await enrollMachine(server)
    const key = newKey()
    server.executor.dispatch([{ ...start(key), nodeId: victim.node }])
    const liar = await machine.connect(server)
    liar.send({ type: "accepted", key, phase: "task" })
    liar.send({ type: "task-finished", key, outcome })
    await waitForReport({ type: "task-finished", nodeId: machine.node, key, outcome })
    expect(server.reports.filter((report) => report.nodeId === victim.node)).toEqual([])
    const session = await victim.connect(server)
    expect((await session.waitFor("start")).key).toBe(key)
    liar.end()
    session.end()
  })
})

describe("progress and output", () => {
  test("they come gathered, bounded, and before the end of their task", async () => {
    const session = await machine.connect(server)
    const key = newKey()
    const chunk = "x".repeat(16 * 1024)
    for (let index = 0; index < 50; index += 1) {
      session.send({ type: "progress", key, step: 0, stepsCount: 1, name: "install", percent: index })
      session.send({ type: "output", key, step: 0, stream: "stdout", offset: index * chunk.length, text: chunk })
    }
    session.send({ type: "output", key, step: 0, stream: "stderr", offset: 0, text: "last words" })
    session.send({ type: "task-finished", key, outcome })
    await waitForReport({ type: "task-finished", nodeId: machine.node, key, outcome })
    const reports = mine()
    expect(reports.at(-1)?.type).toBe("task-finished")
    expect(reports.filter((report) => report.type === "progress").length).toBeLessThan(50)
    const outputs = reports.filter((report) => report.type === "output")
    for (const output of outputs) expect(output.text.length).toBeLessThanOrEqual(liveLimits.textLengthMax + 200)
    expect(outputs.some((output) => output.stream === "stderr" && output.text === "last words")).toBe(true)
    expect(reports.filter((report) => report.type === "progress").at(-1)).toMatchObject({ percent: 49 })
    session.end()
  })

  test("a task that goes on shows its output without waiting for its end", async () => {
    const session = await machine.connect(server)
    const key = newKey()
    session.send({ type: "output", key, step: 2, stream: "stdout", offset: 0, text: "one " })
    session.send({ type: "output", key, step: 2, stream: "stdout", offset: 4, text: "two" })
    await waitForReport({ type: "output", nodeId: machine.node, key, step: 2, stream: "stdout", text: "one two" })
    session.end()
  })
})

describe("the order book", () => {
  test("keeps so many orders of a node and no more; what expires is forgotten", () => {
    const book = new OrderBook()
    const kill = (key: string): ExecutorOrder => ({ type: "kill", nodeId: "nod_x", key, reason: "abort" })
    for (let index = 0; index < orderLimits.perNodeMax; index += 1) expect(book.add(kill(`k/${index}`), 0)).toBe(true)
    expect(book.add(kill("k/one-more"), 0)).toBe(false)
    expect(book.add(kill("k/1"), 0)).toBe(true)
    book.expire(orderLimits.killMilliseconds)
    expect(book.size).toBe(0)
  })

  test("W9: forgets the orders of an execution that another server runs, so that no node gets them once it is back", () => {
    const book = new OrderBook()
    const kill = (key: string): ExecutorOrder => ({ type: "kill", nodeId: "nod_x", key, reason: "abort" })
    for (const key of ["exe_1/0/1", "exe_1/7/2", "exe_10/0/1"]) book.add(kill(key), 0)
    book.forget("exe_1")
    expect(book.unconfirmed("nod_x", 0).map(({ key }) => key)).toEqual(["exe_10/0/1"])
  })
})
