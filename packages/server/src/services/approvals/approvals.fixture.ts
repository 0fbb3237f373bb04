/** Approvals on a whole server with a database of its own; and callers that are users, keys and backends. */
import type { CallInputOf, OperationDeclaration, OutputOf } from "@signalbox/contracts/operation"
import { setTimeout as delay } from "node:timers/promises"
import { approvalRequestsGet, approvalRequestsSubmit } from "@signalbox/contracts/approvals/requests"
import { FakeClock } from "@signalbox/testkit/fake-clock"
import { expect } from "vitest"
import type { z } from "zod"
import { startServerFixture, type ServerFixture, type ServerFixtureOptions } from "../../http/edge.fixture.ts"

type Declaration = OperationDeclaration<z.ZodObject, z.ZodType>

export interface ApprovalsFixture {
  readonly server: ServerFixture
  readonly clock: FakeClock
  /** The key of an account's administrator. */
  readonly admin: string
  /** Makes an API key; gives its text and its principal. */
  key(name: string, roles: readonly string[], account?: string): Promise<Member>
  /** Makes a service account with a key of its own; gives both. */
  member(name: string, roles: readonly string[], teams?: readonly string[]): Promise<Member>
  /** Submits a request, and waits until the server that knows its association by now has opened it. */
  submit(key: string, input: CallInputOf<typeof approvalRequestsSubmit>): Promise<OutputOf<typeof approvalRequestsGet>>
  /** A call's output. */
  call<O extends Declaration>(key: string, operation: O, input: CallInputOf<O>): Promise<OutputOf<O>>
  /** The code with which a call is refused. */
  refusal<O extends Declaration>(key: string, operation: O, input: CallInputOf<O>): Promise<string>
  /** The same calls on another server. */
  on(server: ServerFixture): Pick<ApprovalsFixture, "call" | "refusal">
  /** Types of the events of a request, in their order. */
  eventsOf(request: string): Promise<string[]>
  stop(): Promise<void>
}

export interface Member {
  readonly key: string
  readonly principal: string
}

export async function startApprovals(options: ServerFixtureOptions = {}): Promise<ApprovalsFixture> {
  const clock = new FakeClock(Date.now())
  const server = await startServerFixture({ clock, ...options })
  const admins = new Map([["main", server.platformKey]])
  const { call, refusal } = callsOn(server)
  return {
    server,
    clock,
    admin: server.platformKey,
    async member(name, roles, teams = []) {
      const made = await server.call(server.platformKey, "POST", "/v1/service-accounts", { name, roles, teams })
      expect(made.status, JSON.stringify(made.body)).toBe(200)
      const owned = await server.call(server.platformKey, "POST", "/v1/keys", { name, roles, owner: made.body["id"] })
      expect(owned.status, JSON.stringify(owned.body)).toBe(200)
      const key = owned.body["key"] as string
      await untilTrue(async () => (await server.call(key, "GET", "/v1/auth/whoami")).status === 200)
      return { key, principal: String(made.body["id"]) }
    },
    async submit(key, input) {
      const { id } = await call(key, approvalRequestsSubmit, { unmatched: "wait", ...input })
      let seen = await call(server.platformKey, approvalRequestsGet, { request: id })
      await untilTrue(async () => {
        seen = await call(server.platformKey, approvalRequestsGet, { request: id })
        return seen.state !== "unmatched"
      })
      return seen
    },
    async key(name, roles, account = "main") {
      const admin = admins.get(account) ?? (await makeAccount(server, account))
      admins.set(account, admin)
      const made = await server.call(admin, "POST", "/v1/keys", { name, roles })
      expect(made.status, JSON.stringify(made.body)).toBe(200)
      const key = made.body["key"] as string
      await untilTrue(async () => (await server.call(key, "GET", "/v1/auth/whoami")).status === 200)
      return { key, principal: `key:${String(made.body["id"])}` }
    },
    call,
    refusal,
    on: callsOn,
    async eventsOf(request) {
      const rows = await server.test.database.query<{ type: string }>(
        "select type from outbox where subject = $1 order by subject_version",
        [request],
      )
      return rows.map(({ type }) => type)
    },
    stop: () => server.stop(),
  }
}

function callsOn(server: ServerFixture): Pick<ApprovalsFixture, "call" | "refusal"> {
  const send = async (key: string, operation: Declaration, input: Readonly<Record<string, unknown>>) => {
    const rest = { ...input }
    const path = operation.path.replaceAll(/\{([a-zA-Z]+)\}/g, (_match, field: string) => {
      const value = String(rest[field])
      delete rest[field]
      return encodeURIComponent(value)
    })
    if (operation.method !== "GET" && operation.method !== "DELETE")
      return await server.call(key, operation.method, path, rest)
    const query = new URLSearchParams(
      Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, String(value)])),
    ).toString()
    return await server.call(key, operation.method, query === "" ? path : `${path}?${query}`)
  }
  return {
    async call(key, operation, input) {
      const answer = await send(key, operation, input)
      expect(answer.status, `${operation.name}: ${JSON.stringify(answer.body)}`).toBe(200)
      return answer.body as never
    },
    async refusal(key, operation, input) {
      const answer = await send(key, operation, input)
      return answer.status < 300 ? "accepted" : String(answer.body.code)
    },
  }
}

async function makeAccount(server: ServerFixture, id: string): Promise<string> {
  const made = await server.call(server.platformKey, "POST", "/v1/accounts", { id })
  expect(made.status).toBe(200)
  const key = made.body["key"] as string
  await untilTrue(async () => (await server.call(key, "GET", "/v1/auth/whoami")).status === 200)
  return key
}

export async function untilTrue(condition: () => Promise<boolean> | boolean): Promise<void> {
  const end = Date.now() + 30_000
  while (!(await condition())) {
    expect(Date.now(), "the condition holds in time").toBeLessThan(end)
    await delay(20)
  }
}
