import { randomUUID } from "node:crypto"
import { agentLimits, type AgentFrame } from "@signalbox/contracts/fleet/agent-protocol"
import { FakeClock } from "@signalbox/testkit/fake-clock"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { SignJWT } from "jose"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import {
  codeOf,
  enrollMachine,
  eventTypes,
  makeEnrollmentKey,
  startFleetServer,
  TestMachine,
  TestSession,
  type FleetServer,
} from "./fleet.fixture.ts"
import { agentTokenLimits } from "./model.ts"
import { presenceLimits } from "./presence.ts"
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

const stateOf = async (machine: TestMachine, of = server) =>
  (await of.call<{ state: string }>("nodes.get", { node: machine.node }, { account: machine.account })).state

const waitForState = (machine: TestMachine, state: string, of = server) =>
  vi.waitFor(async () => expect(await stateOf(machine, of)).toBe(state), { timeout: 10_000, interval: 20 })

const seconds = () => Math.floor(Date.now() / 1000)

describe("X7: an agent's identity", () => {
  test("a good token opens a session, once", async () => {
    const machine = await enrollMachine(server)
    const token = await machine.token()
    const session = await machine.dial(server, token)
    expect(await codeOf(machine.dial(server, token))).toBe("fleet.agent-identity-refused")
    session.end()
  })

  test("a node that lies about its identity is refused", async () => {
    const machine = await enrollMachine(server)
    const victim = await enrollMachine(server)
    const lies: Array<Promise<string>> = [
      machine.token({ sub: victim.node }, { kid: victim.node }),
      machine.token({ sub: victim.node }),
      machine.token({}, { kid: victim.node }),
      machine.token({ account: "other" }),
      machine.token({ account: "ma\0in" }),
      machine.token({ aud: "another" }),
      machine.token({ jti: undefined }),
      machine.token({ machineId: undefined }),
      new SignJWT({ ...claimsOf(victim) })
        .setProtectedHeader({ alg: "HS256", kid: victim.node })
        .sign(Buffer.from(victim.publicKey)),
    ]
    for (const lie of lies) expect(await codeOf(machine.dial(server, await lie))).toBe("fleet.agent-identity-refused")
    const unsigned = [{ alg: "none", kid: victim.node }, claimsOf(victim)].map(toPart).join(".") + "."
    expect(await codeOf(machine.dial(server, unsigned))).toBe("fleet.agent-identity-refused")
    expect(await codeOf(machine.dial(server, "a.b.c"))).toBe("identity.invalid-credentials")
  })

  test("a token that lives too long, has expired or comes from the future is refused, and the reason names the clock", async () => {
    const machine = await enrollMachine(server)
    const { lifeSecondsMax, clockLeewaySeconds } = agentTokenLimits
    const now = seconds()
    const within = { iat: now - clockLeewaySeconds + 5, exp: now - clockLeewaySeconds + 15 }
    const session = await machine.dial(server, await machine.token(within))
    session.end()
    expect(await codeOf(machine.dial(server, await machine.token({ iat: now, exp: now + lifeSecondsMax + 1 })))).toBe(
      "fleet.agent-identity-refused",
    )
    const late = { iat: now - clockLeewaySeconds - 30, exp: now - clockLeewaySeconds - 5 }
    await expect(machine.dial(server, await machine.token(late))).rejects.toThrow(/clock/)
    const early = { iat: now + clockLeewaySeconds + 5, exp: now + clockLeewaySeconds + 15 }
    await expect(machine.dial(server, await machine.token(early))).rejects.toThrow(/clock/)
  })

  test("a node has a bounded number of live tokens", async () => {
    const machine = await enrollMachine(server)
    const code = async () => codeOf(server.call("nodes.list", {}, { token: await machine.token() }))
    for (let count = 0; count < agentTokenLimits.liveTokensPerNodeMax; count += 1)
      expect(await code()).toBe("identity.permission-denied")
    expect(await code()).toBe("fleet.agent-identity-refused")
  })

  test("a removed node is cut off at once and refused from then on; its name is free again", async () => {
    const machine = await enrollMachine(server, { name: "leaving" })
    const session = await machine.connect(server)
    await server.call("nodes.remove", { node: "leaving" })
    expect(await session.waitFor("refused")).toMatchObject({ code: "fleet.agent-identity-refused" })
    await session.waitForEnd()
    expect(await codeOf(machine.dial(server))).toBe("fleet.agent-identity-refused")
    expect((await enrollMachine(server, { name: "leaving" })).node).not.toBe(machine.node)
  })

  test("only an agent opens a session", async () => {
    expect(await codeOf(TestSession.dial(server, "administrator-of-main"))).toBe("identity.permission-denied")
    expect(await codeOf(TestSession.dial(server, await makeEnrollmentKey(server)))).toBe("identity.permission-denied")
  })
})

function claimsOf(machine: TestMachine): Record<string, unknown> {
  const { node, account, machineId } = machine
  return { sub: node, account, aud: "signalbox", iat: seconds(), exp: seconds() + 30, jti: randomUUID(), machineId }
}

const toPart = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")

describe("X7: a cloned image", () => {
  test("X7: one key on two machines holds the node, cuts both, and keeps both out until a person releases it", async () => {
    const machine = await enrollMachine(server)
    const clone = new TestMachine(machine)
    const session = await machine.connect(server)
    const other = await clone.dial(server)
    other.send(helloOf(clone))
    for (const each of [session, other]) {
      expect(await each.waitFor("refused")).toMatchObject({ code: "fleet.node-held" })
      await each.waitForEnd()
    }
    expect(await stateOf(machine)).toBe("held")
    for (const each of [machine, clone]) expect(await codeOf(each.dial(server))).toBe("fleet.node-held")
    await server.call("nodes.update", { node: machine.node, release: true })
    const back = await clone.connect(server)
    await waitForState(machine, "online")
    back.end()
    await waitForState(machine, "offline")
    expect(await eventTypes(test_.database, machine.node)).toEqual(
      expect.arrayContaining(["node.held", "node.updated"]),
    )
  })

  test("X7: two clones that say hello at the same moment: one at most gets in, and the node ends held", async () => {
    for (let round = 0; round < 5; round += 1) {
      const machine = await enrollMachine(server)
      const sessions = await Promise.all(
        [machine, new TestMachine(machine)].map(async (each) => {
          const session = await each.dial(server)
          return { session, hello: helloOf(each) }
        }),
      )
      for (const { session, hello } of sessions) session.send(hello)
      for (const { session } of sessions) {
        expect(await session.waitFor("refused")).toMatchObject({ code: "fleet.node-held" })
        await session.waitForEnd()
      }
      expect(await stateOf(machine)).toBe("held")
    }
  })
})

function helloOf(machine: TestMachine): Extract<AgentFrame, { type: "hello" }> {
  return { type: "hello", protocol: 1, agentVersion: "0.1.0", machineId: machine.machineId, bootId: "b", open: [] }
}

describe("sessions", () => {
  test("a session shows as online with its events, and as offline when it ends", async () => {
    const machine = await enrollMachine(server)
    const session = await machine.connect(server)
    await waitForState(machine, "online")
    session.socket.close()
    await waitForState(machine, "offline")
    expect(await eventTypes(test_.database, machine.node)).toEqual([
      "node.enrolled",
      "node.connected",
      "node.disconnected",
    ])
    const shown = await server.call<{ lastSeenAt?: string; agentVersion?: string }>("nodes.get", { node: machine.node })
    expect(Date.now() - Date.parse(shown.lastSeenAt ?? "")).toBeLessThan(10_000)
    expect(shown.agentVersion).toBe("0.1.0")
  })

  test("a newer session takes the place of an older one, and the node never shows as offline", async () => {
    const machine = await enrollMachine(server)
    const older = await machine.connect(server)
    await waitForState(machine, "online")
    const newer = await machine.connect(server)
    expect((await older.waitForEnd()).reason).toBe("replaced by a newer session")
    newer.send({ type: "heartbeat" })
    await new Promise((resolve) => newer.socket.ping(undefined, undefined, resolve))
    expect(await stateOf(machine)).toBe("online")
    expect(await eventTypes(test_.database, machine.node)).toEqual(["node.enrolled", "node.connected"])
    newer.end()
  })

  const heartbeat = { type: "heartbeat" }
  test.each([
    ["no JSON", "{"],
    ["another type", { type: "shutdown" }],
    ["an unknown member", { type: "heartbeat", extra: 1 }],
    ["a key that is none", { type: "accepted", key: "../../etc", phase: "task" }],
    ["a second hello", helloOf({ machineId: "x" } as TestMachine)],
    ["an array", [heartbeat]],
    ["null", "null"],
    ["a prototype", '{"type":"heartbeat","__proto__":{"type":"x"}}'],
    ["binary", Buffer.from(JSON.stringify(heartbeat))],
  ])("garbage ends the session with a reason: %s", async (_, frame) => {
    const machine = await enrollMachine(server)
    const session = await machine.connect(server)
    if (Buffer.isBuffer(frame)) session.socket.send(frame, { binary: true })
    else session.send(frame)
    expect(await session.waitFor("refused")).toMatchObject({ code: "fleet.protocol-violation" })
    expect((await session.waitForEnd()).code).toBe(1008)
    await waitForState(machine, "offline")
  })

  test("the first frame is a hello of the same protocol", async () => {
    const machine = await enrollMachine(server)
    for (const frame of [heartbeat, { ...helloOf(machine), protocol: 2 }, { ...helloOf(machine), machineId: "\0" }]) {
      const session = await machine.dial(server)
      session.send(frame)
      expect((await session.waitFor("refused")).code).toMatch(/^fleet\.protocol-violation$|^request\.invalid-input$/)
      await session.waitForEnd()
    }
    expect(await eventTypes(test_.database, machine.node)).toEqual(["node.enrolled"])
  })

  test("a frame over the limit ends the session and nothing else", async () => {
    const machine = await enrollMachine(server)
    const session = await machine.connect(server)
    session.send(JSON.stringify({ type: "heartbeat", pad: "x".repeat(agentLimits.frameBytesMax) }))
    expect((await session.waitForEnd()).code).toBe(1009)
    const again = await machine.connect(server)
    again.end()
  })

  test("frames that follow the hello without waiting for the welcome are not lost", async () => {
    const machine = await enrollMachine(server)
    const session = await machine.dial(server)
    const key = `exe_${"0".repeat(26)}/1/1`
    session.send(helloOf(machine))
    session.send({ type: "accepted", key, phase: "task" })
    await session.waitFor("welcome")
    await vi.waitFor(() =>
      expect(server.reports).toContainEqual({ type: "accepted", nodeId: machine.node, key, phase: "task" }),
    )
    session.end()
  })

  test("a flood is read more slowly, and none of it is lost", async () => {
    const machine = await enrollMachine(server)
    const session = await machine.connect(server)
    const overBurst = sessionLimits.framesPerSecondMax
    const count = sessionLimits.framesPerSecondMax * sessionLimits.burstSeconds + overBurst
    const begin = Date.now()
    for (let index = 0; index < count; index += 1)
      session.send({ type: "accepted", key: `exe_${"1".repeat(26)}/${index}/1`, phase: "task" })
    const mine = () => server.reports.filter((report) => report.nodeId === machine.node).length
    await vi.waitFor(() => expect(mine()).toBe(count), { timeout: 20_000, interval: 50 })
    session.send({ type: "accepted", key: `exe_${"2".repeat(26)}/1/1`, phase: "task" })
    await vi.waitFor(() => expect(mine()).toBe(count + 1), { timeout: 20_000, interval: 10 })
    expect(Date.now() - begin).toBeGreaterThan(500)
    expect(session.closed).toBeUndefined()
    session.end()
  })

  test("300 machines enrol and connect at once, and all show as online", async () => {
    const key = await makeEnrollmentKey(server, { tags: { crowd: "300" } }, "crowd")
    const machines = Array.from({ length: 300 }, () => new TestMachine())
    await Promise.all(machines.map((machine) => machine.enroll(server, key)))
    const sessions = await Promise.all(machines.map((machine) => machine.connect(server)))
    await vi.waitFor(
      async () => {
        const input = { query: "crowd=300", state: "online", limit: 1000 }
        const { items } = await server.call<{ items: object[] }>("nodes.list", input, { account: "crowd" })
        expect(items).toHaveLength(300)
      },
      { timeout: 20_000, interval: 50 },
    )
    const orders = machines.map((machine) => ({
      type: "rollback" as const,
      nodeId: machine.node,
      key: `exe_${"3".repeat(26)}/1/1`,
    }))
    server.executor.dispatch(orders)
    await Promise.all(sessions.map((session) => session.waitFor("rollback")))
    for (const session of sessions) session.end()
  })
})

describe("sessions over time", () => {
  test("a silent session is given up; heartbeats keep one, and so do answers to pings", async () => {
    const clock = new FakeClock(Date.now())
    const own = await startFleetServer({ database: test_.database, clock })
    const [silent, alive, terse] = [await enrollMachine(own), await enrollMachine(own), await enrollMachine(own)]
    const quiet = await silent.connect(own)
    const beating = await alive.connect(own)
    const answering = await terse.connect(own)
    // A socket that answers no pings is as good as dead, though nobody closed it.
    quiet.socket.pause()
    for (let step = 0; step < 10; step += 1) {
      clock.advance(4_000)
      const beat = { type: "progress", key: `exe_${"4".repeat(26)}/1/1`, step, stepsCount: 10, name: "s" }
      beating.send(beat)
      await vi.waitFor(
        () => expect(own.reports).toContainEqual(expect.objectContaining({ nodeId: alive.node, step })),
        {
          interval: 5,
        },
      )
    }
    await waitForState(silent, "offline", own)
    expect(await stateOf(alive, own)).toBe("online")
    expect(await stateOf(terse, own)).toBe("online")
    expect(answering.pings).toBeGreaterThan(0)
    expect(beating.pings).toBe(0)
    answering.end()
    beating.end()
    quiet.end()
    await own.stop()
  })

  test("after a server that was killed, nodes are offline until they connect", async () => {
    const first = await startFleetServer({ database: test_.database })
    const [back, away] = [await enrollMachine(first), await enrollMachine(first)]
    for (const machine of [back, away]) await machine.connect(first)
    for (const machine of [back, away]) await waitForState(machine, "online", first)
    // What a kill leaves behind: the rows as they are, and a lease that lapses.
    await first.lapse()
    const second = await startFleetServer({ database: test_.database })
    expect(await stateOf(away, second)).toBe("offline")
    await back.connect(second)
    await waitForState(back, "online", second)
    expect(await stateOf(away, second)).toBe("offline")
    expect(await eventTypes(test_.database, away.node)).toEqual([
      "node.enrolled",
      "node.connected",
      "node.disconnected",
    ])
    await second.stop()
    expect(await stateOf(back)).toBe("offline")
    await first.stop()
  })

  test("what another server did to a node ends its session here too, and signs of life are written", async () => {
    const clock = new FakeClock(Date.now())
    const own = await startFleetServer({ database: test_.database, clock })
    const [kept, removed, held] = [await enrollMachine(own), await enrollMachine(own), await enrollMachine(own)]
    const sessions = [await kept.connect(own), await removed.connect(own), await held.connect(own)] as const
    await server.call("nodes.remove", { node: removed.node })
    await test_.database.query("update nodes set held_at = now() where id = $1", [held.node])
    clock.advance(presenceLimits.lastSeenMilliseconds + 1_000)
    expect(await sessions[1].waitFor("refused")).toMatchObject({ code: "fleet.agent-identity-refused" })
    expect(await sessions[2].waitFor("refused")).toMatchObject({ code: "fleet.node-held" })
    await vi.waitFor(async () => {
      const { lastSeenAt } = await own.call<{ lastSeenAt: string }>("nodes.get", { node: kept.node })
      expect(Date.parse(lastSeenAt)).toBe(clock.now())
    })
    expect(sessions[0].closed).toBeUndefined()
    sessions[0].end()
    await own.stop()
  })

  test("a server that stops says so, and the agents may come back", async () => {
    const own = await startFleetServer({ database: test_.database })
    const machine = await enrollMachine(own)
    const session = await machine.connect(own)
    await own.stop()
    expect(await session.waitForEnd()).toEqual({ code: 1001, reason: "the server is stopping" })
    expect(session.frames.filter((frame) => frame.type === "refused")).toEqual([])
  })
})
