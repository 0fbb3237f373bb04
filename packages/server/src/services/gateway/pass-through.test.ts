import { afterAll, beforeAll, expect, test } from "vitest"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { parseHostRule } from "../../egress/host-rule.ts"
import { documentOfThings, register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"

let server: ServerFixture
let upstream: TestUpstream
let key: string

beforeAll(async () => {
  const rule = parseHostRule("127.0.0.1")
  server = await startServerFixture({ egress: { allow: rule ? [rule] : [], privateAllowed: false } })
  key = server.platformKey
  upstream = await startUpstream((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const { method, url, headers } = request
      if (headers["x-page"] !== undefined) {
        response.writeHead(200, {
          "content-type": String(headers["x-page"]),
          "content-security-policy": "default-src 'self'",
        })
        return void response.end("<script>fetch('/v1/keys')</script>")
      }
      response.writeHead(request.method === "POST" ? 201 : 200, [
        ...["content-type", "application/json", "set-cookie", "a=1", "set-cookie", "b=2"],
        ...["connection", "x-internal", "x-internal", "1", "signalbox-started", "forged"],
      ])
      response.end(JSON.stringify({ method, url, headers, body: Buffer.concat(chunks).toString() }))
    })
  })
})

afterAll(async () => {
  await server.stop()
  await upstream.stop()
})

interface Told {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: string
}

interface PassInit extends Omit<RequestInit, "headers"> {
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
}

async function pass(path: string, init: PassInit = {}) {
  const response = await fetch(`${server.url}/x/${path}`, {
    ...init,
    headers: { authorization: `Bearer ${init.token ?? key}`, ...init.headers },
  })
  const text = await response.text()
  return { response, body: (text === "" ? {} : JSON.parse(text)) as Told & { code: string } }
}

test("R3: a registered service's operations are called at its own paths under one prefix", async () => {
  const made = await register(server, key, { name: "things", urls: [`${upstream.url}/base`] })
  expect(made).toMatchObject({ title: "Things", apiVersion: "1.2.3", operationsCount: 7, changed: true, version: 1 })

  const read = await pass("things/things/7?limit=3&x=a%20b")
  expect(read.response.status).toBe(200)
  expect(read.body).toMatchObject({ method: "GET", url: "/base/things/7?limit=3&x=a%20b" })

  const posted = await pass("things/things", { method: "POST", body: JSON.stringify({ a: 1 }) })
  expect(posted.response.status).toBe(201)
  expect(posted.body).toMatchObject({ method: "POST", url: "/base/things", body: '{"a":1}' })
})

test("the same document again changes nothing; an edit is in force at once", async () => {
  await register(server, key, { name: "edited", urls: [upstream.url] })
  expect(await register(server, key, { name: "edited", urls: [upstream.url] })).toMatchObject({ changed: false })
  const { "/things": things } = documentOfThings.paths
  const document = { ...documentOfThings, paths: { "/other": { get: things.get } } }
  expect(await register(server, key, { name: "edited", urls: [upstream.url], document })).toMatchObject({ version: 2 })
  expect((await pass("edited/other")).response.status).toBe(200)
  expect((await pass("edited/things")).body.code).toBe("routing.unknown-path")
})

test("headers: the caller's key stays here, what tells of the caller is ours, hop-by-hop ones go no further", async () => {
  await register(server, key, { name: "headers", urls: [upstream.url] })
  const { response, body } = await pass("headers/things", {
    headers: {
      "x-forwarded-for": "203.0.113.9",
      forwarded: "for=203.0.113.9",
      "signalbox-principal": "usr_forged",
      "x-request-id": "forged",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "x-custom": "kept",
      te: "trailers",
    },
  })
  const { headers } = body
  expect(headers["authorization"]).toBeUndefined()
  expect(headers["te"]).toBeUndefined()
  expect(headers).toMatchObject({
    host: `127.0.0.1:${upstream.port}`,
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "x-custom": "kept",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-proto": "http",
    "x-forwarded-host": `127.0.0.1:${server.port}`,
    forwarded: `for=127.0.0.1;host="127.0.0.1:${server.port}";proto=http`,
    "signalbox-account": "main",
  })
  expect(headers["signalbox-principal"]).toMatch(/^key:key_/)
  expect(headers["signalbox-cause"]).toBe(response.headers.get("x-request-id"))
  expect(headers["x-request-id"]).toBe(response.headers.get("x-request-id"))
  expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"])
  expect(response.headers.get("x-internal")).toBeNull()
  expect(response.headers.get("signalbox-started")).toBeNull()
})

test("a service that is trusted with it gets the caller's key; one with credentials gets those", async () => {
  await register(server, key, { name: "trusted", urls: [upstream.url], forwardAuthorization: true })
  expect((await pass("trusted/things")).body.headers["authorization"]).toBe(`Bearer ${key}`)
  expect((await server.call(key, "PUT", "/v1/secrets/things-token", { value: "token-of-things" })).status).toBe(200)
  const credentials = { kind: "bearer", secret: "things-token" }
  await register(server, key, { name: "shown", urls: [upstream.url], credentials })
  expect((await pass("shown/things")).body.headers["authorization"]).toBe("Bearer token-of-things")
  const header = { kind: "header", header: "X-Api-Key", secret: "things-token" }
  await register(server, key, { name: "shown-key", urls: [upstream.url], credentials: header })
  const { body } = await pass("shown-key/things", { headers: { "x-api-key": "the caller's" } })
  expect(body.headers).toMatchObject({ "x-api-key": "token-of-things" })
})

test("refusals: no key, an unknown service, path or method, and what a role may not call", async () => {
  await register(server, key, {
    ...{ name: "guarded", urls: [upstream.url] },
    operations: { getThing: { roles: ["admin"] }, newestThing: { effect: "change" } },
  })
  const before = upstream.requests.length
  const codeOf = async (...call: Parameters<typeof pass>) => {
    const { response, body } = await pass(...call)
    return [response.status, body.code]
  }
  expect(await codeOf("guarded/things", { token: "nonsense" })).toEqual([401, "identity.invalid-credentials"])
  expect(await codeOf("nobody/things")).toEqual([404, "gateway.service-not-found"])
  expect(await codeOf("guarded/other")).toEqual([404, "routing.unknown-path"])
  expect(await codeOf("guarded/things", { method: "PATCH" })).toEqual([404, "routing.unknown-path"])
  for (const path of ["things%2f7", "things//7", "things/a%5cb", "things/..;/x"])
    expect(await codeOf(`guarded/${path}`), path).toEqual([400, "gateway.invalid-path"])
  const line = "GET /x/guarded/things/%2e%2E/x HTTP/1.1"
  const raw = await server.raw(`${line}\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${key}\r\n\r\n`)
  expect(raw).toContain('"code":"gateway.invalid-path"')
  const viewer = (await server.call(key, "POST", "/v1/keys", { name: "v", roles: ["viewer"] })).body["key"] as string
  expect(await codeOf("guarded/things", { method: "POST", token: viewer })).toEqual([403, "identity.permission-denied"])
  expect(await codeOf("guarded/things/newest", { token: viewer })).toEqual([403, "identity.permission-denied"])
  expect(await codeOf("guarded/things/7", { token: viewer })).toEqual([403, "gateway.role-required"])
  expect(upstream.requests.length).toBe(before)
  expect((await pass("guarded/things", { token: viewer })).response.status).toBe(200)
})

test("another account neither sees nor calls a service", async () => {
  await register(server, key, { name: "own", urls: [upstream.url] })
  const other = (await server.call(key, "POST", "/v1/accounts", { id: "other" })).body["key"] as string
  expect((await pass("own/things", { token: other })).body.code).toBe("gateway.service-not-found")
  expect((await server.call(other, "GET", "/v1/services/own")).status).toBe(404)
  expect((await server.call(other, "GET", "/v1/services")).body["items"]).toEqual([])
})

test("base URLs that lead to this machine are refused unless the settings name them", async () => {
  for (const url of ["http://127.0.0.2:9", "http://169.254.169.254", "http://[::1]:9", "http://10.0.0.1"]) {
    const answer = await server.call(key, "PUT", "/v1/services/inward", {
      document: documentOfThings,
      upstreams: [{ url }],
    })
    expect([answer.status, answer.body.code], url).toEqual([400, "gateway.invalid-service"])
  }
})

test("a document that can't be called is refused with the places", async () => {
  const put = (document: unknown) =>
    server.call(key, "PUT", "/v1/services/wrong", { document, upstreams: [{ url: upstream.url }] })
  const answer = await put({ ...documentOfThings, paths: { "/a": { get: { responses: {} } } } })
  expect([answer.status, answer.body.code]).toEqual([400, "gateway.invalid-document"])
  expect(JSON.stringify(answer.body["issues"])).toContain("document.paths./a.get")
  expect((await put({ swagger: "2.0" })).body.code).toBe("gateway.invalid-document")
  expect((await put({ ...documentOfThings, info: {} })).body.code).toBe("gateway.invalid-document")
})

test("a service is listed with its operations, checked and removed", async () => {
  await register(server, key, { name: "shortlived", urls: [upstream.url] })
  const shown = (await server.call(key, "GET", "/v1/services/shortlived")).body as unknown as {
    callable: Array<{ name: string }>
  }
  expect(shown.callable.map(({ name }) => name)).toContain("ext.shortlived.listThings")
  const checked = (await server.call(key, "GET", "/v1/services/shortlived:check")).body
  expect(checked).toMatchObject({ upstreams: [{ reachable: true, status: 200, state: "healthy", pending: 0 }] })
  expect((await server.call(key, "DELETE", "/v1/services/shortlived")).status).toBe(200)
  expect((await pass("shortlived/things")).body.code).toBe("gateway.service-not-found")
})

test("a page of a service is one of nowhere to a browser, and what is none may not be taken for one", async () => {
  await register(server, key, { name: "pages", urls: [upstream.url] })
  const headersOf = async (type: string) => {
    const response = await fetch(`${server.url}/x/pages/things`, {
      headers: { authorization: `Bearer ${key}`, "x-page": type },
    })
    await response.text()
    return response.headers
  }
  for (const type of ["text/html; charset=utf-8", "image/svg+xml", "application/xhtml+xml", "text/plain"]) {
    const headers = await headersOf(type)
    expect(headers.get("content-security-policy"), type).toBe("default-src 'self', sandbox")
    expect(headers.get("x-content-type-options"), type).toBe("nosniff")
  }
  expect((await headersOf("application/json")).get("content-security-policy")).toBe("default-src 'self'")
})

test("D4, D21: a change that is passed through is on the audit record with what came of it, a read is not", async () => {
  await register(server, key, { name: "recorded", urls: [upstream.url] })
  await register(server, key, { name: "closed", urls: ["http://127.0.0.1:9"], retries: 0 })
  const idOf = async (path: string, method: string): Promise<string> => {
    const { response } = await pass(path, { method, ...(method === "POST" ? { body: "{}" } : {}) })
    return response.headers.get("x-request-id") ?? ""
  }
  const made = await idOf("recorded/things", "POST")
  const refused = await idOf("closed/things", "POST")
  const read = await idOf("recorded/things", "GET")
  const outcomes = () =>
    server.test.database.query<{ id: string; outcome: string; operation: string }>(
      "select id, outcome, operation from audit where id = any($1::text[]) order by id",
      [[made, refused, read]],
    )
  await expect.poll(async () => (await outcomes()).length, { timeout: 30_000 }).toBe(2)
  expect(await outcomes()).toEqual([
    { id: made, outcome: "done", operation: "ext.recorded.makeThing" },
    { id: refused, outcome: "gateway.unreachable", operation: "ext.closed.makeThing" },
  ])
})
