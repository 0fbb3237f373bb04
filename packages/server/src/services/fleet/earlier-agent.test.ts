import { readFile } from "node:fs/promises"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { Ajv2020 } from "ajv/dist/2020.js"
import { agentFrame, type AgentFrame, type TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import { enrollMachine, startFleetServer, type FleetServer } from "./fleet.fixture.ts"

/** What an agent of an earlier version said and understood, recorded: see docs/how-to/upgrade.md. */
interface Earlier {
  readonly agentFrames: readonly AgentFrame[]
  readonly serverFrameSchema: object
}

let earlier: Earlier
let database: TestDatabase
let server: FleetServer

beforeAll(async () => {
  earlier = JSON.parse(await readFile(new URL("earlier-agent.json", import.meta.url), "utf8")) as Earlier
  database = await createTestDatabase()
  server = await startFleetServer({ database: database.database })
})
afterAll(async () => {
  await server.stop()
  await database.drop()
})

const order: TaskOrder = {
  save: [],
  steps: [
    {
      name: "say",
      command: { shell: "echo said" },
      environment: {},
      timeoutMilliseconds: 60_000,
      outputKeptBytes: 1_000,
      attemptsMax: 1,
      retryDelayMilliseconds: 0,
    },
  ],
  timeoutMilliseconds: 60_000,
}

test("X6: every frame of an agent of the version before is one of today's protocol", () => {
  expect(earlier.agentFrames.map(({ type }) => type)).toEqual(
    expect.arrayContaining(["hello", "inventory", "accepted", "started", "output", "task-finished"]),
  )
  for (const frame of earlier.agentFrames) expect(agentFrame.safeParse(frame).error).toBeUndefined()
})

test("X6: an agent of the version before opens a session, takes an order, reports it, and understands every answer", async () => {
  const machine = await enrollMachine(server)
  const hello = earlier.agentFrames.find((frame) => frame.type === "hello")
  const said = earlier.agentFrames.filter((frame) => "key" in frame)
  const key = said[0]?.key ?? ""
  const session = await machine.dial(server)
  const heard: object[] = []
  session.socket.on("message", (data: Buffer) => heard.push(JSON.parse(data.toString("utf8")) as object))
  session.send({ ...hello, machineId: machine.machineId })
  await session.waitFor("welcome")
  server.executor.dispatch([{ type: "start", nodeId: machine.node, key, startBefore: Date.now() + 60_000, order }])
  await session.waitFor("start")
  for (const frame of said) session.send(frame)
  const outcome = await vi.waitFor(
    () => {
      const found = server.reports.find((report) => report.type === "task-finished")
      if (!found) throw new Error("no outcome yet")
      return found
    },
    { timeout: 30_000 },
  )
  expect(outcome).toMatchObject({ nodeId: machine.node, key, outcome: { state: "succeeded" } })
  server.executor.acknowledge([{ nodeId: machine.node, key, phase: "task" }])
  await session.waitFor("acknowledge")
  const isUnderstood = new Ajv2020({ strict: false }).compile(earlier.serverFrameSchema)
  expect(heard.filter((frame) => !isUnderstood(frame))).toEqual([])
  session.end()
})
