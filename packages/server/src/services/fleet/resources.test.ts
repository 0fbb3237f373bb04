import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { codeOf, enrollMachine, eventTypes, startFleetServer, type FleetServer } from "./fleet.fixture.ts"

interface Resource {
  id: string
  kind: string
  state: string
  runner?: string
  changed: boolean
}

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

const apply = (input: object) => server.call<Resource>("resources.apply", input)

describe("W13: resources without an agent", () => {
  test("are targets like nodes: listed, found by tags and names, with what runs their tasks", async () => {
    const runner = (await enrollMachine(server, { name: "runner-1", tags: {} })).node
    const member = await apply({ name: "lb-member-1", kind: "lb-member", tags: { pool: "web" } })
    const database = await apply({ name: "orders-db", kind: "database", tags: { pool: "web" }, runner: "runner-1" })
    expect(member).toMatchObject({ kind: "lb-member", state: "registered", changed: true })
    expect(database).toMatchObject({ kind: "database", runner })
    const found = await server.call<{ items: Array<{ name: string; runner?: string }> }>("nodes.resolve", {
      query: "pool=web",
    })
    expect(found.items.map(({ name, runner: by }) => [name, by])).toEqual([
      ["lb-member-1", "server"],
      ["orders-db", runner],
    ])
    const listed = await server.call<{ items: Array<{ name: string }> }>("nodes.list", { state: "registered" })
    expect(listed.items.map(({ name }) => name)).toEqual(["lb-member-1", "orders-db"])
    const offline = await server.call<{ items: Array<{ name: string }> }>("nodes.list", { state: "offline" })
    expect(offline.items.map(({ name }) => name)).toEqual(["runner-1"])
  })

  test("the same again changes nothing; another kind or tag is a new version", async () => {
    const first = await apply({ name: "cache-1", kind: "cache" })
    expect(await apply({ name: "cache-1", kind: "cache" })).toEqual({ ...first, changed: false })
    expect(await apply({ name: "cache-1", kind: "cache", tags: { a: "b" } })).toMatchObject({ changed: true })
    expect(await eventTypes(test_.database, first.id)).toEqual(["resource.registered", "resource.changed"])
  })

  test("a name is one target's alone, and a runner has an agent", async () => {
    await enrollMachine(server, { name: "taken", tags: {} })
    expect(await codeOf(apply({ name: "taken", kind: "cache" }))).toBe("fleet.node-name-taken")
    expect(await codeOf(apply({ name: "x-1", runner: "nobody" }))).toBe("fleet.node-not-found")
    await apply({ name: "x-2" })
    expect(await codeOf(apply({ name: "x-3", runner: "x-2" }))).toBe("request.invalid-input")
    expect(await codeOf(enrollMachine(server, { name: "x-2", tags: {} }))).toBe("fleet.node-name-taken")
    await server.call("nodes.remove", { node: "x-2" })
    expect(await apply({ name: "x-2", kind: "cache" })).toMatchObject({ changed: true })
  })
})
