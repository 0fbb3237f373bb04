/** Operations of services outside, called by their names like any other. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { documentOfThings, register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"

let server: ServerFixture
let upstream: TestUpstream
let key: string
let sequence = 0
/** What the service says next. */
let answer: { status?: number; type?: string; body?: string | Buffer; cut?: boolean } = {}

beforeAll(async () => {
  const rule = parseHostRule("127.0.0.1")
  server = await startServerFixture({ egress: { allow: rule ? [rule] : [], privateAllowed: false } })
  key = server.platformKey
  upstream = await startUpstream((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      if (answer.cut) return void request.socket.destroy()
      const { method, url, headers } = request
      const told = JSON.stringify({ method, url, headers, body: Buffer.concat(chunks).toString() })
      response.writeHead(answer.status ?? 200, { "content-type": answer.type ?? "application/json", "x-own": "1" })
      response.end(answer.body ?? told)
    })
  })
  await register(server, key, {
    name: "things",
    urls: [`${upstream.url}/base`],
    operations: { putThing: { retrySafe: true }, removeThing: { roles: ["backend"] } },
  })
})

beforeEach(() => {
  answer = {}
  upstream.requests.length = 0
})

afterAll(async () => {
  await server.stop()
  await upstream.stop()
})

interface Reply {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: {
    readonly method: string
    readonly url: string
    readonly headers: Record<string, string>
    readonly body: string
  }
}

async function call(id: string, input: object, headers: Record<string, string> = {}) {
  const response = await fetch(`${server.url}/v1/operations/ext.things.${id}`, {
    method: "POST",
    headers: {
      ...{ authorization: `Bearer ${key}`, "content-type": "application/json" },
      ...{ "idempotency-key": `by-name-${++sequence}`, ...headers },
    },
    body: JSON.stringify(input),
  })
  const body = (await response.json()) as Reply & { code: string; details?: { reply: Reply } }
  return { status: response.status, headers: response.headers, body }
}

const sql = <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  server.test.database.query<Row>(text, values)
const rowsLeft = async (): Promise<number> => (await sql("select 1 as one from external_calls")).length

test("R3: a read by name writes path, query and headers, and gives status, headers and body", async () => {
  const { status, body } = await call("getThing", {
    path: { id: "a b" },
    query: { limit: 3, tag: ["x", "y"] },
    headers: { "X-Custom": "kept" },
  })
  expect(status).toBe(200)
  expect(body).toMatchObject({
    status: 200,
    headers: { "content-type": "application/json" },
    body: { method: "GET", url: "/base/things/a%20b?limit=3&tag=x&tag=y" },
  })
  expect(body.headers).not.toHaveProperty("x-own")
  expect(body.body.headers).toMatchObject({ "x-custom": "kept", "signalbox-account": "main", "signalbox-depth": "0" })
  expect(body.body.headers["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  expect(body.body.headers).not.toHaveProperty("authorization")
})

test("R3: a change by name is sent once under its key, and is on record", async () => {
  const sent = { body: { a: 1 } }
  const first = await call("makeThing", sent, { "idempotency-key": "the-same-change" })
  expect(first.body).toMatchObject({ status: 200, body: { method: "POST", body: '{"a":1}' } })
  expect(first.body.body.headers["idempotency-key"]).toBe("the-same-change")
  const again = await call("makeThing", sent, { "idempotency-key": "the-same-change" })
  expect(again.body).toEqual(first.body)
  expect(again.headers.get("idempotency-replayed")).toBe("true")
  expect(upstream.requests).toHaveLength(1)
  const other = await call("makeThing", { body: { a: 2 } }, { "idempotency-key": "the-same-change" })
  expect(other.body.code).toBe("request.idempotency-key-reused")
  const [record] = await sql<{ outcome: string; subject: string }>("select outcome, subject from audit where id = $1", [
    first.headers.get("x-request-id"),
  ])
  expect(record).toEqual({ outcome: "done", subject: first.headers.get("x-request-id") })
  expect(await rowsLeft()).toBe(0)
})

test("inputs that make no request are refused with their places, and nothing is sent", async () => {
  const refused: Array<[string, object, string]> = [
    ["getThing", {}, "path.id"],
    ["getThing", { path: { id: "" } }, "path.id"],
    ["getThing", { path: { id: "1", other: "2" } }, "path.other"],
    ["getThing", { path: { id: "1" }, headers: { Authorization: "x" } }, "headers.Authorization"],
    ["getThing", { path: { id: "1" }, headers: { "signalbox-principal": "x" } }, "headers.signalbox-principal"],
    ["getThing", { path: { id: "1" }, headers: { "x-a": "1\r\nx-b: 2" } }, "headers.x-a"],
    ["makeThing", { body: {}, headers: { "content-type": "text/plain" } }, "body"],
    ["makeThing", { body: {}, bodyBase64: "AA==" }, "body"],
  ]
  for (const [id, input, path] of refused) {
    const { status, body } = await call(id, input)
    expect([status, body.code], JSON.stringify(input)).toEqual([400, "request.invalid-input"])
    expect((body as unknown as { issues: Array<{ path: string }> }).issues[0]?.path).toBe(path)
  }
  for (const id of ["..", ".", "a/b", "a\\b", "x%2Fy/..", "\u0000"]) {
    const { body } = await call("getThing", { path: { id } })
    expect(["gateway.invalid-path", "request.invalid-input"], id).toContain(body.code ?? body.status)
  }
  expect(upstream.requests.filter(({ url }) => !url?.includes("x%252F"))).toHaveLength(0)
})

test("bodies that are no JSON go and come: texts as text, others in base64", async () => {
  answer = { type: "text/plain", body: "häll" }
  expect((await call("listThings", {})).body).toMatchObject({ body: "häll" })
  answer = { type: "image/png", body: Buffer.from([0, 255, 1]) }
  expect((await call("listThings", {})).body).toMatchObject({ bodyBase64: Buffer.from([0, 255, 1]).toString("base64") })
  answer = { type: "application/json", body: '{"a":"\\u0000"}' }
  expect((await call("makeThing", {})).body).toHaveProperty("bodyBase64")
  answer = {}
  const sent = await call("makeThing", { bodyBase64: "aMOk", headers: { "content-type": "text/plain" } })
  expect(sent.body.body).toMatchObject({ body: "hä", headers: { "content-type": "text/plain" } })
})

test("a reply that is too long is refused where it is read, and left out where something was done", async () => {
  answer = { type: "text/plain", body: "x".repeat(1024 * 1024 + 1) }
  expect(await call("listThings", {})).toMatchObject({ status: 413, body: { code: "gateway.reply-too-large" } })
  expect((await call("makeThing", {})).body).toMatchObject({ status: 200, bodyOmitted: "too-large" })
})

test("what a service refuses is an error with its reply, leaves an audit record and no key", async () => {
  answer = { status: 422, body: '{"why":"no"}' }
  const refused = await call("makeThing", {}, { "idempotency-key": "refused-at-first" })
  expect(refused).toMatchObject({ status: 422, body: { code: "gateway.service-refused" } })
  expect(refused.body.details?.reply).toMatchObject({ status: 422, body: { why: "no" } })
  const [record] = await sql<{ outcome: string }>("select outcome from audit where id = $1", [
    refused.headers.get("x-request-id"),
  ])
  expect(record?.outcome).toBe("gateway.service-refused")
  for (const [status, code, told] of [
    [500, "gateway.service-failed", 502],
    [503, "gateway.service-unavailable", 503],
    [429, "gateway.service-unavailable", 503],
  ] as const) {
    answer = { status }
    expect(await call("makeThing", {})).toMatchObject({ status: told, body: { code } })
  }
  answer = { status: 500 }
  expect((await call("putThing", { path: { id: "1" } })).body.code).toBe("gateway.service-unavailable")
  answer = {}
  expect((await call("makeThing", {}, { "idempotency-key": "refused-at-first" })).status).toBe(200)
  expect(await rowsLeft()).toBe(0)
})

test("D6: where no reply comes nobody knows, and the call is not sent again unless it bears that", async () => {
  answer = { cut: true }
  const lost = await call("makeThing", {}, { "idempotency-key": "nobody-knows" })
  expect(lost).toMatchObject({ status: 502, body: { code: "gateway.outcome-unknown" } })
  answer = {}
  const again = await call("makeThing", {}, { "idempotency-key": "nobody-knows" })
  expect(again).toMatchObject({ status: 502, body: { code: "gateway.outcome-unknown" } })
  expect(upstream.requests).toHaveLength(1)
  const [record] = await sql<{ outcome: string }>("select outcome from audit where id = $1", [
    lost.headers.get("x-request-id"),
  ])
  expect(record?.outcome).toBe("gateway.outcome-unknown")

  answer = { cut: true }
  const safe = { path: { id: "1" }, body: {} }
  const unanswered = await call("putThing", safe, { "idempotency-key": "again-then" })
  expect(unanswered.body.code).toBe("gateway.unanswered")
  answer = {}
  const answered = await call("putThing", safe, { "idempotency-key": "again-then" })
  expect(answered.status).toBe(200)
  expect(upstream.requests.map(({ headers }) => headers["idempotency-key"])).toEqual([
    "nobody-knows",
    "again-then",
    "again-then",
  ])
})

test("all stages run: credentials, keys, permissions, roles, names, accounts", async () => {
  const bare = { "idempotency-key": "" }
  expect((await call("makeThing", {}, bare)).body.code).toBe("request.idempotency-key-required")
  expect((await call("removeThing", { path: { id: "1" } })).body.code).toBe("gateway.role-required")
  expect((await call("nothing", {})).body.code).toBe("routing.unknown-operation")
  const viewer = await server.call(key, "POST", "/v1/keys", { name: "viewer", roles: ["viewer"] })
  const asViewer = { authorization: `Bearer ${String(viewer.body["key"])}` }
  await expect
    .poll(async () => (await call("makeThing", {}, asViewer)).body.code, { timeout: 30_000 })
    .toBe("identity.permission-denied")
  expect(upstream.requests).toHaveLength(0)
  const list = await server.call(key, "GET", "/v1/operations")
  expect((list.body["items"] as Array<{ name: string }>).map(({ name }) => name)).toContain("ext.things.makeThing")
  expect(documentOfThings.paths).toHaveProperty("/things")
})
