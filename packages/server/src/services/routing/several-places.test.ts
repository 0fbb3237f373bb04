import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type Answer, type ServerFixture } from "../../http/edge.fixture.ts"
import { newSigningKey } from "../../storage/signing-key.ts"

/** One installation, a second server of it (`east`), and another installation (`north`) that trusts its signing key. */
let here: ServerFixture
let east: ServerFixture
let north: ServerFixture

beforeAll(async () => {
  const loopback = parseHostRule("127.0.0.1")
  const egress = { allow: loopback ? [loopback] : [], privateAllowed: true }
  const signingKey = newSigningKey()
  here = await startServerFixture({ egress, signingKey })
  east = await here.another({ destination: "east", signingKey: newSigningKey() })
  north = await startServerFixture({ destination: "north", trustedSigners: [signingKey.publicKey] })
  for (const [server, names] of [
    [here, ["a", "c"]],
    [north, ["b", "d"]],
  ] as const)
    for (const name of names) await must(server, "groups.put", { name, query: `role=${name}` })
}, 60_000)
afterAll(async () => {
  await north.stop()
  await here.stop()
}, 60_000)
afterEach(() => must(here, "routes.reset", {}))

const call = (server: ServerFixture, operation: string, input: object): Promise<Answer> =>
  server.call(server.platformKey, "POST", `/v1/operations/${operation}`, input)

async function must(server: ServerFixture, operation: string, input: object): Promise<Answer["body"]> {
  const answer = await call(server, operation, input)
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300)
  return answer.body
}

const route = (routes: object) =>
  must(here, "routes.apply", {
    destinations: {
      east: { url: east.url },
      north: { url: north.url, state: "own" },
      // Nothing listens there.
      gone: { url: "http://127.0.0.1:9", state: "own" },
    },
    routes,
  })

const namesOf = ({ body }: Answer): string[] =>
  (body as unknown as { items: Array<{ name: string }> }).items.map(({ name }) => name)

describe("R4: one operation at several places", () => {
  test("all: lists are joined, and pages go on at each place", async () => {
    await route({ "groups.list": { services: ["fleet", "fleet@north"], merge: "all" } })
    expect(namesOf(await call(here, "groups.list", {}))).toEqual(["a", "c", "b", "d"])
    const first = await call(here, "groups.list", { limit: 1 })
    expect(namesOf(first)).toEqual(["a", "b"])
    const second = await call(here, "groups.list", { limit: 1, cursor: first.body["nextCursor"] })
    expect(namesOf(second)).toEqual(["c", "d"])
    expect(second.body["nextCursor"]).toBeUndefined()
    const own = await call(north, "groups.list", { limit: 1 })
    const foreign = await call(here, "groups.list", { limit: 1, cursor: own.body["nextCursor"] })
    expect(foreign.body.code).toBe("request.invalid-cursor")
  })

  test("all: one place that fails is the end of the call, and is named", async () => {
    await route({ "groups.list": { services: ["fleet", "fleet@gone"], merge: "all" } })
    const answer = await call(here, "groups.list", {})
    expect(answer).toMatchObject({
      status: 503,
      body: {
        code: "routing.fan-out-failed",
        details: {
          answered: ["fleet"],
          failures: [{ place: "fleet@gone", code: "routing.destination-unreachable" }],
        },
      },
    })
  })

  test("best effort: what answers counts, and the reply says who did not", async () => {
    await route({ "groups.list": { services: ["fleet@north", "fleet@gone", "fleet"], merge: "best-effort" } })
    const answer = await call(here, "groups.list", {})
    expect(namesOf(answer)).toEqual(["b", "d", "a", "c"])
    expect(answer.headers.get("signalbox-partial")).toBe("fleet@gone=routing.destination-unreachable")
    await route({ "groups.list": { services: ["fleet@north", "fleet"], merge: "best-effort" } })
    expect((await call(here, "groups.list", {})).headers.get("signalbox-partial")).toBeNull()
  })

  test("what all refuse alike is refused", async () => {
    await route({ "groups.get": { services: ["fleet", "fleet@north"], merge: "all" } })
    expect((await call(here, "groups.get", { name: "nowhere" })).body.code).toBe("fleet.group-not-found")
  })

  test("first: whichever of those that share their state answers", async () => {
    await route({ "groups.list": { services: ["fleet@east", "fleet"], merge: "first" } })
    expect(namesOf(await call(here, "groups.list", {}))).toEqual(["a", "c"])
  })

  test("a change at places with state of their own is made at each, once", async () => {
    await route({ "groups.put": { services: ["fleet", "fleet@north"], merge: "all" } })
    await must(here, "groups.put", { name: "e", query: "role=e" })
    for (const server of [here, north])
      expect(await must(server, "groups.get", { name: "e" })).toMatchObject({ query: "role=e" })
    await route({ "groups.put": { services: ["fleet", "fleet@gone"], merge: "best-effort" } })
    const answer = await call(here, "groups.put", { name: "f", query: "role=f" })
    expect(answer.status).toBe(200)
    expect(answer.headers.get("signalbox-partial")).toContain("fleet@gone=")
  })

  test.each<readonly [string, object, RegExp]>([
    [
      "reads that share their state, joined",
      { "groups.list": { services: ["fleet", "fleet@east"], merge: "all" } },
      /twice/,
    ],
    ["a change, wherever first", { "groups.put": { services: ["fleet", "fleet@east"], merge: "first" } }, /open/],
    [
      "states of their own, wherever first",
      { "groups.list": { services: ["fleet", "fleet@north"], merge: "first" } },
      /say/,
    ],
  ])("refused at the edit: %s", async (_name, routes, message) => {
    const document = { destinations: { east: { url: east.url }, north: { url: north.url, state: "own" } }, routes }
    const answer = await call(here, "routes.apply", document)
    expect(answer.body.code).toBe("routing.invalid-map")
    expect(answer.body["detail"]).toMatch(message)
  })
})
