/** Rules and schedules that name operations of services outside: checked by the document when they are stored, and shown after. */
import { randomUUID } from "node:crypto"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"

let server: ServerFixture
let upstream: TestUpstream
let key: string
const bodies: string[] = []

const text = { type: "string" }
const order = {
  allOf: [{ $ref: "#/components/schemas/Thing" }],
  type: "object",
  required: ["amount", "lines"],
  properties: {
    amount: { type: "number", maximum: 100 },
    lines: { type: "array", items: { type: "object", properties: { sku: text }, required: ["sku"] } },
    next: { $ref: "#/components/schemas/Order" },
    either: { oneOf: [text, { type: "integer" }] },
    made: { type: "string", readOnly: true },
    open: { type: "object" },
  },
}
const responses = { 200: { description: "ok" } }

const document = {
  openapi: "3.0.3",
  info: { title: "Orders", version: "1" },
  components: { schemas: { Order: order, Thing: { type: "object", required: ["note"], properties: { note: text } } } },
  paths: {
    "/orders/{id}": {
      get: {
        operationId: "getOrder",
        parameters: [
          { name: "id", in: "path", required: true, schema: text },
          { name: "depth", in: "query", schema: { type: "integer" } },
        ],
        responses,
      },
      put: {
        operationId: "putOrder",
        parameters: [
          { name: "id", in: "path", required: true, schema: text },
          { name: "reason", in: "query", required: true, schema: text },
          { name: "dry", in: "query", schema: { type: "boolean" } },
        ],
        requestBody: {
          required: true,
          content: { "application/json": { schema: { $ref: "#/components/schemas/Order" } } },
        },
        responses,
      },
    },
  },
}

beforeAll(async () => {
  const rule = parseHostRule("127.0.0.1")
  server = await startServerFixture({ egress: { allow: rule ? [rule] : [], privateAllowed: false } })
  key = server.platformKey
  upstream = await startUpstream((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      bodies.push(Buffer.concat(chunks).toString())
      response.writeHead(200, { "content-type": "application/json" }).end("{}")
    })
  })
  await register(server, key, { name: "shop", urls: [upstream.url], document })
  expect((await server.call(key, "PUT", "/v1/triggers/manual", {})).status).toBe(200)
}, 60_000)

afterAll(async () => {
  await server.stop()
  await upstream.stop()
})

const put = (name: string, rule: object) => server.call(key, "PUT", `/v1/rules/${name}`, rule)

interface Issue {
  readonly path: string
  readonly message: string
}

async function issuesOf(rule: object): Promise<string[]> {
  const { status, body } = await put("tried", rule)
  if (status === 200) return []
  expect(body).toMatchObject({ status: 400, code: "rules.invalid-rule" })
  return (body["issues"] as Issue[]).map(({ path, message }) => `${path}: ${message}`)
}

const operation = "ext.shop.putOrder"
const deny = [{ deny: { reason: "no" } }]
const gate = (when: string, phase = "before") => ({
  on: [{ operation, phase }],
  when,
  do: phase === "before" ? deny : [{ operation: "groups.remove", input: { name: "x" } }],
})

describe("R7: conditions about services outside are typed by their documents", () => {
  test.each([
    "input.body.amount > 50 && input.query.reason == 'x' && input.path.id.startsWith('a')",
    "input.body.note == 'x' && input.body.lines.exists(line, line.sku == 'a')",
    "has(input.body.next) && has(input.body.next.next) && input.body.next.next.amount > 1",
    "has(input.query.dry) && input.query.dry == 'true'",
    "'x-flag' in input.headers && input.headers['x-flag'] == '1'",
    "'debug' in input.query || has(input.body.open) && has(input.body.open.anything)",
    "has(input.body.either) && input.body.either == 7",
  ])("%s", async (when) => {
    expect(await issuesOf(gate(when))).toEqual([])
  })

  test.each([
    ["input.body.amuont > 50", /there is no field "amuont"/],
    ["input.body.note > 5", /string/],
    ["input.body.lines.exists(line, line.skew == 'a')", /there is no field "skew"/],
    ["input.body.next.amount > 1", /input.body.next may be absent/],
    ["input.query.dry == 'true'", /input.query.dry may be absent/],
    ["input.query.debug == 'true'", /there is no field "debug"/],
    ["input.path.name == 'x'", /there is no field "name"/],
    ["input.url == 'x'", /there is no field "url"/],
    ["input.query.reason > 5", /string/],
  ])("%s is refused", async (when, message) => {
    expect(await issuesOf(gate(when))).toEqual([expect.stringMatching(message)])
  })

  test("of what follows a call, the reply's status is always known", async () => {
    expect(await issuesOf(gate("output.status == 200", "after"))).toEqual([])
    expect(await issuesOf(gate("output.body == 1", "after"))).toEqual([expect.stringMatching("may be absent")])
  })

  test("an operation that isn't there, and one that can't wait, are refused; a whole service may grow", async () => {
    expect(await issuesOf({ on: [{ operation: "ext.shop.puttOrder", phase: "before" }], do: deny })).toEqual([
      'on.0.operation: there is no operation "ext.shop.puttOrder"',
    ])
    const delayed = { on: [{ operation: "ext.shop.getOrder", phase: "before" }], do: [{ delay: "1h" }] }
    expect(await issuesOf(delayed)).toEqual([expect.stringMatching(/^on.0.operation: .*can't be held/)])
    expect(await issuesOf({ on: [{ operation: "ext.later.*", phase: "before" }], do: deny })).toEqual([])
  })
})

const whole = { path: { id: "7" }, query: { reason: "x" }, body: { amount: 1, lines: [], note: "n" } }
const acts = (input: object, name = operation) => ({ on: [{ trigger: "manual" }], do: [{ operation: name, input }] })

describe("R6, R7: what a rule calls outside is checked when it is stored", () => {
  test.each([
    whole,
    { ...whole, path: { id: "${{ event.id }}" }, query: { reason: 7, dry: true } },
    {
      ...whole,
      body: { amount: "${{ event.depth }}", lines: [{ sku: "${{ event.id }}" }], note: "n", open: { a: 1 } },
    },
    { ...whole, body: "${{ event.data }}", query: "${{ event.data }}" },
    { ...whole, body: "text", headers: { "Content-Type": "text/plain" } },
  ])("%j", async (input) => {
    expect(await issuesOf(acts(input))).toEqual([])
  })

  const at = "do.0.input"
  test.each([
    [{ ...whole, path: {} }, [`${at}.path.id: "ext.shop.putOrder" needs it`]],
    [{}, ["path.id", "query.reason", "body"].map((field) => `${at}.${field}: "ext.shop.putOrder" needs it`)],
    [{ ...whole, boddy: {} }, [`${at}.boddy: "ext.shop.putOrder" has no field "boddy"`]],
    [{ ...whole, query: { reason: "x", why: 1 } }, [expect.stringMatching(`^${at}.query.why: `)]],
    [{ ...whole, query: { reason: "x", dry: "maybe" } }, [expect.stringMatching(`^${at}.query.dry: .*boolean`)]],
    [{ ...whole, query: { reason: null } }, [expect.stringMatching(`^${at}.query.reason: `)]],
    [{ ...whole, headers: { Authorization: "x" } }, [expect.stringMatching(`^${at}.headers.Authorization: `)]],
    [{ ...whole, body: { ...whole.body, amount: 101 } }, [expect.stringMatching(`^${at}.body.amount: `)]],
    [
      { ...whole, body: { amount: "${{ event.depth }}", lines: [] } },
      [`${at}.body.note: "ext.shop.putOrder" needs it`],
    ],
    [
      { ...whole, body: { ...whole.body, note: "${{ event.id }}", lines: [{}] } },
      [expect.stringMatching(`^${at}.body.lines`)],
    ],
    [
      { ...whole, body: { ...whole.body, note: "${{ event.id }}", amuont: 1 } },
      [expect.stringMatching(`^${at}.body.amuont: `)],
    ],
  ])("%j is refused", async (input, issues) => {
    expect(await issuesOf(acts(input))).toEqual(issues)
  })

  test("an operation that there isn't, and one that changes nothing", async () => {
    expect(await issuesOf(acts({}, "ext.shop.nothing"))).toEqual([
      'do.0.operation: there is no operation "ext.shop.nothing"',
    ])
    expect(await issuesOf(acts({}, "ext.none.putOrder"))).toEqual([
      'do.0.operation: there is no operation "ext.none.putOrder"',
    ])
    expect(await issuesOf(acts({ path: { id: "7" } }, "ext.shop.getOrder"))).toEqual([
      'do.0.operation: "ext.shop.getOrder" changes nothing',
    ])
  })

  test("a schedule is checked in the same way", async () => {
    const schedule = (input: object) =>
      server.call(key, "PUT", "/v1/schedules/nightly", { cron: "0 3 * * *", zone: "UTC", call: { operation, input } })
    expect((await schedule(whole)).status).toBe(200)
    expect(await schedule({ ...whole, query: {} })).toMatchObject({
      status: 400,
      body: { code: "calendars.call-refused", issues: [{ path: "call.input.query.reason" }] },
    })
    expect((await schedule({ ...whole, body: { ...whole.body, amount: "1" } })).body).toMatchObject({
      issues: [{ path: "call.input.body.amount" }],
    })
  })
})

test("R7: a rule whose service says something else by now, or is gone, is shown as outdated", async () => {
  await register(server, key, { name: "brief", urls: [upstream.url], document })
  const acting = acts(whole, "ext.brief.putOrder")
  expect((await put("acting", acting)).status).toBe(200)
  const gating = { ...gate("input.body.amount > 50"), on: [{ operation: "ext.brief.putOrder", phase: "before" }] }
  expect((await put("gating", gating)).status).toBe(200)
  const outdated = async (): Promise<Record<string, unknown>> => {
    const { body } = await server.call(key, "GET", "/v1/rules")
    const shown = await server.call(key, "GET", "/v1/rules/acting")
    const tried = await server.call(key, "POST", "/v1/rules:test", { name: "acting", event: { type: "trigger.fired" } })
    const items = body["items"] as Array<{ name: string; outdated?: string }>
    const listed = Object.fromEntries(items.flatMap(({ name, outdated: why }) => (why ? [[name, why]] : [])))
    expect(shown.body["outdated"]).toBe(listed["acting"])
    expect(tried.body["outdated"]).toBe(listed["acting"])
    return listed
  }
  expect(await outdated()).toEqual({})
  const { amount: _, ...properties } = order.properties
  const changed = { ...document.components.schemas, Order: { ...order, required: ["lines"], properties } }
  await register(server, key, {
    ...{ name: "brief", urls: [upstream.url] },
    document: { ...document, components: { schemas: changed } },
  })
  expect(await outdated()).toEqual({
    acting: expect.stringMatching(/^do.0.input.body.*/),
    gating: expect.stringMatching(/^when: there is no field "amount"/),
  })
  expect((await server.call(key, "DELETE", "/v1/services/brief")).status).toBe(200)
  expect(await outdated()).toEqual({
    acting: 'do.0.operation: there is no operation "ext.brief.putOrder"',
    gating: 'on.0.operation: there is no operation "ext.brief.putOrder"',
  })
  await register(server, key, { name: "brief", urls: [upstream.url], document })
  expect(await outdated()).toEqual({})
  expect(bodies).toEqual([])
  expect((await server.call(key, "POST", "/v1/triggers/manual:fire", { data: { word: randomUUID() } })).status).toBe(
    200,
  )
  await expect.poll(() => bodies, { timeout: 60_000 }).toContain('{"amount":1,"lines":[],"note":"n"}')
})
