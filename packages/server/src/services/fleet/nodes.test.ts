import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { matchesTagQuery, parseTagQuery } from "@signalbox/contracts/fleet/tag-query"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { codeOf, enrollMachine, eventTypes, startFleetServer, type FleetServer } from "./fleet.fixture.ts"
import { insertNode, resolveNodes } from "./node-store.ts"

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

interface Resolved {
  items: Array<{ id: string; name: string; tags: Record<string, string> }>
  unknown: string[]
  nextCursor?: string
}

async function resolveAll(input: object, account: string): Promise<Resolved> {
  const all: Resolved = { items: [], unknown: [] }
  let cursor: string | undefined
  do {
    const page = await server.call<Resolved>("nodes.resolve", { ...input, ...(cursor ? { cursor } : {}) }, { account })
    all.items.push(...page.items)
    all.unknown.push(...page.unknown)
    cursor = page.nextCursor
  } while (cursor)
  return all
}

const names = (resolved: { items: Array<{ name: string }> }) => resolved.items.map((item) => item.name)

describe("W3: targets by list, tag query or group", () => {
  const account = "targets"
  const ids: Record<string, string> = {}
  beforeAll(async () => {
    for (const [name, tags] of Object.entries({
      "web-1": { role: "web", region: "eu" },
      "web-2": { role: "web", region: "us" },
      "web-3": { role: "web", region: "ap", canary: "" },
      "db-1": { role: "db", region: "eu" },
    }))
      ids[name] = (await enrollMachine(server, { name, account, tags })).node
    await enrollMachine(server, { name: "web-1", account: "other", tags: { role: "web" } })
  })

  test.each([
    ["role=web", ["web-1", "web-2", "web-3"]],
    ["role=web,region in (eu,us)", ["web-1", "web-2"]],
    ["role!=web", ["db-1"]],
    ["canary", ["web-3"]],
    ["!canary,region=eu", ["web-1", "db-1"]],
    ["canary=", ["web-3"]],
    ["nothing", []],
  ])("W3: %s", async (query, expected) => {
    const resolved = await resolveAll({ query, limit: 2 }, account)
    expect(names(resolved).toSorted()).toEqual(expected.toSorted())
    expect(resolved.items.map((item) => item.id)).toEqual(resolved.items.map((item) => item.id).toSorted())
    const listed = await server.call<{ items: Array<{ name: string }> }>("nodes.list", { query }, { account })
    expect(names(listed)).toEqual(expected.toSorted())
  })

  test("W3: a list of ids and names; what does not exist is told once, on the first page", async () => {
    const nodes = ["web-2", ids["db-1"] ?? "", "gone", `nod_${"0".repeat(26)}`, "web-2"]
    const resolved = await resolveAll({ nodes, limit: 1 }, account)
    expect(names(resolved).toSorted()).toEqual(["db-1", "web-2"])
    expect(resolved.unknown).toEqual(["gone", `nod_${"0".repeat(26)}`])
    expect(await resolveAll({ nodes: Object.values(ids) }, "other")).toMatchObject({
      items: [],
      unknown: Object.values(ids),
    })
  })

  test("W3: a group by query takes in what is tagged later; a group by list takes in what is named", async () => {
    const made = await server.call("groups.put", { name: "eu", query: "region=eu" }, { account })
    expect(made).toMatchObject({ name: "eu", query: "region=eu" })
    await server.call("groups.put", { name: "two", nodes: ["web-1", ids["db-1"]] }, { account })
    expect(names(await resolveAll({ group: "two" }, account)).toSorted()).toEqual(["db-1", "web-1"])
    expect(names(await resolveAll({ group: "eu" }, account)).toSorted()).toEqual(["db-1", "web-1"])
    await server.call("nodes.update", { node: "web-2", tags: { region: "eu" } }, { account })
    expect(names(await resolveAll({ group: "eu" }, account)).toSorted()).toEqual(["db-1", "web-1", "web-2"])
    await server.call("nodes.update", { node: "web-2", tags: { region: "us" } }, { account })
    const both = await server.call<{ items: Array<{ name: string }> }>(
      "nodes.list",
      { group: "two", query: "role=web" },
      { account },
    )
    expect(names(both)).toEqual(["web-1"])
  })

  test("W3: exactly one way of naming targets", async () => {
    for (const input of [{}, { all: true, query: "role=web" }, { nodes: ["web-1"], group: "eu" }])
      expect(await codeOf(server.call("nodes.resolve", input, { account }))).toBe("request.invalid-input")
    expect(names(await resolveAll({ all: true, limit: 3 }, account))).toHaveLength(4)
  })

  test("bad queries, cursors and groups are refused with their codes", async () => {
    const call = (input: object) => codeOf(server.call("nodes.resolve", input, { account }))
    expect(await call({ query: "role=web;" })).toBe("fleet.invalid-tag-query")
    expect(await call({ group: "nowhere" })).toBe("fleet.group-not-found")
    for (const cursor of [
      "%",
      "e30",
      Buffer.from('["a","b"]').toString("base64url"),
      Buffer.from('["\\u0000"]').toString("base64url"),
    ])
      expect(await call({ all: true, cursor })).toBe("request.invalid-cursor")
    expect(await codeOf(server.call("nodes.list", { query: "!!" }, { account }))).toBe("fleet.invalid-tag-query")
    expect(await codeOf(server.call("groups.put", { name: "bad", query: "a=b c" }, { account }))).toBe(
      "fleet.invalid-tag-query",
    )
    expect(await codeOf(server.call("groups.put", { name: "bad", nodes: ["web-1", "gone"] }, { account }))).toBe(
      "fleet.node-not-found",
    )
    for (const input of [
      { name: "bad" },
      { name: "bad", query: "a", nodes: ["web-1"] },
      { name: "bad", query: "a", description: "\0" },
    ])
      expect(await codeOf(server.call("groups.put", input, { account }))).toBe("request.invalid-input")
    expect(await codeOf(server.call("groups.get", { name: "eu" }, { account: "other" }))).toBe("fleet.group-not-found")
    expect(await codeOf(server.call("groups.remove", { name: "eu" }, { account: "other" }))).toBe(
      "fleet.group-not-found",
    )
  })

  test("the same group put again is no change; changes and removal are events", async () => {
    const put = (more: object) => server.call("groups.put", { name: "changing", query: "a=b", ...more }, { account })
    const first = await put({})
    expect(await put({})).toEqual(first)
    await put({ description: "now with words" })
    await server.call("groups.remove", { name: "changing" }, { account })
    const rows = await test_.database.query<{ type: string; version: number }>(
      `select type, subject_version as version from outbox
       where account = $1 and data->>'name' = 'changing' order by subject_version`,
      [account],
    )
    expect(rows).toEqual([
      { type: "group.created", version: 1 },
      { type: "group.changed", version: 2 },
      { type: "group.removed", version: 3 },
    ])
    const listed = await server.call<{ items: Array<{ name: string }> }>("groups.list", { limit: 1 }, { account })
    expect(listed).toMatchObject({ items: [{ name: "eu" }], nextCursor: expect.any(String) })
  })
})

describe("nodes", () => {
  test("tags are set and removed; what changes nothing is no event", async () => {
    const machine = await enrollMachine(server, { tags: { role: "web", old: "x" } })
    const update = (tags: object) => server.call("nodes.update", { node: machine.node, tags })
    expect(await update({ role: "db", old: null, gpu: "" })).toMatchObject({ tags: { role: "db", gpu: "" } })
    await update({ role: "db" })
    expect(await eventTypes(test_.database, machine.node)).toEqual(["node.enrolled", "node.updated"])
    for (const tags of [{ "1": "x" }, { role: "\0" }, manyTags(70)])
      expect(await codeOf(update(tags))).toBe("request.invalid-input")
    await update(manyTags(62))
    expect(await codeOf(update({ one: "", more: "" }))).toBe("request.invalid-input")
  })

  test("another account's node does not exist, by id or by name", async () => {
    const machine = await enrollMachine(server, { name: "secret" })
    for (const node of [machine.node, "secret"]) {
      for (const operation of ["nodes.get", "nodes.inventory", "nodes.update", "nodes.remove"])
        expect(await codeOf(server.call(operation, { node }, { account: "stranger" }))).toBe("fleet.node-not-found")
    }
    expect(await server.call("nodes.get", { node: "secret" })).toMatchObject({ id: machine.node, state: "offline" })
  })

  test("nodes are listed by name in pages, by state, and each once", async () => {
    const account = "pages"
    for (const name of ["c", "a", "e", "b", "d"]) await enrollMachine(server, { name, account })
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const input = { limit: 2, state: "offline", ...(cursor ? { cursor } : {}) }
      const page = await server.call<Resolved>("nodes.list", input, { account })
      seen.push(...names(page))
      cursor = page.nextCursor
    } while (cursor)
    expect(seen).toEqual(["a", "b", "c", "d", "e"])
    expect(await server.call("nodes.list", { state: "held" }, { account })).toEqual({ items: [] })
  })
})

const manyTags = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`t${index}`, ""]))

describe("tag queries in SQL", () => {
  const account = "property"
  const keys = ["a", "b/c", "A.b-c_d"]
  const values = [
    "",
    "x",
    "web",
    'quo"te',
    "back\\slash",
    "null",
    "{}",
    "%_",
    "ä",
    "\u{1F600}",
    "a,b",
    "'; drop table nodes; --",
  ]
  const fleet: Array<{ id: string; tags: Record<string, string> }> = []

  beforeAll(async () => {
    const combinations = fc.sample(fc.dictionary(fc.constantFrom(...keys), fc.constantFrom(...values)), {
      numRuns: 200,
      seed: 7,
    })
    await test_.database.transaction(async (tx) => {
      for (const [index, tags] of combinations.entries()) {
        const id = `nod_${String(index).padStart(26, "0")}`
        fleet.push({ id, tags })
        const node = { id, account, name: `n${index}`, publicKey: `k${index}`, enrolledWith: "enk_x", enrolledAt: 0 }
        await insertNode(tx, { ...node, tags })
      }
    })
  })

  test("W3: the database finds exactly the nodes that the query means", async () => {
    const quote = (value: string) => `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`
    const key = fc.constantFrom(...keys, "absent")
    const value = fc.constantFrom(...values, "other").map(quote)
    const term = fc.oneof(
      fc.tuple(key, value).map(([k, v]) => `${k}=${v}`),
      fc.tuple(key, value).map(([k, v]) => `${k}!=${v}`),
      fc.tuple(key, fc.array(value, { minLength: 1, maxLength: 4 })).map(([k, list]) => `${k} in (${list.join(",")})`),
      key,
      key.map((k) => `!${k}`),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(term, { minLength: 1, maxLength: 3 }), async (terms) => {
        const query = parseTagQuery(terms.join(","))
        const rows = await resolveNodes(test_.database, { account, queries: [query] }, { afterId: "", limit: 1000 })
        const expected = fleet.filter((node) => matchesTagQuery(query, node.tags)).map((node) => node.id)
        expect(rows.map((row) => row.id)).toEqual(expected)
      }),
      { numRuns: 200 },
    )
  })

  test("equality is answered by the index", async () => {
    await test_.database.transaction(async (tx) => {
      await tx.query("set local enable_seqscan = off")
      await tx.query("set local enable_indexscan = off")
      const plan = await tx.query<{ "QUERY PLAN": string }>(
        `explain select id from nodes where tags @> '{"a":"x"}'::jsonb`,
      )
      expect(plan.map((row) => row["QUERY PLAN"]).join("\n")).toContain("nodes_tags_idx")
    })
  })
})
