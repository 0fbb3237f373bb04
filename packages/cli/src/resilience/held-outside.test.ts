import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { urlOf } from "./connection-url.fixture.ts"
import { TestInstallation } from "./processes.fixture.ts"

/**
 * `kill -9` of the server while services outside work on what it sent them. The service counts what it gets: nothing comes a
 * second time unless it is declared to bear that, and then under the same key.
 */
const timeoutMilliseconds = 300_000

/** A service that replies when it is let. */
class Witness {
  readonly calls: Array<{ readonly url: string; readonly key: string }> = []
  /** Calls whose reply is held back. */
  readonly open: ServerResponse[] = []
  replies = false
  readonly #server: Server = createServer((request, response) => {
    request.resume()
    request.once("end", () => {
      this.calls.push({ url: request.url ?? "", key: String(request.headers["idempotency-key"]) })
      if (this.replies) response.writeHead(200, { "content-type": "application/json" }).end('{"made":true}')
      else this.open.push(response)
    })
  })

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  keysOf(url: string): string[] {
    return this.calls.filter((call) => call.url === url).map(({ key }) => key)
  }
}

const post = { responses: { 200: { description: "ok" } } }
const document = {
  openapi: "3.1.0",
  info: { title: "Witness", version: "1" },
  paths: {
    "/once": { post: { operationId: "once", ...post } },
    "/direct": { post: { operationId: "direct", ...post } },
    "/again": { post: { operationId: "again", "x-signalbox-retry-safe": true, ...post } },
  },
}

let database: TestDatabase
let installation: TestInstallation
const witness = new Witness()
let sequence = 0

beforeAll(async () => {
  database = await createTestDatabase()
  installation = await TestInstallation.create()
  await start()
  const url = await witness.start()
  const { body } = await call("POST", "/v1/keys", { body: { name: "member", roles: ["approver"] } })
  memberKey = String(body["key"])
  await put("services/witness", { document, upstreams: [{ url }] })
  await put("approval-groups/owners", { members: [{ principal: `key:${String(body["id"])}` }] })
  await put("approval-templates/one", { levels: [{ name: "one", group: "owners", strategy: { kind: "any" } }] })
  for (const name of ["once", "again"])
    await put(`associations/${name}`, { template: "one", selector: { operation: `ext.witness.${name}` } })
}, timeoutMilliseconds)
afterAll(async () => {
  await witness.stop()
  await installation.remove()
  await database.drop()
}, timeoutMilliseconds)

let memberKey = ""

const start = (): Promise<void> =>
  installation.startServer({
    words: ["--insecure", "--egress-allow", "127.0.0.1"],
    variables: { DATABASE_URL: urlOf(database.connection) },
  })

interface Given {
  readonly body?: unknown
  readonly key?: string
  readonly once?: string
}

async function call(method: string, path: string, { body, ...given }: Given = {}) {
  const { url, key } = await installation.admin()
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${given.key ?? key}`,
      "idempotency-key": given.once ?? `held-outside-${++sequence}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

async function put(path: string, body: object): Promise<void> {
  const made = await call("PUT", `/v1/${path}`, { body })
  expect(made.status, JSON.stringify(made.body)).toBe(200)
}

async function hold(path: string): Promise<string> {
  const { status, body } = await call("POST", `/x/witness/${path}`, { body: { path } })
  expect(status, JSON.stringify(body)).toBe(202)
  return String(body["requestUrl"]).replace(/^.*\//, "")
}

async function approve(request: string): Promise<void> {
  const { digest } = (await call("GET", `/v1/approval-requests/${request}`)).body
  const answered = await call("POST", `/v1/approval-requests/${request}:approve`, { body: { digest }, key: memberKey })
  expect(answered.status, JSON.stringify(answered.body)).toBe(200)
}

const stateOf = async (request: string): Promise<unknown> =>
  (await call("GET", `/v1/held-operations/${request}`).catch(() => undefined))?.body["state"]

describe("A7, D6: a server that is killed between a call to a service outside and its reply", () => {
  test(
    "sends it again only where that is declared to be safe, and under the same key",
    async () => {
      const [once, again] = [await hold("once"), await hold("again")]
      const callDirectly = () =>
        call("POST", "/v1/operations/ext.witness.direct", { body: { body: {} }, once: "a-direct-call" })
      const direct = callDirectly().then(
        () => "answered",
        () => "lost",
      )
      await approve(once)
      await approve(again)
      await installation.eventually("the calls to arrive", async () => witness.open.length === 3, timeoutMilliseconds)
      await installation.server.end("SIGKILL")
      expect(await direct).toBe("lost")
      witness.replies = true
      await start()
      const hasEnded = (request: string, state: string) =>
        installation.eventually(
          `${request} to be ${state}`,
          async () => (await stateOf(request)) === state,
          timeoutMilliseconds,
        )
      await hasEnded(once, "outcome-unknown")
      await hasEnded(again, "done")
      expect(witness.keysOf("/once")).toEqual([once])
      expect(witness.keysOf("/again")).toEqual([again, again])
      await installation.eventually(
        "the direct call to be given up",
        async () => (await callDirectly()).body["code"] === "gateway.outcome-unknown",
        timeoutMilliseconds,
      )
      expect(witness.keysOf("/direct")).toEqual(["a-direct-call"])
    },
    timeoutMilliseconds,
  )
})
