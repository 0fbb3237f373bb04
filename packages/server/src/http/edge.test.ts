import { permissionsOf } from "@signalbox/contracts/identity/roles"
import { operations } from "@signalbox/contracts/operations"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { shortestWait, startServerFixture, type ServerFixture } from "./edge.fixture.ts"

let server: ServerFixture
const auth = (key: string) => `authorization: Bearer ${key}\r\n`

beforeAll(async () => {
  server = await startServerFixture()
})

afterAll(() => server.stop())

describe("bad input", () => {
  test("an unknown path, method and operation each say what to do", async () => {
    const path = await server.call(server.platformKey, "GET", "/v1/nothing")
    expect([path.status, path.body.code]).toEqual([404, "routing.unknown-path"])
    const method = await server.call(server.platformKey, "PUT", "/v1/keys", {})
    expect(method.body["detail"]).toContain("it takes")
    const operation = await server.call(server.platformKey, "POST", "/v1/operations/nodes.lst", {})
    expect(operation.body["detail"]).toContain("nodes.list")
    expect(operation.body["help"]).toContain("operations list")
    expect(String(operation.body["requestId"])).toMatch(/^req_/)
  })

  test.each([
    ["no JSON", "{", "request.invalid-json"],
    ["a list", "[]", "request.invalid-input"],
    ["a number", "7", "request.invalid-input"],
  ])("a body that is %s", async (_what, body, code) => {
    const answer = await fetch(`${server.url}/v1/keys`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${server.platformKey}`,
        "content-type": "application/json",
        "idempotency-key": "12345678",
      },
      body,
    })
    expect(answer.headers.get("content-type")).toContain("application/problem+json")
    expect(((await answer.json()) as { code: string }).code).toBe(code)
  })

  test("a body of another type, and a body over the limit", async () => {
    const headers = { authorization: `Bearer ${server.platformKey}`, "idempotency-key": "12345678" }
    const xml = await fetch(`${server.url}/v1/keys`, {
      method: "POST",
      headers: { ...headers, "content-type": "text/xml" },
      body: "<a/>",
    })
    expect([xml.status, ((await xml.json()) as { code: string }).code]).toEqual([400, "request.unsupported-media-type"])
    const large = await fetch(`${server.url}/v1/workflows/big`, {
      method: "PUT",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify({ document: "x".repeat(10 * 1024 * 1024) }),
    })
    expect([large.status, ((await large.json()) as { code: string }).code]).toEqual([413, "request.body-too-large"])
  })

  test("an unknown field is named, with its place", async () => {
    const answer = await server.call(server.platformKey, "POST", "/v1/keys", {
      name: "x",
      roles: ["viewer"],
      colour: 1,
    })
    expect(answer.status).toBe(400)
    expect(JSON.stringify(answer.body["issues"])).toContain("colour")
  })

  test("no stack trace and no SQL ever reach the caller", async () => {
    for (const id of ["'; drop table nodes; --", "%00", "..%2f..%2fetc%2fpasswd", "x".repeat(300)]) {
      const answer = await server.call(server.platformKey, "GET", `/v1/executions/${encodeURIComponent(id)}`)
      expect(answer.status).toBeLessThan(500)
      expect(JSON.stringify(answer.body)).not.toMatch(/at .*\.ts|select |node_modules/)
    }
  })

  test("broken HTTP is refused and the server goes on", async () => {
    expect(await server.raw("NONSENSE\r\n\r\n")).toContain("400")
    expect(
      await server.raw(`GET /v1/nodes HTTP/1.1\r\nhost: x\r\n${auth("sbx_x")}connection: close\r\n\r\n`),
    ).toContain("401")
    expect((await server.call(undefined, "GET", "/healthz")).status).toBe(200)
  })
})

describe("documents", () => {
  test("OpenAPI, the workflow schema and health need no key", async () => {
    const openapi = await server.call(undefined, "GET", "/v1/openapi.json")
    expect(String(openapi.body["openapi"])).toMatch(/^3\.1\./)
    expect(JSON.stringify(openapi.body)).toContain("executions.create")
    expect((await server.call(undefined, "GET", "/v1/schemas/workflow.json")).status).toBe(200)
    expect((await server.call(undefined, "GET", "/readyz")).body).toEqual({ status: "ready" })
  })

  test("every operation can be called by its name", async () => {
    for (const operation of operations.filter((each) => each.effect === "read" && each.method === "GET")) {
      const input = shortestWait(operation)
      const answer = await server.call(server.platformKey, "POST", `/v1/operations/${operation.name}`, input)
      // 409: sessions are of users, and this is a key. 403: only a link or a feed's address may.
      const permitted = permissionsOf(["platform"]).has(operation.permission)
      expect(permitted ? [200, 400, 409] : [403], operation.name).toContain(answer.status)
    }
  })
})

describe("limits", () => {
  test("calls over the limit are refused with Retry-After", async () => {
    const small = await startServerFixture({ callsPerSecondMax: 5 })
    try {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => small.call(small.platformKey, "GET", "/v1/auth/whoami")),
      )
      const refused = answers.find((answer) => answer.status === 429)
      expect(refused?.body.code).toBe("request.rate-limited")
      expect(refused?.headers.get("retry-after")).toBeTruthy()
    } finally {
      await small.stop()
    }
  })
})

describe("the event stream", () => {
  test("delivers what happens, and resumes after the last event without loss or repeat", async () => {
    const seen: string[] = []
    const read = async (lastEventId: string | undefined, count: number): Promise<string | undefined> => {
      const controller = new AbortController()
      const response = await fetch(`${server.url}/v1/events:watch?type=key.created`, {
        headers: {
          authorization: `Bearer ${server.platformKey}`,
          ...(lastEventId ? { "last-event-id": lastEventId } : {}),
        },
        signal: controller.signal,
      })
      let id: string | undefined
      let taken = 0
      let buffer = ""
      for await (const chunk of response.body ?? []) {
        buffer += Buffer.from(chunk as Uint8Array).toString()
        const messages = buffer.split("\n\n")
        buffer = messages.pop() ?? ""
        for (const message of messages) {
          const data = /^data: (.*)$/m.exec(message)?.[1]
          if (!data || taken === count) continue
          id = /^id: (.*)$/m.exec(message)?.[1]
          seen.push((JSON.parse(data) as { data: { name: string } }).data.name)
          taken++
        }
        if (taken === count) break
      }
      controller.abort()
      return id
    }
    const create = (name: string) => server.call(server.platformKey, "POST", "/v1/keys", { name, roles: ["viewer"] })
    const first = await server.call(server.platformKey, "GET", "/v1/events?limit=1000&type=key.created")
    const before = (first.body["items"] as unknown[]).length
    const reading = read(undefined, 2)
    await new Promise((resolve) => setTimeout(resolve, 300))
    await create("a")
    await create("b")
    const last = await reading
    await create("c")
    await create("d")
    await read(last, 2)
    expect(seen).toEqual(["a", "b", "c", "d"])
    const all = await server.call(server.platformKey, "GET", "/v1/events?limit=1000&type=key.created")
    expect((all.body["items"] as unknown[]).length).toBe(before + 4)
  })
})
