import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { enrollMachine, eventTypes, startFleetServer, type FleetServer, type TestMachine } from "./fleet.fixture.ts"

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

describe("inventory", () => {
  const inventoryOf = (machine: TestMachine, more: object = {}) => ({
    hostname: "web-1",
    machineId: machine.machineId,
    os: {
      name: "Debian GNU/Linux 12 (bookworm)",
      id: "debian",
      version: "12",
      kernel: "6.1.0",
      architecture: "x86_64",
    },
    hardware: { cpus: 2, memoryBytes: 4_000_000_000 },
    packageManager: "apt",
    packages: [{ name: "openssl", version: "3.0.11-1", architecture: "amd64" }],
    pending: [
      { name: "openssl", fromVersion: "3.0.11-1", toVersion: "3.0.11-2", architecture: "amd64", security: true },
    ],
    problems: [],
    ...more,
  })
  const read = (machine: TestMachine) =>
    server.call<{ collectedAt?: string; inventory?: { hostname: string } }>("nodes.inventory", { node: machine.node })

  test("an inventory is kept, shown in short with its node, and the same one again is no event", async () => {
    const machine = await enrollMachine(server)
    expect(await read(machine)).toEqual({})
    const session = await machine.connect(server)
    session.send({ type: "inventory", inventory: inventoryOf(machine) })
    await vi.waitFor(async () => expect((await read(machine)).inventory).toEqual(inventoryOf(machine)))
    const first = await read(machine)
    session.send({ type: "inventory", inventory: inventoryOf(machine) })
    await vi.waitFor(async () => expect((await read(machine)).collectedAt).not.toBe(first.collectedAt))
    session.send({ type: "inventory", inventory: inventoryOf(machine, { hostname: "a\0b\ud800" }) })
    await vi.waitFor(async () => expect((await read(machine)).inventory?.hostname).toBe("a\ufffdb\ufffd"))
    expect(await server.call("nodes.get", { node: machine.node })).toMatchObject({
      os: "Debian GNU/Linux 12 (bookworm)",
      architecture: "x86_64",
      packagesInstalled: 1,
      packagesPending: 1,
    })
    const types = await eventTypes(test_.database, machine.node)
    expect(types.filter((type) => type === "node.inventory-changed")).toHaveLength(2)
    session.end()
  })

  test("an inventory that doesn't fit the schema ends the session", async () => {
    const machine = await enrollMachine(server)
    const session = await machine.connect(server)
    session.send({ type: "inventory", inventory: inventoryOf(machine, { packages: "all of them" }) })
    expect(await session.waitFor("refused")).toMatchObject({ code: "fleet.protocol-violation" })
  })
})
