import { operations } from "@signalbox/contracts/operations"
import { routingLimits } from "@signalbox/contracts/routing/map-document"
import { HeldPoint } from "@signalbox/testkit/held-point"
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"

/** Two servers on one database; what is edited at one is in force at both. */
let one: ServerFixture
let two: ServerFixture

beforeAll(async () => {
  one = await startServerFixture()
  two = await one.another()
}, 60_000)
afterAll(() => one.stop(), 60_000)
beforeEach(async () => {
  await call(one, "routes.reset", {})
  await inForce()
})

const waits = { timeout: 20_000, interval: 20 }

const call = (server: ServerFixture, operation: string, input: object) =>
  server.call(one.platformKey, "POST", `/v1/operations/${operation}`, input)

async function newest(): Promise<number> {
  const { items } = (await call(one, "routes.versions", {})).body as unknown as { items: Array<{ version: number }> }
  return items[0]?.version ?? 0
}

/** Every server has the newest version. */
async function inForce(): Promise<void> {
  const version = await newest()
  for (const server of [one, two])
    await vi.waitFor(async () => expect((await call(server, "routes.list", {})).body).toMatchObject({ version }), waits)
}

const elsewhere = { url: "https://198.51.100.7:8443" }

describe("R2: versions of the routing map", () => {
  test("an edit at one server is in force at the other without restart; so is the way back", async () => {
    await call(one, "routes.put", { operation: "accounts.list", services: [] })
    await vi.waitFor(
      async () => expect((await call(two, "accounts.list", {})).body.code).toBe("routing.no-route"),
      waits,
    )
    await call(two, "routes.rollback", { to: (await newest()) - 1 })
    await vi.waitFor(async () => expect((await call(one, "accounts.list", {})).status).toBe(200), waits)
    expect((await call(two, "routes.rollback", { to: 999_999 })).body.code).toBe("routing.version-not-found")
  })

  test("a call that has begun finishes on the map that it began with", async () => {
    const point = await HeldPoint.onTable(one.test.connection, "node_groups")
    const begun = call(one, "groups.put", { name: "begun", query: "role=web" })
    await point.untilReached("node_groups")
    await call(one, "routes.put", { operation: "groups.put", services: [] })
    expect((await call(one, "groups.put", { name: "late", query: "role=web" })).body.code).toBe("routing.no-route")
    await point.release()
    expect(await begun).toMatchObject({ status: 200, body: { name: "begun" } })
  })

  test("who changed what, when and why is kept, told and compared", async () => {
    const before = await newest()
    const put = await call(one, "routes.put", { operation: "keys.list", services: [], comment: "an incident" })
    expect(put.body).toMatchObject({ operation: "keys.list", services: [], version: before + 1 })
    expect(put.body["changedBy"]).toMatch(/^(?:key|usr|sva)/)
    const { items } = (await call(two, "routes.versions", { limit: 1 })).body as unknown as { items: object[] }
    expect(items).toEqual([
      {
        version: before + 1,
        operation: "routes.put",
        comment: "an incident",
        changedAt: expect.any(String) as string,
        changedBy: put.body["changedBy"],
        requestId: expect.stringMatching(/^req_/) as string,
      },
    ])
    expect((await call(one, "routes.diff", { from: before })).body).toEqual({
      from: before,
      to: before + 1,
      differences: [{ place: "routes.keys.list", after: '{"services":[]}' }],
    })
    expect((await call(one, "routes.export", {})).body).toMatchObject({
      document: { routes: { "keys.list": { services: [] } } },
    })
    expect((await call(one, "routes.diff", { from: 999_999 })).body.code).toBe("routing.version-not-found")
  })

  test("a document takes the place of the whole map, or of nothing; a dry run says what it would do", async () => {
    await call(one, "routes.put", { operation: "keys.list", services: [] })
    const version = await newest()
    const document = { destinations: { east: elsewhere }, services: { approvals: "east" } }
    const expected = {
      changed: true,
      differences: [
        { place: "destinations.east", after: '{"url":"https://198.51.100.7:8443"}' },
        { place: "services.approvals", after: "east" },
        { place: "routes.keys.list", before: '{"services":[]}' },
      ],
    }
    expect((await call(one, "routes.apply", { ...document, dryRun: true })).body).toEqual({ ...expected, version })
    expect(await newest()).toBe(version)
    expect((await call(one, "routes.apply", document)).body).toEqual({ ...expected, version: version + 1 })
    expect((await call(one, "routes.apply", document)).body).toEqual({
      changed: false,
      differences: [],
      version: version + 1,
    })
    const { items } = (await call(one, "routes.list", { limit: 1000 })).body as unknown as {
      items: Array<{ operation: string; services: string[] }>
    }
    const of = (name: string) => items.find(({ operation }) => operation === name)?.services
    expect(items).toHaveLength(operations.length)
    expect([of("approval-requests.get"), of("keys.list")]).toEqual([["approvals@east"], ["identity"]])
    const bad = { ...document, routes: { "keys.list": { services: ["identity@west"] } } }
    expect((await call(one, "routes.apply", bad)).body).toMatchObject({ code: "routing.invalid-map" })
    expect(await newest()).toBe(version + 1)
  })

  test("of two administrators who edit what both have seen, one is told that the other was faster", async () => {
    const expectedVersion = await newest()
    const edits = await Promise.all([
      call(one, "routes.put", { operation: "keys.list", services: [], expectedVersion }),
      call(two, "routes.put", { operation: "users.list", services: [], expectedVersion }),
    ])
    expect(edits.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409])
    const refused = edits.find(({ status }) => status === 409)?.body
    expect(refused).toMatchObject({ code: "routing.map-changed", details: { version: expectedVersion + 1 } })
    await Promise.all(
      [one, two].map((server, at) =>
        call(server, "routes.put", { operation: at === 0 ? "nodes.list" : "groups.list", services: [] }),
      ),
    )
    const { document } = (await call(one, "routes.export", {})).body as unknown as { document: { routes: object } }
    expect(Object.keys(document.routes)).toEqual(expect.arrayContaining(["nodes.list", "groups.list"]))
  })

  test("a version that names operations which are no more comes back without them, and says so", async () => {
    const { database } = one.test
    const version = (await newest()) + 1
    const document = {
      destinations: {},
      services: { ghosts: "east" },
      routes: { "ghosts.list": { services: ["ghosts"] }, "keys.list": { services: [] } },
    }
    await database.query(
      `insert into routing_map_versions (account, version, document, stamps, operation, changed_by)
       values ('*', $1, $2, '{}', 'test', 'test')`,
      [version, JSON.stringify(document)],
    )
    await call(one, "routes.apply", {})
    expect((await call(one, "routes.rollback", { to: version })).body).toMatchObject({
      changed: true,
      leftOut: ["services.ghosts", "routes.ghosts.list"],
      differences: [{ place: "routes.keys.list", after: '{"services":[]}' }],
    })
  })

  test("as many versions are kept as the limit says", async () => {
    const { database } = one.test
    const version = (await newest()) + routingLimits.versionsMax
    await database.query(
      `insert into routing_map_versions (account, version, document, stamps, operation, changed_by)
       select '*', $1, document, stamps, operation, changed_by from routing_map_versions order by version desc limit 1`,
      [version],
    )
    await call(one, "routes.put", { operation: "keys.list", services: [] })
    const kept = await database.query<{ oldest: number }>("select min(version) oldest from routing_map_versions")
    expect(kept).toEqual([{ oldest: version }])
  })
})

describe("R2: maps that are refused", () => {
  const east = { destinations: { east: elsewhere } }
  test.each<readonly [string, object, { code: string; message: RegExp }]>([
    [
      "an unknown operation",
      { routes: { "node.list": { services: [] } } },
      { code: "routing.unknown-operation", message: /nodes\.list/ },
    ],
    [
      "an unknown service",
      { ...east, services: { approval: "east" } },
      { code: "routing.invalid-map", message: /approvals/ },
    ],
    [
      "another service",
      { routes: { "keys.list": { services: ["fleet"] } } },
      { code: "routing.invalid-map", message: /identity/ },
    ],
    [
      "no such destination",
      { services: { approvals: "east" } },
      { code: "routing.invalid-map", message: /destinations/ },
    ],
    [
      "the router itself",
      { ...east, services: { routing: "east" } },
      { code: "routing.invalid-map", message: /every server/ },
    ],
    [
      "a protected row",
      { routes: { "routes.put": { services: [] } } },
      { code: "routing.protected-route", message: /routes\.put/ },
    ],
    [
      "this server",
      { destinations: { east: { url: "http://127.0.0.1/" } } },
      { code: "routing.invalid-map", message: /circle/ },
    ],
    [
      "one process under two names",
      { destinations: { east: elsewhere, west: { url: `${elsewhere.url}/` } } },
      { code: "routing.invalid-map", message: /both/ },
    ],
    [
      "a stream elsewhere",
      { ...east, routes: { "events.watch": { services: ["audit@east"] } } },
      { code: "routing.invalid-map", message: /streams/ },
    ],
    [
      "one place twice",
      { routes: { "keys.list": { services: ["identity", "identity"], merge: "all" } } },
      { code: "routing.invalid-map", message: /twice/ },
    ],
    [
      "several places without a policy",
      { ...east, routes: { "keys.list": { services: ["identity", "identity@east"] } } },
      { code: "routing.invalid-map", message: /merge/ },
    ],
    [
      "a change that would be made twice",
      { ...east, routes: { "keys.create": { services: ["identity", "identity@east"], merge: "all" } } },
      { code: "routing.invalid-map", message: /same twice/ },
    ],
    [
      "a policy for one place",
      { routes: { "keys.list": { services: ["identity"], merge: "all" } } },
      { code: "routing.invalid-map", message: /nothing to merge/ },
    ],
    [
      "a path in a URL",
      { destinations: { east: { url: "https://a.example/x" } } },
      { code: "request.invalid-input", message: /host/ },
    ],
    [
      "prototypes",
      { routes: { __proto__: null, "constructor.list": { services: [] } } },
      { code: "routing.unknown-operation", message: /./ },
    ],
  ])("%s", async (_name, document, { code, message }) => {
    const answer = await call(one, "routes.apply", document)
    expect(answer.body).toMatchObject({ code, detail: expect.stringMatching(message) as string })
  })
})
