/** Another rules service than ours is asked about calls to services outside: the example as a process of its own, and stubs. */
import { spawn, type ChildProcess } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type Answer, type ServerFixture } from "../../http/edge.fixture.ts"
import { newSigningKey } from "../../storage/signing-key.ts"
import { register, startUpstream, type TestUpstream } from "../gateway/gateway.fixture.ts"

const program = fileURLToPath(new URL("../../../../../examples/rules-service/server.mjs", import.meta.url))
const signingKey = newSigningKey()
let server: ServerFixture
let upstream: TestUpstream
let directory: string
let judge: ChildProcess
let url: string
let admin: string
const stubs: Server[] = []
const sent: Array<{ url: string; body: string }> = []

const responses = { 200: { description: "ok" } }
const document = {
  openapi: "3.1.0",
  info: { title: "Invoices", version: "1" },
  paths: {
    "/invoices": { get: { operationId: "listInvoices", responses } },
    "/invoices/{id}/void": {
      post: {
        operationId: "voidInvoice",
        parameters: [
          { name: "id", in: "path", required: true, schema: { type: "string" } },
          { name: "notify", in: "query", schema: { type: "boolean" } },
        ],
        requestBody: {
          content: { "application/json": { schema: { type: "object", properties: { reason: { type: "string" } } } } },
        },
        responses,
      },
    },
  },
}

beforeAll(async () => {
  const loopback = parseHostRule("127.0.0.1")
  server = await startServerFixture({ egress: { allow: loopback ? [loopback] : [], privateAllowed: true }, signingKey })
  admin = String((await call("keys.create", { name: "admin", roles: ["admin"] }, server.platformKey)).body["key"])
  upstream = await startUpstream((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      sent.push({ url: request.url ?? "", body: Buffer.concat(chunks).toString() })
      response.writeHead(200, { "content-type": "application/json" }).end("{}")
    })
  })
  for (const name of ["billing", "other"]) await register(server, admin, { name, urls: [upstream.url], document })
  directory = await mkdtemp(join(tmpdir(), "signalbox rules outside "))
  await writeFile(join(directory, "key.pem"), signingKey.publicKey)
  judge = spawn(process.execPath, [program, "0", join(directory, "key.pem")], { stdio: ["ignore", "pipe", "inherit"] })
  const [line] = (await once(judge.stdout ?? judge, "data")) as [Buffer]
  url = `http://127.0.0.1:${/\d+/.exec(line.toString())?.[0]}`
  await must("service-accounts.create", { name: "judge-acts", roles: ["operator"] })
}, 60_000)

afterAll(async () => {
  judge.kill("SIGKILL")
  await rm(directory, { recursive: true })
  await server.stop()
  await upstream.stop()
}, 60_000)

afterEach(async () => {
  expect((await call("routes.reset", {}, server.platformKey)).status).toBe(200)
  sent.splice(0)
  for (const stub of stubs.splice(0)) {
    stub.closeAllConnections()
    stub.close()
  }
})

const call = (operation: string, input: object, key: string): Promise<Answer> =>
  server.call(key, "POST", `/v1/operations/${operation}`, input)

async function must(operation: string, input: object, key = admin): Promise<Answer["body"]> {
  const answer = await call(operation, input, key)
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300)
  return answer.body
}

const apply = (routes: object, at = url) =>
  call(
    "routes.apply",
    { destinations: { judge: { url: at, state: "own", actsAs: "judge-acts" } }, routes },
    server.platformKey,
  )

async function ask(routes: object, at?: string): Promise<void> {
  expect((await apply(routes, at)).status).toBe(200)
}

interface Question {
  readonly trigger: { readonly operation: string }
  readonly input: Readonly<Record<string, unknown>>
}

/** A rules service that says what it is told to, and keeps what it was asked. */
async function startStub(actions: readonly object[]): Promise<{ readonly at: string; readonly asked: Question[] }> {
  const asked: Question[] = []
  const stub = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => void chunks.push(chunk))
    request.on("end", () => {
      const question = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Question
      asked.push(question)
      response.end(JSON.stringify({ trigger: question.trigger, actions }))
    })
  })
  stubs.push(stub.listen(0, "127.0.0.1"))
  await once(stub, "listening")
  return { at: `http://127.0.0.1:${(stub.address() as AddressInfo).port}`, asked }
}

async function pass(path: string, { method = "POST", body = '{"reason":"twice"}' } = {}) {
  const response = await fetch(`${server.url}/x/${path}`, {
    method,
    headers: {
      ...{ authorization: `Bearer ${admin}`, "content-type": "application/json" },
      "idempotency-key": randomUUID(),
    },
    ...(method === "GET" ? {} : { body }),
  })
  const text = await response.text()
  const { code } = JSON.parse(text === "" ? "{}" : text) as { code?: string }
  return { status: response.status, headers: response.headers, ...(code && { code }) }
}

const startedBy = (headers: Headers): string =>
  /act_[0-9a-z]{26}/.exec(headers.get("signalbox-started") ?? "")?.[0] ?? ""

const stateOf = async (run: string) => (await call("actions.get", { action: run }, admin)).body["state"]

describe("R15: another rules service is asked about calls to services outside", () => {
  test("and denies, rewrites, and has operations follow, by either door", async () => {
    await ask({ "ext.billing.voidInvoice": { rules: "judge" } })
    expect(await pass("billing/invoices/7/void", { body: "{}" })).toMatchObject({ status: 403, code: "rules.denied" })
    const denied = await call("ext.billing.voidInvoice", { path: { id: "7" }, body: {} }, admin)
    expect(denied).toMatchObject({ status: 403, body: { details: { rule: "judge/void-with-reason" } } })
    expect(sent).toEqual([])

    const passed = await pass("billing/invoices/7/void?x=1")
    expect(passed).toMatchObject({ status: 200 })
    expect(passed.headers.get("signalbox-rules")).toBe("judge/void-tells@1")
    const named = await call("ext.billing.voidInvoice", { path: { id: "8" }, body: { reason: "twice" } }, admin)
    expect(named.status, JSON.stringify(named.body)).toBe(200)
    expect(sent.map((request) => request.url)).toEqual([
      "/invoices/7/void?x=1&notify=true",
      "/invoices/8/void?notify=true",
    ])
    for (const [run, node] of [
      [startedBy(passed.headers), "invoice-7"],
      [startedBy(named.headers), "invoice-8"],
    ] as const) {
      await expect.poll(() => stateOf(run), { timeout: 60_000 }).toBe("succeeded")
      expect(await must("actions.get", { action: run })).toMatchObject({ author: "service-account:judge-acts" })
      expect(await must("nodes.get", { node })).toMatchObject({ tags: { state: "void" } })
    }
  })

  test("only where a row says so: one operation's, before its service's, before all", async () => {
    const { at, asked } = await startStub([])
    await ask({ "ext.billing.*": { rules: "judge" } }, at)
    await pass("billing/invoices", { method: "GET" })
    await pass("billing/invoices/7/void")
    await pass("other/invoices/7/void")
    expect(asked.map(({ trigger }) => trigger.operation)).toEqual([
      "ext.billing.listInvoices",
      "ext.billing.voidInvoice",
    ])
    expect(asked[1]?.input).toMatchObject({ path: { id: "7" }, body: { reason: "twice" } })
    asked.splice(0)
    await ask(
      {
        "ext.*": { rules: "judge" },
        "ext.billing.*": { rules: "none" },
        "ext.billing.voidInvoice": { rules: "judge" },
      },
      at,
    )
    await pass("billing/invoices", { method: "GET" })
    await pass("billing/invoices/7/void")
    await pass("other/invoices", { method: "GET" })
    expect(asked.map(({ trigger }) => trigger.operation)).toEqual(["ext.billing.voidInvoice", "ext.other.listInvoices"])
  })

  test("takes the place of our rules for them, and holds calls, which follow once they run", async () => {
    const rule = { on: [{ operation: "ext.billing.voidInvoice", phase: "before" }], do: [{ deny: { reason: "no" } }] }
    expect((await server.call(admin, "PUT", "/v1/rules/ours", rule)).status).toBe(200)
    expect(await pass("billing/invoices/7/void")).toMatchObject({ code: "rules.denied" })
    const delay = { rule: "waits", action: "delay", input: { for: "1s" } }
    const following = { rule: "waits", action: "resources.apply", input: { name: "invoice-held", kind: "invoice" } }
    const { at } = await startStub([delay, following])
    await ask({ "ext.billing.voidInvoice": { rules: "judge" } }, at)
    const held = await pass("billing/invoices/9/void")
    expect([held.status, startedBy(held.headers)]).toEqual([202, ""])
    const runs = () =>
      server.test.database.query("select state from action_runs where input ->> 'name' = 'invoice-held'")
    await expect.poll(runs, { timeout: 60_000 }).toEqual([{ state: "succeeded" }])
    expect(sent).toEqual([{ url: "/invoices/9/void", body: '{"reason":"twice"}' }])
    expect((await server.call(admin, "DELETE", "/v1/rules/ours")).status).toBe(200)
  })

  test("fails closed where it doesn't answer, asks for what can't be rewritten, or can't be shown the body", async () => {
    const gone = createServer().listen(0, "127.0.0.1")
    await once(gone, "listening")
    const { port } = gone.address() as AddressInfo
    gone.close()
    await once(gone, "close")
    const rows = { "ext.billing.*": { rules: "judge" } }
    await ask(rows, `http://127.0.0.1:${port}`)
    const unreachable = { status: 503, code: "routing.destination-unreachable" }
    expect(await pass("billing/invoices/7/void")).toMatchObject(unreachable)
    expect(await pass("billing/invoices", { method: "GET" })).toMatchObject(unreachable)
    const named = await call("ext.billing.voidInvoice", { path: { id: "7" } }, admin)
    expect(named).toMatchObject({ status: 503, body: { code: "routing.destination-unreachable" } })
    const { at } = await startStub([{ rule: "bad", action: "rewrite", input: { fields: { "headers.host": "x" } } }])
    await ask(rows, at)
    expect(await pass("billing/invoices/7/void")).toMatchObject({ status: 409, code: "rules.rewrite-refused" })
    const large = `{"reason":"${"x".repeat(1024 * 1024)}"}`
    expect(await pass("billing/invoices/7/void", { body: large })).toMatchObject({ code: "request.body-too-large" })
    expect(sent).toEqual([])
    expect((await pass("other/invoices/7/void")).status).toBe(200)
  })

  test("by rows that say nothing else, which are shown, and go when they say nothing any more", async () => {
    const codeOf = async (routes: object) => (await apply(routes)).body.code
    expect(await codeOf({ "ext.billing.*": { rules: "nobody" } })).toBe("routing.invalid-map")
    expect(await codeOf({ "ext.billing.*": { services: ["gateway"], rules: "judge" } })).toBe("routing.invalid-map")
    expect(await codeOf({ "ext.billing": { rules: "judge" } })).toBe("request.invalid-input")
    await ask({ "ext.billing.*": { rules: "judge" } })
    const shown = async () => {
      const rows: Array<{ operation: string }> = []
      for (let cursor: unknown; ;) {
        const body = await must("routes.list", { limit: 500, ...(cursor ? { cursor } : {}) }, server.platformKey)
        rows.push(...(body["items"] as typeof rows))
        if (!(cursor = body["nextCursor"])) return rows.filter(({ operation }) => operation.startsWith("ext."))
      }
    }
    expect(await shown()).toEqual([expect.objectContaining({ operation: "ext.billing.*", rules: "judge" })])
    const put = await call("routes.put", { operation: "ext.other.*", rules: "none" }, server.platformKey)
    expect(put.body).toMatchObject({ operation: "ext.other.*", services: ["gateway"], rules: "none" })
    expect(await shown()).toHaveLength(2)
    await must("routes.put", { operation: "ext.other.*" }, server.platformKey)
    expect(await shown()).toHaveLength(1)
  })
})
