import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type Answer, type ServerFixture } from "../../http/edge.fixture.ts"
import { newSigningKey } from "../../storage/signing-key.ts"
import { bodyDigest, signCallToken, type CallClaims } from "./call-token.ts"

/** Two servers on one database; the second is the destination `east` of the first one's map. */
let one: ServerFixture
let two: ServerFixture
const signingKey = newSigningKey()
const stubs: Server[] = []

beforeAll(async () => {
  const loopback = parseHostRule("127.0.0.1")
  const egress = { allow: loopback ? [loopback] : [], privateAllowed: true }
  one = await startServerFixture({ egress, signingKey })
  two = await one.another({ destination: "east", signingKey: newSigningKey() })
}, 60_000)
afterAll(() => one.stop(), 60_000)
afterEach(async () => {
  await must(one, "routes.reset", {})
  for (const stub of stubs.splice(0)) {
    stub.closeAllConnections()
    stub.close()
  }
})

const waits = { timeout: 20_000, interval: 20 }

const call = (server: ServerFixture, operation: string, input: object): Promise<Answer> =>
  server.call(one.platformKey, "POST", `/v1/operations/${operation}`, input)

async function must(server: ServerFixture, operation: string, input: object): Promise<Answer["body"]> {
  const answer = await call(server, operation, input)
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300)
  return answer.body
}

/** Sends operations to a URL; in force on both servers when it resolves. */
async function route(document: { url: string; services?: object; routes?: object }): Promise<void> {
  const { url, services = {}, routes = {} } = document
  const { version } = await must(one, "routes.apply", { destinations: { east: { url } }, services, routes })
  for (const server of [one, two])
    await vi.waitFor(async () => expect(await must(server, "routes.list", {})).toMatchObject({ version }), waits)
}

describe("R1, R3: a sub-service that the map moves to another process", () => {
  test("approvals there: a call is held, approved and run, and all records are as if it were here", async () => {
    await route({ url: two.url, services: { approvals: "east" } })
    await must(one, "approval-groups.apply", { name: "ops", members: [{ mail: "ada@example.org" }, await ownMember()] })
    const levels = [{ name: "ops", group: "ops", strategy: { kind: "any" }, selfApproval: true }]
    await must(one, "templates.apply", { name: "one-level", levels })
    await must(one, "associations.apply", {
      ...{ name: "windows", template: "one-level", selector: { operation: "windows.*" } },
    })
    const held = await vi.waitFor(async () => {
      const answer = await call(one, "windows.apply", {
        name: "nightly",
        cron: "0 3 * * *",
        zone: "UTC",
        duration: "2h",
      })
      expect(answer.status).toBe(202)
      return answer.body
    }, waits)
    const request = String(held["requestUrl"]).replace(/^.*\//, "")
    const { digest } = await must(one, "approval-requests.get", { request })
    const approved = await must(one, "approval-requests.approve", { request, digest })
    expect(approved).toMatchObject({ state: "approved" })
    const waited = await must(one, "held-operations.wait", { request, seconds: 60 })
    expect(waited).toMatchObject({ state: "done", result: { name: "nightly" } })
    expect((await call(one, "windows.get", { name: "nightly" })).status).toBe(200)
    const audit = await one.test.database.query(
      "select principal, outcome from audit where operation = 'approval-requests.approve' and subject = $1",
      [request],
    )
    expect(audit).toHaveLength(1)
    await must(one, "associations.remove", { name: "windows" })
  })

  test("a repeated key makes one change, on whichever side the repeats are carried out", async () => {
    const put = async () => {
      const answer = await fetch(`${one.url}/v1/groups/moved`, {
        method: "PUT",
        headers: {
          authorization: `Bearer ${one.platformKey}`,
          "content-type": "application/json",
          "idempotency-key": "the-same-for-both",
        },
        body: JSON.stringify({ query: "role=web" }),
      })
      return { replayed: answer.headers.get("idempotency-replayed"), body: await answer.json() }
    }
    const here = await put()
    await route({ url: two.url, services: { fleet: "east" } })
    const there = await put()
    expect([here.replayed, there.replayed]).toEqual([null, "true"])
    expect(there.body).toEqual(here.body)
  })

  test("a refusal there is the same refusal here, with its details", async () => {
    const before = await call(one, "windows.get", { name: "no-such" })
    await route({ url: two.url, services: { calendars: "east" } })
    const after = await call(one, "windows.get", { name: "no-such" })
    expect(after.status).toBe(404)
    expect({ ...after.body, requestId: "" }).toEqual({ ...before.body, requestId: "" })
  })

  test("a call that a server takes goes no further, so that maps which point at one another make no circle", async () => {
    await must(one, "routes.apply", {
      destinations: { west: { url: two.url } },
      routes: { "keys.list": { services: ["identity@west"] } },
    })
    // The second server is called "east": it takes nothing that is for another one.
    const answer = await call(one, "keys.list", {})
    expect(answer.body).toMatchObject({ code: "routing.destination-refused" })
    await route({ url: two.url, routes: { "keys.list": { services: [] } } })
    expect((await forward("keys.list", {})).body.code).toBe("routing.no-route")
  })
})

async function ownMember(): Promise<{ principal: string }> {
  const { principal } = await must(one, "auth.whoami", {})
  return { principal: String(principal) }
}

/** A destination that is none: it says what it likes. */
async function stub(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  stubs.push(server)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe("R3: a destination that fails", () => {
  const keysAt = { "keys.list": { services: ["identity@east"] }, "groups.put": { services: ["fleet@east"] } }

  test("a dead one is named; what stays here goes on; a rollback brings it back", async () => {
    const url = await stub(() => undefined)
    await new Promise((resolve) => stubs.pop()?.close(resolve))
    await route({ url, routes: keysAt })
    const answer = await call(one, "keys.list", {})
    expect(answer).toMatchObject({ status: 503, body: { code: "routing.destination-unreachable", retryable: true } })
    expect(answer.body["detail"]).toContain('"east"')
    expect((await call(one, "keys.create", { name: "x", roles: ["viewer"] })).status).toBe(200)
    await must(one, "routes.reset", {})
    expect((await call(one, "keys.list", {})).status).toBe(200)
  })

  test("a read is sent again where the connection breaks; a change is not", async () => {
    let reads = 0
    let changes = 0
    const url = await stub((request) => {
      if (request.url?.endsWith("keys.list")) reads++
      else changes++
      request.socket.destroy()
    })
    await route({ url, routes: keysAt })
    expect((await call(one, "keys.list", {})).body.code).toBe("routing.destination-unreachable")
    const put = await call(one, "groups.put", { name: "g", query: "role=web" })
    expect(put.body.code).toBe("routing.destination-unreachable")
    expect([reads > 1, changes]).toEqual([true, 1])
  })

  const answered = (operation: string, body: object) => (status: number) =>
    stub((request, response) => {
      const chunks: Buffer[] = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        const sent = JSON.parse(Buffer.concat(chunks).toString()) as { context: { requestId: string } }
        const { requestId } = sent.context
        response.writeHead(status, { "content-type": "application/json" })
        response.end(JSON.stringify({ operation, requestId, repeated: false, ...body }))
      })
    })

  test.each<readonly [string, () => Promise<string>]>([
    ["answers another operation", () => answered("users.list", { value: { items: [] } })(200)],
    ["answers another call", () => answered("keys.list", { value: { items: [] }, requestId: "req_other" })(200)],
    ["answers what the operation never does", () => answered("keys.list", { value: { items: [{ id: 7 }] } })(200)],
    ["answers a page of HTML", () => stub((_, response) => response.end("<html>"))],
    ["sends elsewhere", () => stub((_, response) => response.writeHead(302, { location: "/" }).end())],
    ["refuses in words of its own", () => stub((_, response) => response.writeHead(500).end('{"code":"a.b"}'))],
  ])("one that %s is not believed", async (_name, start) => {
    await route({ url: await start(), routes: keysAt })
    expect((await call(one, "keys.list", {})).body.code).toBe("routing.destination-misbehaved")
  })
})

const contextOf = (requestId = "req_forwarded") => ({
  caller: {
    account: "main",
    principal: "usr_somebody",
    kind: "user",
    roles: ["viewer"],
    permissions: ["keys.read", "nodes.read"],
  },
  ...{ requestId, cause: requestId, depth: 0 },
})

let tokens = 0

interface Forged {
  readonly claims?: Partial<CallClaims>
  readonly key?: typeof signingKey
  readonly token?: string
  readonly body?: object
}

/** Sends what a server of the installation would send to `east`, changed as told. */
async function forward(operation: string, input: object, forged: Forged = {}): Promise<Answer & { token: string }> {
  const body = { input, context: contextOf() }
  const now = Math.floor(Date.now() / 1000)
  const token =
    forged.token ??
    signCallToken(forged.key ?? signingKey, {
      ...{ aud: "east", sub: operation, iat: now, exp: now + 30, jti: `token-${++tokens}-of-test` },
      digest: bodyDigest(body),
      ...forged.claims,
    })
  const answer = await two.call(token, "POST", `/internal/v1/calls/${operation}`, forged.body ?? body)
  return { ...answer, token }
}

describe("D7: what a destination takes", () => {
  const now = (): number => Math.floor(Date.now() / 1000)

  test("a call of a server that lives, once", async () => {
    const first = await forward("nodes.list", {})
    expect(first).toMatchObject({ status: 200, body: { operation: "nodes.list", requestId: "req_forwarded" } })
    const replayed = await forward("nodes.list", {}, { token: first.token })
    expect(replayed).toMatchObject({ status: 401, body: { code: "routing.call-refused" } })
    expect(replayed.body["detail"]).toContain("used before")
  })

  test.each<readonly [string, () => Forged, RegExp]>([
    ["no token of ours", () => ({ token: "not-a-token" }), /no token/],
    ["an API key", () => ({ token: one.platformKey }), /no token/],
    ["another key", () => ({ key: newSigningKey() }), /no server that lives/],
    ["another destination", () => ({ claims: { aud: "west" } }), /"west"/],
    ["another operation", () => ({ claims: { sub: "keys.list" } }), /operation/],
    ["another body", () => ({ body: { input: { limit: 1 }, context: contextOf() } }), /body/],
    ["a clock a minute behind", () => ({ claims: { iat: now() - 90, exp: now() - 60 } }), /expired/],
    ["a clock a minute ahead", () => ({ claims: { iat: now() + 60, exp: now() + 90 } }), /future/],
    ["a life of an hour", () => ({ claims: { exp: now() + 3600 } }), /life/],
  ])("not: %s", async (_name, forged, message) => {
    const answer = await forward("nodes.list", {}, forged())
    expect(answer).toMatchObject({ status: 401, body: { code: "routing.call-refused" } })
    expect(answer.body["detail"]).toMatch(message)
  })

  test("not what the caller may not do, though a server said so", async () => {
    expect((await forward("secrets.list", {})).body.code).toBe("identity.permission-denied")
  })

  test("nothing at all where a server is no destination", async () => {
    const answer = await one.call(undefined, "POST", "/internal/v1/calls/nodes.list", {})
    expect(answer.body.code).toBe("routing.unknown-path")
  })
})
