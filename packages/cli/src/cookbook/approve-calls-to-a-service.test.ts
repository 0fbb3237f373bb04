import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { urlOf } from "../resilience/connection-url.fixture.ts"
import { TestInstallation } from "../resilience/processes.fixture.ts"
import { readExample, replaceIn } from "./cookbook.fixture.ts"

const example = "approve-calls-to-a-service"
const timeoutMilliseconds = 240_000

/** The service: an invoice whose id begins with `cut` is voided, and then the connection breaks off. */
const program = `import { createServer } from "node:http"
const states = new Map()
const calls = []
const server = createServer((request, response) => {
  const chunks = []
  request.on("data", (chunk) => chunks.push(chunk))
  request.on("end", () => {
    const reply = (status, body) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
    const { pathname, searchParams } = new URL(request.url, "http://localhost")
    if (pathname === "/calls") return reply(200, calls)
    const [, , id, action] = pathname.split("/")
    if (action !== "void") return reply(200, { id, state: states.get(id) ?? "open" })
    const { pin } = JSON.parse(Buffer.concat(chunks).toString())
    calls.push({ id, pin, notify: searchParams.get("notify"), key: request.headers["idempotency-key"] })
    if (pin !== "4711") return reply(403, { error: "wrong pin" })
    states.set(id, "void")
    return id.startsWith("cut") ? request.socket.destroy() : reply(200, { id, state: "void" })
  })
})
server.listen(0, "127.0.0.1", () => process.stdout.write(String(server.address().port)))
`

let database: TestDatabase
let installation: TestInstallation
let service: ChildProcess
let serviceUrl: string
let base: string
let shop: string
let ada: string

beforeAll(async () => {
  database = await createTestDatabase()
  installation = await TestInstallation.create()
  await installation.startServer({
    words: ["--insecure", "--egress-allow", "127.0.0.1"],
    variables: { DATABASE_URL: urlOf(database.connection) },
  })
  base = (await installation.admin()).url
  const file = (name: string): string => join(installation.directory, name)
  await writeFile(file("billing.mjs"), program)
  service = spawn(process.execPath, [file("billing.mjs")], { stdio: ["ignore", "pipe", "inherit"] })
  const [port] = (await once(service.stdout ?? service, "data")) as [Buffer]
  serviceUrl = `http://127.0.0.1:${port.toString()}`
  const upstream = { "https://billing.internal.example": serviceUrl }
  await writeFile(file("openapi.yaml"), readExample(example, "openapi.yaml"))
  await writeFile(file("service.yaml"), replaceIn(readExample(example, "service.yaml"), upstream))
  await writeFile(file("approvals.yaml"), readExample(example, "approvals.yaml"))
  await installation.succeed(["login", "--local"])
  await installation.succeed(["users", "create", "ada", "--role", "approver"])
  ada = await makeKey(["ada-laptop", "--role", "approver", "--owner", "ada"])
  await installation.succeed(["apply", "-f", file("service.yaml")])
  await installation.succeed(["apply", "-f", file("approvals.yaml")])
  shop = await makeKey(["shop", "--role", "consumer"])
}, timeoutMilliseconds)
afterAll(async () => {
  service.kill("SIGKILL")
  await installation.remove()
  await database.drop()
}, timeoutMilliseconds)

async function makeKey(words: readonly string[]): Promise<string> {
  const made = JSON.parse(await installation.succeed(["keys", "create", ...words, "--json"])) as { key: string }
  return made.key
}

/** The command line of somebody with a key of their own. */
async function as(key: string, words: readonly string[]): Promise<Record<string, unknown>> {
  const text = await installation.succeed([...words, "--json"], { SIGNALBOX_SERVER: base, SIGNALBOX_KEY: key })
  return JSON.parse(text) as Record<string, unknown>
}

async function call(path: string, { body, headers = {} }: { body?: object; headers?: Record<string, string> } = {}) {
  const response = await fetch(`${base}/x/billing/${path}`, {
    method: body ? "POST" : "GET",
    headers: {
      ...{ authorization: `Bearer ${shop}`, "idempotency-key": path, ...headers },
      ...(body && { "content-type": "application/json" }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })
  const answer = (await response.json()) as Record<string, unknown>
  return { status: response.status, rules: response.headers.get("signalbox-rules"), body: answer }
}

const voiding = { reason: "sent twice", pin: "4711" }
const callsOf = async (id: string): Promise<unknown[]> => {
  const all = (await (await fetch(`${serviceUrl}/calls`)).json()) as Array<{ id: string }>
  return all.filter((each) => each.id === id)
}

async function hold(id: string, body: object = voiding): Promise<string> {
  const held = await call(`invoices/${id}/void`, { body })
  expect(held, JSON.stringify(held.body)).toMatchObject({ status: 202, rules: "voided-invoices-are-told@1" })
  return String(held.body["requestUrl"]).replace(/^.*\//, "")
}

async function approve(request: string): Promise<void> {
  const { digest } = await as(ada, ["approvals", "get", request])
  await as(ada, ["approvals", "approve", request, "--digest", String(digest)])
}

async function untilEnded(request: string): Promise<Record<string, unknown>> {
  const ended = async () => {
    const held = await as(shop, ["held-operations", "wait", request, "--seconds", "5"])
    return held["state"] !== "waiting" && held["state"] !== "approved" && held
  }
  return await installation.eventually(`${request} to end`, ended, timeoutMilliseconds)
}

describe("the cookbook's service behind an approval", () => {
  test(
    "A7, R3: reading passes; voiding waits, is shown without its pin, and is done once, as it was approved",
    { timeout: timeoutMilliseconds },
    async () => {
      expect((await call("invoices/42")).body).toEqual({ id: "42", state: "open" })
      const unfit = await call("invoices/42/void", { body: { reason: "no pin" } })
      expect(unfit).toMatchObject({ status: 400, body: { code: "request.invalid-input" } })
      const request = await hold("42")
      expect(await hold("42")).toBe(request)
      expect(await callsOf("42")).toEqual([])
      expect(JSON.stringify(await as(ada, ["approvals", "inbox"]))).toContain(request)
      expect(await as(ada, ["approvals", "get", request])).toMatchObject({
        content: {
          operation: "ext.billing.voidInvoice",
          input: {
            ...{ path: { id: "42" }, query: { notify: "true" } },
            body: { reason: "sent twice", pin: expect.stringMatching(/^hmac:/) as string },
          },
          plan: { service: "billing", serviceVersion: 1, method: "POST", path: "/invoices/42/void?notify=true" },
        },
      })
      await approve(request)
      expect(await untilEnded(request)).toMatchObject({
        state: "done",
        result: { status: 200, body: { id: "42", state: "void" } },
      })
      expect(await callsOf("42")).toEqual([{ id: "42", pin: "4711", notify: "true", key: request }])
      expect((await call("invoices/42")).body).toEqual({ id: "42", state: "void" })
    },
  )

  test(
    "A7: a caller that waits gets the service's own reply, and a refusal by it is told",
    {
      timeout: timeoutMilliseconds,
    },
    async () => {
      const request = await hold("43")
      await approve(request)
      await untilEnded(request)
      const again = await call("invoices/43/void", { body: voiding, headers: { prefer: "wait=50" } })
      expect(again).toMatchObject({ status: 200, body: { id: "43", state: "void" } })
      const wrong = await hold("44", { ...voiding, pin: "0000" })
      await approve(wrong)
      expect(await untilEnded(wrong)).toMatchObject({ state: "failed", error: { code: "gateway.service-refused" } })
      expect((await call("invoices/44")).body).toEqual({ id: "44", state: "open" })
    },
  )

  test(
    "A7, D6: a reply that is lost leaves it open whether it was done, and it is not sent again",
    {
      timeout: timeoutMilliseconds,
    },
    async () => {
      const request = await hold("cut-1")
      await approve(request)
      expect(await untilEnded(request)).toMatchObject({ state: "outcome-unknown" })
      const repeated = await call("invoices/cut-1/void", { body: voiding, headers: { prefer: "wait=50" } })
      expect(repeated.body).toMatchObject({ code: "gateway.outcome-unknown" })
      expect(await callsOf("cut-1")).toHaveLength(1)
      expect((await call("invoices/cut-1")).body).toEqual({ id: "cut-1", state: "void" })
    },
  )
})
