import { operations } from "@signalbox/contracts/operations"
import { pino } from "pino"
import type { FastifyInstance } from "fastify"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { readSettings } from "../settings.ts"
import { systemClock, systemRandom } from "../system.ts"
import { shortestWait, startServerFixture, type ServerFixture } from "./edge.fixture.ts"
import { openBackendsListener, openMembersListener, operationsOfBackends, planListener } from "./listeners.ts"

let server: ServerFixture
const edges: FastifyInstance[] = []
let members: string
let backends: string

beforeAll(async () => {
  server = await startServerFixture()
  const { composition } = server
  const options = {
    ...{ router: composition.router, operations: composition.operations, clock: systemClock, random: systemRandom },
    ...{ logger: pino({ level: "silent" }), callsPerSecondMax: 100_000 },
    documents: new Map([
      ["/healthz", { mediaType: "application/json", body: () => "{}" }],
      ["/v1/openapi.json", { mediaType: "application/json", body: () => "{}" }],
    ]),
  }
  const forMembers = await planListener({ host: "127.0.0.1", port: 0 }, undefined)
  const forBackends = await planListener({ host: "127.0.0.1", port: 0 }, undefined)
  members = forMembers.url
  backends = forBackends.url
  edges.push(await openMembersListener(forMembers, options))
  edges.push(await openBackendsListener(forBackends, options))
})
afterAll(async () => {
  for (const edge of edges) await edge.close()
  await server.stop()
})

const served = operationsOfBackends(new Map(operations.map((operation) => [operation.name, operation])))

describe("A17: listeners of their own", () => {
  test("to members every operation is a 404, by path and by name; answer pages are there", async () => {
    for (const { method, path, name } of operations) {
      const byPath = await fetch(`${members}${path.replaceAll(/[{}]/g, "")}`, { method, headers: authorized() })
      expect(byPath.status, `${method} ${path}`).toBe(404)
      const byName = await fetch(`${members}/v1/operations/${name}`, { method: "POST", headers: authorized() })
      expect(byName.status, name).toBe(404)
    }
    expect((await fetch(`${members}/healthz`)).status).toBe(404)
    const page = await fetch(`${members}/answers/sbl_main_x`)
    expect([page.status, page.headers.get("content-type")]).toEqual([404, "text/html; charset=utf-8"])
    expect(await page.text()).toContain("This link is not valid")
  })

  test("backends reach what their keys may call, and nothing else is known there", async () => {
    expect([...served.keys()]).toContain("approval-requests.submit")
    expect([...served.keys()]).not.toContain("executions.create")
    for (const operation of operations) {
      const { name } = operation
      const headers = { ...authorized(), "content-type": "application/json" }
      const body = JSON.stringify(shortestWait(operation))
      const answer = await fetch(`${backends}/v1/operations/${name}`, { method: "POST", headers, body })
      const { code } = (await answer.json()) as { code?: string }
      expect(code === "routing.unknown-path", name).toBe(!served.has(name))
    }
    expect((await fetch(`${backends}/healthz`)).status).toBe(200)
    expect((await fetch(`${backends}/v1/openapi.json`)).status).toBe(404)
    expect((await fetch(`${backends}/answers/sbl_main_x`)).status).toBe(404)
    expect((await fetch(`${backends}/v1/auth/whoami`, { headers: authorized() })).status).toBe(200)
  })

  test("settings are whole or refused", () => {
    const read = (flags: Record<string, string>) => () => readSettings({ flags, variables: {} })
    expect(read({ "members-listen": "[::1]:7444", "members-url": "https://say.example.org/" })()).toMatchObject({
      members: { host: "::1", port: 7444, url: "https://say.example.org/" },
    })
    expect(read({ "members-listen": "nowhere" })).toThrow("write host:port")
    expect(read({ "members-url": "https://say.example.org" })).toThrow("members-listen")
    expect(read({ "backends-listen": "127.0.0.1:1", "backends-key": "key.pem" })).toThrow("backends-certificate")
    const files = { "backends-certificate": "no-such.pem", "backends-key": "no-such.pem" }
    expect(read({ "backends-listen": "127.0.0.1:1", ...files })).toThrow("can't be read")
  })
})

function authorized(): Record<string, string> {
  return { authorization: `Bearer ${server.platformKey}`, "idempotency-key": "listeners-test-key" }
}
