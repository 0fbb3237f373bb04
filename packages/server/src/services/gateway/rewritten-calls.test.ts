/** Calls to services outside that rules rewrite, by both doors, and what of a call can't be rewritten. */
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { rulesPut, rulesRemove } from "@signalbox/contracts/rules/operations"
import { randomUUID } from "node:crypto"
import { request as openRequest } from "node:http"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "../approvals/approvals.fixture.ts"
import { register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"

let fixture: ApprovalsFixture
let upstream: TestUpstream
let key: string
let member: Member
const sent: Array<{ url: string; headers: Record<string, unknown>; body: string }> = []
const stored = new Set<string>()

const text = { type: "string" }
const order = {
  type: "object",
  required: ["amount"],
  properties: {
    amount: { type: "integer", minimum: 1, maximum: 100 },
    note: { type: "string", maxLength: 20 },
    customer: { $ref: "#/components/schemas/Customer" },
  },
}
const customer = { type: "object", additionalProperties: false, properties: { name: text, tier: { enum: ["a", "b"] } } }
const id = { name: "id", in: "path", required: true, schema: { type: "string", pattern: "^[a-z0-9 ./%-]+$" } }
const responses = { 200: { description: "ok" } }
const content = (schema: unknown) => ({ content: { "application/json": { schema } } })

const document = {
  openapi: "3.1.0",
  info: { title: "Orders", version: "1" },
  components: { schemas: { Order: order, Customer: customer } },
  paths: {
    "/orders": {
      get: {
        operationId: "listOrders",
        parameters: [
          { name: "limit", in: "query", schema: { type: "integer", maximum: 50 } },
          { name: "state", in: "query", schema: text },
        ],
        responses,
      },
      post: {
        operationId: "makeOrder",
        parameters: [{ name: "X-Tenant", in: "header", schema: text }],
        requestBody: content({ $ref: "#/components/schemas/Order" }),
        responses,
      },
    },
    "/customers/{id}/orders": { parameters: [id], get: { operationId: "ordersOf", responses } },
    "/files": { post: { operationId: "upload", requestBody: { content: { "*/*": { schema: {} } } }, responses } },
  },
}

beforeAll(async () => {
  const rule = parseHostRule("127.0.0.1")
  fixture = await startApprovals({ egress: { allow: rule ? [rule] : [], privateAllowed: false } })
  key = fixture.admin
  upstream = await startUpstream((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      sent.push({ url: request.url ?? "", headers: request.headers, body: Buffer.concat(chunks).toString() })
      response.writeHead(200, { "content-type": "application/json" }).end('{"ok":true}')
    })
  })
  await register(fixture.server, key, { name: "shop", urls: [upstream.url], document })
  member = await fixture.key("member", ["approver"])
  await apply("approval-groups", "owners", { members: [{ principal: member.principal }] })
  await apply("approval-templates", "one", { levels: [{ name: "one", group: "owners", strategy: { kind: "any" } }] })
}, 60_000)

beforeEach(() => void sent.splice(0))

afterEach(async () => {
  for (const name of stored) await fixture.call(key, rulesRemove, { name })
  stored.clear()
})

afterAll(async () => {
  await fixture.stop()
  await upstream.stop()
})

async function apply(kind: string, name: string, body: object): Promise<void> {
  const made = await fixture.server.call(key, "PUT", `/v1/${kind}/${name}`, body)
  expect(made.status, JSON.stringify(made.body)).toBe(200)
}

type Fields = Record<string, unknown>

const before = (operation: string) => [{ operation: `ext.shop.${operation}`, phase: "before" as const }]

async function rewrites(operation: string, rewrite: Fields, named: Fields & { name?: string } = {}): Promise<void> {
  const { name = "rewriting", ...more } = named
  stored.add(name)
  await fixture.call(key, rulesPut, { name, on: before(operation), do: [{ rewrite }], ...more } as never)
}

interface Sending {
  readonly type?: string
  readonly headers?: Record<string, string>
}

/** Of a call such as `POST orders`. Headers go as they are given: fetch would keep `Connection` to itself. */
async function pass(call: string, body?: string | Buffer, { type = "application/json", headers = {} }: Sending = {}) {
  const [method = "", path = ""] = call.split(/ (.*)/s)
  return new Promise<{ status: number; code?: string; detail?: string; rules: unknown; body: Fields }>((done, fail) => {
    const request = openRequest(`${fixture.server.url}/x/shop/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        "idempotency-key": randomUUID(),
        ...(body === undefined ? {} : { "content-type": type, "content-length": Buffer.byteLength(body) }),
        ...headers,
      },
    })
    request.on("error", fail)
    request.on("response", (response) => {
      const chunks: Buffer[] = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("end", () => {
        const parsed = JSON.parse(Buffer.concat(chunks).toString() || "{}") as { code?: string; detail?: string }
        const { code, detail } = parsed
        const status = response.statusCode ?? 0
        const rules = response.headers["signalbox-rules"]
        done({ status, rules, body: parsed, ...(code && { code }), ...(detail && { detail }) })
      })
    })
    request.end(body)
  })
}

async function byName(operation: string, input: object) {
  const response = await fetch(`${fixture.server.url}/v1/operations/ext.shop.${operation}`, {
    method: "POST",
    body: JSON.stringify(input),
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      "idempotency-key": randomUUID(),
    },
  })
  const { code } = (await response.json()) as { code?: string }
  return { status: response.status, rules: response.headers.get("signalbox-rules"), code }
}

describe("R7: rules rewrite calls to services outside", () => {
  test("the query: what is named becomes another, the rest stays as it came", async () => {
    await rewrites("listOrders", { "query.limit": 20, "query.state": "${{ caller.kind }}" })
    const answer = await pass("GET orders?a=%7Eb+c&limit=50&l%69mit=7&z&a=2")
    expect(answer).toMatchObject({ status: 200, rules: expect.stringMatching(/^rewriting@\d+$/) })
    expect(sent[0]?.url).toBe("/orders?a=%7Eb+c&z&a=2&limit=20&state=key")
    await byName("listOrders", { query: { limit: 50 } })
    expect(sent[1]?.url).toBe("/orders?limit=20&state=key")
  })

  test("the path: a value is one segment, whatever is in it", async () => {
    await rewrites("ordersOf", { "path.id": "${{ input.path.id + ' & co' }}" }, { when: "input.path.id != 'x'" })
    expect(await pass("GET customers/acme/orders?x=%20")).toMatchObject({ status: 409, code: "rules.rewrite-refused" })
    await rewrites("ordersOf", { "path.id": "${{ input.path.id + ' co' }}" }, { when: "input.path.id != 'x'" })
    await pass("GET customers/acme/orders?x=%20")
    await pass("GET customers/x/orders")
    await byName("ordersOf", { path: { id: "acme" } })
    expect(sent.map(({ url }) => url)).toEqual([
      "/customers/acme%20co/orders?x=%20",
      "/customers/x/orders",
      "/customers/acme%20co/orders",
    ])
    await rewrites("ordersOf", { "path.id": ".." })
    expect(await pass("GET customers/acme/orders")).toMatchObject({ status: 409, code: "rules.rewrite-refused" })
    expect(await byName("ordersOf", { path: { id: "acme" } })).toMatchObject({ status: 409 })
    expect(sent).toHaveLength(3)
  })

  test("headers: a caller's own is replaced, and can't be taken away by the caller", async () => {
    await rewrites("makeOrder", { "headers.X-Tenant": "blue", "headers.x-origin": "${{ caller.kind }}" })
    await pass("POST orders", '{"amount":1}', {
      headers: { "X-TENANT": "red", Connection: "keep-alive, x-tenant, x-origin" },
    })
    expect(sent[0]?.headers).toMatchObject({ "x-tenant": "blue", "x-origin": "key" })
    expect(sent[0]?.body).toBe('{"amount":1}')
    await byName("makeOrder", { headers: { "X-Tenant": "red" }, body: { amount: 1 } })
    expect(sent[1]?.headers).toMatchObject({ "x-tenant": "blue", "x-origin": "key" })
  })

  test("a header may say what the body says, though no condition reads the body", async () => {
    const said = "${{ has(input.body) && has(input.body.note) ? input.body.note : 'nothing' }}"
    await rewrites("makeOrder", { "headers.x-note": said })
    await pass("POST orders", '{ "amount":1, "note":"hello" }')
    expect(sent[0]).toMatchObject({ headers: { "x-note": "hello" }, body: '{ "amount":1, "note":"hello" }' })
  })

  test("the body: members, also of members, with what the call says", async () => {
    await rewrites(
      "makeOrder",
      { "body.amount": "${{ input.body.amount * 2 }}", "body.customer.tier": "b" },
      {
        when: "has(input.body) && input.body.amount > 1",
      },
    )
    const body = '{ "note": "é", "amount": 20, "customer": {"name":"Ada", "tier":"a"} }'
    expect(await pass("POST orders", body, { headers: { "content-md5": "x" } })).toMatchObject({ status: 200 })
    expect(sent[0]?.body).toBe('{"note":"é","amount":40,"customer":{"name":"Ada","tier":"b"}}')
    expect(sent[0]?.headers).not.toHaveProperty("content-md5")
    await byName("makeOrder", { body: { amount: 20 } })
    expect(JSON.parse(sent[1]?.body ?? "")).toEqual({ amount: 40, customer: { tier: "b" } })
    await pass("POST orders", '{ "amount": 1 }')
    expect(sent[2]?.body).toBe('{ "amount": 1 }')
  })

  test("what comes out is checked against the document, though the operation's calls are not", async () => {
    await rewrites("makeOrder", { "body.amount": "${{ input.body.amount * 2 }}" }, { when: "has(input.body)" })
    const refused = { status: 409, code: "rules.rewrite-refused" }
    expect(await pass("POST orders", '{"amount":51}')).toMatchObject(refused)
    expect(await byName("makeOrder", { body: { amount: 51 } })).toMatchObject(refused)
    await rewrites("listOrders", { "query.limit": "${{ input.query.state }}" }, { name: "limiting" })
    expect(await pass("GET orders?state=51")).toMatchObject(refused)
    expect(await pass("GET orders?state=x")).toMatchObject(refused)
    expect(sent).toEqual([])
    expect(await pass("GET orders?state=50")).toMatchObject({ status: 200 })
  })

  test("rules that deny look at what it became, and two that disagree refuse it", async () => {
    await rewrites("makeOrder", { "body.note": "changed" }, { when: "input.query == {}" })
    await rewrites("makeOrder", { "body.note": "changed" }, { name: "agreeing" })
    expect(await pass("POST orders", '{"amount":1}')).toMatchObject({
      status: 200,
      rules: expect.stringMatching(/^agreeing@1, rewriting@\d+$/),
    })
    await rewrites("makeOrder", { "body.customer": { name: "x" } }, { name: "whole" })
    await rewrites("makeOrder", { "body.customer.name": "x" }, { name: "part" })
    expect(await pass("POST orders", '{"amount":1}')).toMatchObject({ status: 409, code: "rules.rewrite-refused" })
    stored.add("denying")
    await fixture.call(key, rulesRemove, { name: "whole" })
    stored.delete("whole")
    await fixture.call(key, rulesPut, {
      ...{ name: "denying", on: before("makeOrder"), do: [{ deny: { reason: "no" } }] },
      when: "has(input.body) && has(input.body.note) && input.body.note == 'changed'",
    })
    expect(await pass("POST orders", '{"amount":1}')).toMatchObject({ status: 403, code: "rules.denied" })
    expect(sent).toHaveLength(1)
  })

  test("a call that is rewritten and held is voted on, and sent, as it was rewritten", async () => {
    const more = {
      do: [{ rewrite: { "body.note": "by rule", "query.x": "1" } }, { requireApproval: { template: "one" } }],
    }
    const wrong = await fixture.server.call(key, "PUT", "/v1/rules/held", { on: before("makeOrder"), ...more })
    expect(wrong.body).toMatchObject({ issues: [{ path: "do.0.rewrite.query.x" }] })
    const rewrite = { "body.note": "by rule", "headers.x-tenant": "blue" }
    await rewrites("makeOrder", {}, { do: [{ rewrite }, { requireApproval: { template: "one" } }] })
    for (const answer of [
      await pass("POST orders", '{"amount":7}', { headers: { "x-tenant": "red" } }),
      {
        body: (await fixture.server.call(key, "POST", "/v1/operations/ext.shop.makeOrder", { body: { amount: 7 } }))
          .body,
      },
    ]) {
      const request = String(answer.body["requestUrl"]).replace(/^.*\//, "")
      const { digest, content: voted } = await fixture.call(key, approvalRequestsGet, { request })
      expect(voted).toMatchObject({ input: { headers: { "x-tenant": "blue" }, body: { amount: 7, note: "by rule" } } })
      await fixture.call(member.key, approvalRequestsApprove, { request, digest })
      await untilTrue(async () => (await fixture.call(key, heldOperationsGet, { request })).state === "done")
      const { headers, body } = sent.pop() ?? {}
      expect(headers).toMatchObject({ "x-tenant": "blue" })
      expect(JSON.parse(body ?? "")).toEqual({ amount: 7, note: "by rule" })
    }
  })
})

describe("R7: what can't be rewritten", () => {
  test.each([
    ["listOrders", { query: { limit: 1 } }, "do.0.rewrite.query"],
    ["listOrders", { "query.limits": 1 }, "do.0.rewrite.query.limits"],
    ["listOrders", { "query.limit": 51 }, "do.0.rewrite.query.limit"],
    ["listOrders", { "body.note": "x" }, "do.0.rewrite.body.note"],
    ["ordersOf", { "path.name": "x" }, "do.0.rewrite.path.name"],
    ["ordersOf", { "path.id": "UPPER" }, "do.0.rewrite.path.id"],
    ["makeOrder", { "headers.Authorization": "x" }, "do.0.rewrite.headers.Authorization"],
    ["makeOrder", { "headers.host": "x" }, "do.0.rewrite.headers.host"],
    ["makeOrder", { "headers.transfer-encoding": "x" }, "do.0.rewrite.headers.transfer-encoding"],
    ["makeOrder", { "headers.content-length": "1" }, "do.0.rewrite.headers.content-length"],
    ["makeOrder", { "headers.content-type": "text/plain" }, "do.0.rewrite.headers.content-type"],
    ["makeOrder", { "headers.signalbox-principal": "x" }, "do.0.rewrite.headers.signalbox-principal"],
    ["makeOrder", { "headers.idempotency-key": "x" }, "do.0.rewrite.headers.idempotency-key"],
    ["makeOrder", { "headers.a b": "x" }, "do.0.rewrite.headers.a b"],
    ["makeOrder", { "body.customer.age": 3 }, "do.0.rewrite.body.customer.age"],
    ["makeOrder", { "body.customer.tier": "c" }, "do.0.rewrite.body.customer.tier"],
    ["makeOrder", { "body.customer": { name: "${{ caller.kind }}", tier: "c" } }, "do.0.rewrite.body.customer.tier"],
    ["makeOrder", { "body.amount": "1" }, "do.0.rewrite.body.amount"],
    ["makeOrder", { method: "GET" }, "do.0.rewrite.method"],
    ["makeOrder", { "body.note": "${{ input.body.nothing }}" }, "do.0.rewrite.body.note"],
  ])("%s %j is refused when the rule is stored", async (operation, rewrite, path) => {
    const rule = { on: before(operation), do: [{ rewrite }] }
    const answer = await fixture.server.call(key, "PUT", "/v1/rules/refused", rule)
    expect(answer).toMatchObject({ status: 400, body: { code: "rules.invalid-rule", issues: [{ path }] } })
  })

  test("a body that is none, no JSON, too long or not exact is refused, and nothing is sent", async () => {
    await rewrites("makeOrder", { "body.note": "x" })
    const refused = { status: 409, code: "rules.rewrite-refused" }
    expect(await pass("POST orders")).toMatchObject(refused)
    expect(await pass("POST orders", "amount=1", { type: "application/x-www-form-urlencoded" })).toMatchObject(refused)
    expect(await pass("POST orders", "[1]")).toMatchObject(refused)
    expect(await pass("POST orders", '{"amount":1,"pad":12345678901234567890}')).toMatchObject(refused)
    expect(await pass("POST orders", `{"amount":1,"pad":"${"x".repeat(1024 * 1024)}"}`)).toMatchObject(refused)
    expect(await byName("makeOrder", { body: "text", headers: { "content-type": "text/plain" } })).toMatchObject(
      refused,
    )
    expect(await byName("makeOrder", {})).toMatchObject(refused)
    expect(sent).toEqual([])
  })

  test("a rule that rewrites a body reads none of a call that it isn't about", async () => {
    await rewrites("makeOrder", { "body.note": "x" }, { when: "has(input.headers.accept)" })
    const large = `{"broken ${"x".repeat(1024 * 1024)}`
    expect(await pass("POST orders", large)).toMatchObject({ status: 200 })
    expect(sent[0]?.body).toBe(large)
  })
})
