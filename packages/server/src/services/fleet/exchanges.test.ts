import { agentLimits } from "@signalbox/contracts/fleet/agent-protocol"
import { FakeClock } from "@signalbox/testkit/fake-clock"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { ExchangeSession, framesOf, helloOf } from "./exchange-session.fixture.ts"
import { codeOf, enrollMachine, eventTypes, startFleetServer, TestMachine, type FleetServer } from "./fleet.fixture.ts"
import { sessionLimits } from "./session.ts"

let test_: TestDatabase
let server: FleetServer

beforeAll(async () => {
  test_ = await createTestDatabase()
  server = await startFleetServer({ database: test_.database })
})
afterAll(async () => {
  await server.stop()
  await test_.drop()
})

const waitForState = (machine: TestMachine, state: string, of = server) =>
  vi.waitFor(async () => expect(await of.call("nodes.get", { node: machine.node })).toMatchObject({ state }), {
    timeout: 10_000,
    interval: 20,
  })

const keyOf = (digit: number, ordinal = 1) => `exe_${String(digit).repeat(26)}/${ordinal}/1`
const acceptedFrame = (key: string) => ({ type: "accepted", key, phase: "task" })
const reportsOf = (machine: TestMachine) => server.reports.filter(({ nodeId }) => nodeId === machine.node)
const rollback = (machine: TestMachine, key: string) =>
  server.executor.dispatch([{ type: "rollback", nodeId: machine.node, key }])

describe("X8: a session over exchanges", () => {
  test("X8: is a session like any other: presence, orders at once, reports, and an end that is told", async () => {
    const machine = await enrollMachine(server)
    const session = await ExchangeSession.open(server, machine)
    await waitForState(machine, "online")
    const { reply } = await session.wait()
    rollback(machine, keyOf(1))
    expect(framesOf(await reply)).toEqual([{ type: "rollback", key: keyOf(1) }])
    session.received += 1
    expect(await session.exchange([{ type: "accepted", key: keyOf(1), phase: "rollback" }])).toEqual([])
    expect(reportsOf(machine)).toEqual([{ type: "accepted", nodeId: machine.node, key: keyOf(1), phase: "rollback" }])
    expect(await session.call({ end: true })).toMatchObject({ ended: "the agent ended it" })
    await waitForState(machine, "offline")
    expect(await eventTypes(test_.database, machine.node)).toEqual([
      "node.enrolled",
      "node.connected",
      "node.disconnected",
    ])
  })

  test("X8: a lost reply is given again, and a call that comes again is not taken twice", async () => {
    const machine = await enrollMachine(server)
    const session = await ExchangeSession.open(server, machine)
    rollback(machine, keyOf(2))
    const frames = [JSON.stringify(acceptedFrame(keyOf(3))), JSON.stringify(acceptedFrame(keyOf(4)))]
    const lost = await session.call({ frames })
    const again = await session.call({ frames: [...frames, JSON.stringify(acceptedFrame(keyOf(5)))] })
    expect(again).toEqual({ ...lost, received: 4 })
    expect(lost.frames).toEqual([JSON.stringify({ type: "rollback", key: keyOf(2) })])
    expect(reportsOf(machine).map(({ key }) => key)).toEqual([keyOf(3), keyOf(4), keyOf(5)])
    session.received += 1
    expect(await session.call()).toMatchObject({ frames: [], sequence: 3 })
    // An old call that a proxy kept back says less than is known by now: it takes nothing and loses nothing.
    expect(await session.call({ frames, received: 0 })).toMatchObject({ frames: [], received: 4 })
    expect(reportsOf(machine)).toHaveLength(3)
  })

  test("one call waits at a time: a newer one lets it go; frames don't wait behind it", async () => {
    const machine = await enrollMachine(server)
    const session = await ExchangeSession.open(server, machine)
    const { reply: older } = await session.wait()
    expect(await session.exchange([acceptedFrame(keyOf(6))])).toEqual([])
    const { reply: newer } = await session.wait()
    expect(await older).toMatchObject({ frames: [], received: 2 })
    rollback(machine, keyOf(7))
    expect(framesOf(await newer)).toEqual([{ type: "rollback", key: keyOf(7) }])
  })

  test("a session that makes no call for too long is given up; one that calls is kept", async () => {
    const clock = new FakeClock(Date.now())
    const own = await startFleetServer({ database: test_.database, clock })
    const [silent, alive] = [await enrollMachine(own), await enrollMachine(own)]
    const quiet = await ExchangeSession.open(own, silent)
    const calling = await ExchangeSession.open(own, alive)
    for (const machine of [silent, alive]) await waitForState(machine, "online", own)
    for (let step = 0; step < 10; step += 1) {
      clock.advance(4_000)
      await calling.exchange([{ type: "progress", key: keyOf(1), step, stepsCount: 10, name: "s" }])
      // Reports of progress are gathered for longer than the sessions' tick takes.
      await vi.waitFor(() => expect(own.reports).toContainEqual(expect.objectContaining({ step })), { interval: 5 })
    }
    await waitForState(silent, "offline", own)
    await waitForState(alive, "online", own)
    expect(await quiet.call()).toMatchObject({ ended: "silent for too long" })
    await own.stop()
  })

  test("a server that stops answers who waits, and says so", async () => {
    const own = await startFleetServer({ database: test_.database })
    const session = await ExchangeSession.open(own, await enrollMachine(own))
    const { reply } = await session.wait()
    const [told] = await Promise.allSettled([reply, own.stop()])
    expect(told).toMatchObject({ status: "fulfilled", value: { ended: "the server is stopping" } })
  })

  test("a newer session of either kind takes the older one's place, and the node never shows as offline", async () => {
    const machine = await enrollMachine(server)
    const first = await ExchangeSession.open(server, machine)
    await waitForState(machine, "online")
    const socket = await machine.connect(server)
    expect(await first.call()).toMatchObject({ ended: "replaced by a newer session" })
    const second = await ExchangeSession.open(server, machine)
    expect((await socket.waitForEnd()).reason).toBe("replaced by a newer session")
    await second.exchange()
    await waitForState(machine, "online")
    expect(await eventTypes(test_.database, machine.node)).toEqual(["node.enrolled", "node.connected"])
  })

  test("a flood is taken more slowly, and none of it is lost", async () => {
    const machine = await enrollMachine(server)
    const session = await ExchangeSession.open(server, machine)
    const count = sessionLimits.framesPerSecondMax * (sessionLimits.burstSeconds + 1)
    const begin = Date.now()
    for (let sent = 0; sent < count; sent += agentLimits.exchangeFramesMax) {
      const length = Math.min(agentLimits.exchangeFramesMax, count - sent)
      await session.exchange(Array.from({ length }, (_, index) => acceptedFrame(keyOf(8, sent + index))))
    }
    expect(session.sequence).toBe(count + 2)
    expect(reportsOf(machine).map(({ key }) => key)).toEqual(
      Array.from({ length: count }, (_, index) => keyOf(8, index)),
    )
    expect(Date.now() - begin).toBeGreaterThan(500)
  })

  test("a node that was removed is told in the call that waits", async () => {
    const machine = await enrollMachine(server)
    const session = await ExchangeSession.open(server, machine)
    const { reply } = await session.wait()
    await server.call("nodes.remove", { node: machine.node })
    expect(framesOf(await reply)).toMatchObject([{ type: "refused", code: "fleet.agent-identity-refused" }])
    expect(await codeOf(session.call())).toBe("fleet.agent-identity-refused")
  })
})

describe("X7: whoever exchanges", () => {
  test("X7: shows a new token with each call: one that was used is refused", async () => {
    const machine = await enrollMachine(server)
    const session = await ExchangeSession.open(server, machine)
    const token = await machine.token()
    await session.call({}, token)
    expect(await codeOf(session.call({}, token))).toBe("fleet.agent-identity-refused")
  })

  test("X7: reaches no session but its own node's", async () => {
    const [one, other] = [await enrollMachine(server), await enrollMachine(server)]
    const session = await ExchangeSession.open(server, one)
    rollback(one, keyOf(9))
    expect(await codeOf(session.call({}, await other.token()))).toBe("fleet.session-not-found")
    expect(await codeOf(session.call({}, "administrator-of-main"))).toBe("identity.permission-denied")
    expect(await codeOf(session.call({ session: "ses_none" }))).toBe("fleet.session-not-found")
    expect((await session.call()).frames).toHaveLength(1)
  })

  test("X7: one key on two machines holds the node, tells both, and keeps both out", async () => {
    const machine = await enrollMachine(server)
    const clone = new TestMachine(machine)
    const session = await ExchangeSession.open(server, machine)
    const { reply } = await session.wait()
    await expect(ExchangeSession.open(server, clone)).rejects.toThrow("fleet.node-held")
    expect(framesOf(await reply)).toMatchObject([{ type: "refused", code: "fleet.node-held" }])
    await waitForState(machine, "held")
    for (const each of [machine, clone])
      expect(await codeOf(ExchangeSession.open(server, each))).toBe("fleet.node-held")
  })

  test.each([
    ["no JSON", ["{"]],
    ["an unknown member", [JSON.stringify({ type: "heartbeat", extra: 1 })]],
    ["a second hello", [JSON.stringify(helloOf({ machineId: "x" } as TestMachine))]],
  ])("garbage ends the session with a reason: %s", async (_, frames) => {
    const machine = await enrollMachine(server)
    const session = await ExchangeSession.open(server, machine)
    const reply = await session.call({ frames, waitMilliseconds: 1_000 })
    expect(reply.ended).toBe("fleet.protocol-violation")
    expect(JSON.parse(reply.frames.at(-1) ?? "")).toMatchObject({ type: "refused", code: "fleet.protocol-violation" })
    await waitForState(machine, "offline")
  })

  test("numbers that don't fit are refused, and so are calls over the limits", async () => {
    const machine = await enrollMachine(server)
    const session = await ExchangeSession.open(server, machine)
    const frames = [JSON.stringify({ type: "heartbeat" })]
    expect(await codeOf(session.call({ frames, sequence: 3 }))).toBe("fleet.protocol-violation")
    expect(await codeOf(session.call({ received: 2 }))).toBe("fleet.protocol-violation")
    const many = Array.from({ length: agentLimits.exchangeFramesMax + 1 }, () => frames[0] ?? "")
    expect(await codeOf(session.call({ frames: many }))).toBe("request.invalid-input")
    const wait = { waitMilliseconds: agentLimits.exchangeWaitMillisecondsMax + 1 }
    expect(await codeOf(session.call(wait))).toBe("request.invalid-input")
    expect(await session.exchange([{ type: "heartbeat" }])).toEqual([])
  })

  test("output may hold what no database stores: frames travel as JSON texts", async () => {
    const machine = await enrollMachine(server)
    const session = await ExchangeSession.open(server, machine)
    const text = "zero \0 and half a pair \ud800"
    await session.exchange([{ type: "output", key: keyOf(1), step: 0, stream: "stdout", offset: 0, text }])
    await vi.waitFor(() => expect(reportsOf(machine)).toMatchObject([{ type: "output" }]))
  })
})
