import { grantableRoles, permissionsOf } from "@signalbox/contracts/identity/roles"
import { operations } from "@signalbox/contracts/operations"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startServerFixture, type ServerFixture } from "./edge.fixture.ts"

/**
 * Every operation is called by a key of every role, with an input that no operation takes: a role that has the
 * permission gets as far as the check of the input, every other is refused before it. Nothing is ever carried out.
 */
let server: ServerFixture
const keys = new Map<string, string>()

beforeAll(async () => {
  server = await startServerFixture()
  for (const role of grantableRoles) {
    const made = await server.call(server.platformKey, "POST", "/v1/keys", { name: role, roles: [role] })
    keys.set(role, String(made.body["key"]))
  }
  const last = keys.get(grantableRoles.at(-1) ?? "")
  const end = Date.now() + 30_000
  while ((await server.call(last, "GET", "/v1/auth/whoami")).status !== 200)
    expect(Date.now(), "the keys are known in time").toBeLessThan(end)
})

afterAll(() => server.stop())

const called = operations.filter(({ anonymous, effect }) => anonymous !== true && effect !== "session")

describe("X2: the matrix of docs/roles.md is what the server does", () => {
  test.each(grantableRoles)("%s", async (role) => {
    const held = permissionsOf([role])
    const wrong: string[] = []
    for (const operation of called) {
      const answer = await server.call(keys.get(role), "POST", `/v1/operations/${operation.name}`, { "no such": 1 })
      const expected = held.has(operation.permission) ? "request.invalid-input" : "identity.permission-denied"
      if (answer.body.code !== expected)
        wrong.push(`${operation.name}: ${answer.status} ${String(answer.body.code)}, not ${expected}`)
    }
    expect(wrong).toEqual([])
  })
})
