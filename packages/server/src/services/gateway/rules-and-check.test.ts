/** What looks into a call to a service outside before it is passed on: rules that are really published, and its document. */
import { rulesPut, rulesRemove } from "@signalbox/contracts/rules/operations"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startApprovals, untilTrue, type ApprovalsFixture } from "../approvals/approvals.fixture.ts"
import { register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"

let fixture: ApprovalsFixture
let upstream: TestUpstream
let key: string

const invoice = {
  type: "object",
  required: ["id", "amount", "currency"],
  additionalProperties: false,
  properties: {
    id: { type: "string", readOnly: true, example: { id: "inv_1" } },
    amount: { type: "number", minimum: 0, exclusiveMinimum: true },
    currency: { type: "string", pattern: "^[A-Z]{3}$" },
    note: { type: "string", nullable: true },
    parts: { type: "array", items: { $ref: "#/components/schemas/Invoice" } },
  },
}

const body = (schema: unknown) => ({ required: true, content: { "application/json": { schema } } })
const responses = { 200: { description: "ok" } }

const document = {
  openapi: "3.0.3",
  info: { title: "Invoices", version: "1" },
  components: { schemas: { Invoice: invoice, Loop: { allOf: [{ $ref: "#/components/schemas/Loop" }] } } },
  paths: {
    "/invoices": {
      get: {
        operationId: "listInvoices",
        parameters: [
          { name: "limit", in: "query", required: true, schema: { type: "integer", maximum: 50 } },
          { name: "ids", in: "query", explode: false, schema: { type: "array", items: { type: "integer" } } },
          { name: "filter", in: "query", required: true, style: "deepObject", schema: { type: "object" } },
        ],
        responses,
      },
      post: { operationId: "makeInvoice", requestBody: body({ $ref: "#/components/schemas/Invoice" }), responses },
    },
    "/loops": { post: { operationId: "loop", requestBody: body({ $ref: "#/components/schemas/Loop" }), responses } },
    "/free": { post: { operationId: "free", requestBody: body({ type: "object" }), responses } },
  },
}

const checked = { check: "request" }
const operations = { listInvoices: checked, makeInvoice: checked, loop: checked }

beforeAll(async () => {
  const rule = parseHostRule("127.0.0.1")
  fixture = await startApprovals({ egress: { allow: rule ? [rule] : [], privateAllowed: false } })
  key = fixture.admin
  upstream = await startUpstream((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => response.end(Buffer.concat(chunks)))
  })
  await register(fixture.server, key, { name: "billing", urls: [upstream.url], document, operations })
}, 60_000)

afterAll(async () => {
  await fixture.stop()
  await upstream.stop()
})

/** Of a call such as `POST invoices`. */
async function pass(call: string, sent?: unknown, type = "application/json") {
  const [method = "", path = ""] = call.split(" ")
  const before = upstream.requests.length
  const response = await fetch(`${fixture.server.url}/x/billing/${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(sent === undefined ? {} : { "content-type": type }) },
    ...(sent === undefined ? {} : { body: typeof sent === "string" ? sent : JSON.stringify(sent) }),
  })
  const text = await response.text()
  const problem = response.ok ? {} : (JSON.parse(text) as { code?: string; issues?: Array<{ path: string }> })
  const places = problem.issues?.map((issue) => issue.path)
  const hasArrived = upstream.requests.length > before
  return { status: response.status, headers: response.headers, text, code: problem.code, places, hasArrived }
}

describe("R3: requests are checked against the service's document", () => {
  test("a JSON body that fits is passed on as it came", async () => {
    const text = '{ "amount": 1.5,  "currency": "EUR", "note": null, "parts": [{"amount":1,"currency":"EUR"}] }'
    expect(await pass("POST invoices", text)).toMatchObject({ status: 200, text, hasArrived: true })
  })

  test.each([
    [{ amount: 1 }, ["body"]],
    [{ amount: 0, currency: "EUR" }, ["body.amount"]],
    [{ amount: "1", currency: "EUR" }, ["body.amount"]],
    [{ amount: 1, currency: "euro" }, ["body.currency"]],
    [{ amount: 1, currency: "EUR", parts: [{ amount: 1, currency: 7 }] }, ["body.parts.0.currency"]],
    [undefined, ["body"]],
  ])("%j is refused with its place, and nothing is sent", async (sent, places) => {
    const answer = await pass("POST invoices", sent)
    expect(answer).toMatchObject({ status: 400, code: "request.invalid-input", places, hasArrived: false })
  })

  test("a body of another kind doesn't get past it, nor one that is no JSON or too large", async () => {
    const other = await pass("POST invoices", '{"amount":0}', "text/plain")
    expect(other).toMatchObject({ status: 400, places: ["body"], hasArrived: false })
    expect(await pass("POST invoices", "{")).toMatchObject({ code: "request.invalid-json", hasArrived: false })
    const large = { amount: 1, currency: "EUR", note: "x".repeat(1024 * 1024) }
    expect(await pass("POST invoices", large)).toMatchObject({ code: "request.body-too-large", hasArrived: false })
    expect(await pass("POST free", "no JSON", "text/plain")).toMatchObject({ status: 200 })
  })

  test("a schema that contains itself without end is no failure of the server", async () => {
    expect(await pass("POST loops", {})).toMatchObject({ status: 400, places: ["body"], hasArrived: false })
  })

  test("parameters are read from their text; how others are written is not looked into", async () => {
    expect(await pass("GET invoices?limit=50&ids=1,2")).toMatchObject({ status: 200 })
    expect(await pass("GET invoices?limit=51")).toMatchObject({ status: 400, places: ["query.limit"] })
    expect(await pass("GET invoices?limit=7&ids=1,b")).toMatchObject({ status: 400, places: ["query.ids.1"] })
    expect(await pass("GET invoices")).toMatchObject({ status: 400, places: ["query"] })
  })

  test("a schema that isn't understood is told when the service is put", async () => {
    const paths = { "/odd": { post: { operationId: "odd", requestBody: body({ type: "strange" }), responses } } }
    const answer = await fixture.server.call(key, "PUT", "/v1/services/odd", {
      document: { ...document, openapi: "3.1.0", paths },
      upstreams: [{ url: upstream.url }],
      operations: { odd: checked },
    })
    expect(answer.status).toBe(400)
    expect(answer.body).toMatchObject({ issues: [{ path: "operations.odd.check" }] })
  })
})

test("R10: a call that no rule and no check is about goes through unread", async () => {
  const text = `{"broken": "${"x".repeat(1024 * 1024)}`
  expect(await pass("POST free", text)).toMatchObject({ status: 200, text })
})

test("R10: a body that no rule reads goes through unread, whatever rules ask of the rest of the call", async () => {
  const text = `{"broken": "${"x".repeat(1024 * 1024)}`
  const gate = async (when: string): Promise<void> => {
    const on = [{ operation: "ext.billing.free", phase: "before" as const }]
    await fixture.call(key, rulesPut, { name: "curious", on, when, do: [{ deny: { reason: "no" } }] })
  }
  await gate("'dry' in input.query || 'nobody' in caller.teams || operation == 'other'")
  expect(await pass("POST free", text)).toMatchObject({ status: 200, text })
  expect(await pass("POST free?dry=1", text)).toMatchObject({ code: "rules.denied", hasArrived: false })
  for (const when of ["has(input.body) && input.body.a == 1", "size(input) > 9", "input['body'] == 1"]) {
    await gate(when)
    expect(await pass("POST free", text)).toMatchObject({ code: "request.body-too-large", hasArrived: false })
  }
  await fixture.call(key, rulesRemove, { name: "curious" })
})

describe("R3: rules are about a service's operations as about any other", () => {
  test("one before it denies by what the body says, and is not asked about another", async () => {
    const name = "no-large"
    await fixture.call(key, rulesPut, {
      name,
      on: [{ operation: "ext.billing.makeInvoice", phase: "before" }],
      when: "input.body.amount > 100.0",
      do: [{ deny: { reason: "too much" } }],
    })
    const large = { amount: 101, currency: "EUR" }
    expect(await pass("POST invoices", large)).toMatchObject({ status: 403, code: "rules.denied", hasArrived: false })
    expect(await pass("POST invoices", { amount: 99, currency: "EUR" })).toMatchObject({ status: 200 })
    await fixture.call(key, rulesRemove, { name })
    expect(await pass("POST invoices", large)).toMatchObject({ status: 200, hasArrived: true })
  })

  test("one after it starts a run, which the reply names, and which is carried out", async () => {
    const name = "after-invoice"
    await fixture.call(key, rulesPut, {
      name,
      on: [{ operation: "ext.billing.makeInvoice", phase: "after" }],
      do: [{ operation: "groups.put", input: { name: "${{ input.body.note }}", query: "a=1" } }],
    })
    const answer = await pass("POST invoices", { amount: 1, currency: "EUR", note: "from-billing" })
    const path = answer.headers.get("signalbox-started") ?? ""
    expect(path).toMatch(/^\/v1\/actions\/act_\w+$/)
    await untilTrue(async () => (await fixture.server.call(key, "GET", path)).body["state"] === "succeeded")
    expect((await fixture.server.call(key, "GET", "/v1/groups/from-billing")).body).toMatchObject({ query: "a=1" })
    await fixture.call(key, rulesRemove, { name })
    const next = await pass("POST invoices", { amount: 1, currency: "EUR" })
    expect(next.headers.get("signalbox-started")).toBeNull()
  })
})
