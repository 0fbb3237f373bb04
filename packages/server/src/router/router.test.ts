import { keysCreate } from "@signalbox/contracts/identity/operations"
import { operations } from "@signalbox/contracts/operations"
import { hasCode } from "@signalbox/kernel/app-error"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { bootstrapIdentity, createIdentityService } from "../services/identity/service.ts"
import { createRoutingService, makeFirstMap } from "../services/routing/service.ts"
import { watchConfiguration, type ConfigurationWatcher } from "../storage/configuration-versions.ts"
import type { Tx } from "../storage/database.ts"
import { systemClock, systemRandom } from "../system.ts"
import type { Handler } from "./handler.ts"
import { nowhere } from "./forwarded-call.ts"
import { noGates } from "./gate-ports.ts"
import { noUses } from "./no-uses.fixture.ts"
import { createRouter, type EdgeCall, type Router } from "./router.ts"
import { noRules } from "./rule-ports.ts"

const own = operations.filter((operation) => operation.service === "identity" || operation.service === "routing")
const byName = new Map(own.map((operation) => [operation.name, operation]))

const noSecrets = () => Promise.resolve({})

let test_: TestDatabase
let watcher: ConfigurationWatcher
let router: Router
let key: string
let sequence = 0

beforeAll(async () => {
  test_ = await createTestDatabase()
  const { database } = test_
  await bootstrapIdentity({ database, clock: systemClock, random: systemRandom }, (text) => {
    key = text
    return Promise.resolve()
  })
  await makeFirstMap(database)
  const configurationChanged = () => void watcher.refresh()
  const handlers: Handler[] = []
  const identity = createIdentityService({
    database,
    clock: systemClock,
    random: systemRandom,
    logger: { warn: () => undefined },
    operations: byName,
    sessions: { lifetimeMilliseconds: 3_600_000, idleMilliseconds: 3_600_000 },
    secrets: { read: noSecrets, readVersions: noSecrets, versions: noSecrets },
    egress: { request: () => Promise.reject(new Error("nothing leaves here")) },
    configurationChanged,
  })
  const routing = createRoutingService({
    database,
    operations: byName,
    handlers: () => handlers,
    here: { urls: [] },
    configurationChanged,
    onRefused: () => undefined,
  })
  handlers.push(...identity.service.handlers, ...routing.service.handlers)
  watcher = await watchConfiguration({
    sql: database,
    listeners: [...identity.listeners, routing.table],
    onError: (error) => {
      throw error
    },
  })
  router = createRouter({
    database,
    clock: systemClock,
    random: systemRandom,
    map: () => routing.table.current(),
    operations: byName,
    authenticators: identity.authenticators,
    rules: noRules,
    gates: noGates,
    uses: noUses,
    elsewhere: nowhere,
    markSecretInput: (text) => `marked:${text.length}`,
  })
})

afterAll(async () => {
  await watcher.stop()
  await test_.drop()
})

beforeEach(() => {
  sequence++
})

function call(operation: string, input: unknown, more: Partial<EdgeCall> = {}): EdgeCall {
  return {
    operation,
    input,
    token: key,
    requestId: `req_${String(sequence).padStart(10, "0")}_${Math.random()}`,
    idempotencyKey: `key-of-test-${sequence}`,
    signal: new AbortController().signal,
    ...more,
  }
}

/** A version of the map that no operation would have let in. */
async function plant(tx: Tx, routes: object): Promise<void> {
  await tx.query(
    `insert into routing_map_versions (account, version, document, stamps, operation, changed_by)
     select '*', max(version) + 1, $1, '{}', 'test', 'test' from routing_map_versions`,
    [JSON.stringify({ destinations: {}, services: {}, routes })],
  )
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return "no error"
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

async function create(
  name: string,
  roles: string[],
  more: Partial<EdgeCall> = {},
): Promise<{ id: string; key: string }> {
  const reply = await router.carryOut(call("keys.create", { name, roles }, more))
  if (reply.effect !== "change" || reply.reply.status !== "done") throw new Error("not done")
  return reply.reply.value as { id: string; key: string }
}

describe("the router", () => {
  test("a near name is offered for an unknown operation", async () => {
    await expect(router.carryOut(call("keys.creat", {}))).rejects.toThrow(/did you mean keys\.create/)
  })

  test("no key, a wrong key, a key of another account: refused with a code", async () => {
    const { token: _, ...without } = call("auth.whoami", {})
    expect(await codeOf(router.carryOut(without))).toBe("identity.missing-credentials")
    expect(
      await codeOf(
        router.carryOut(call("auth.whoami", {}, { token: `${key.slice(0, -1)}${key.endsWith("x") ? "y" : "x"}` })),
      ),
    ).toBe("identity.invalid-credentials")
    expect(await codeOf(router.carryOut(call("auth.whoami", {}, { token: key.replace("_main_", "_other_") })))).toBe(
      "identity.invalid-credentials",
    )
  })

  test("a key of too low a role is refused, and the refusal is on record", async () => {
    const viewer = await create("a viewer", ["viewer"])
    await watcher.refresh()
    const refused = call("keys.create", { name: "x", roles: ["viewer"] }, { token: viewer.key })
    expect(await codeOf(router.carryOut(refused))).toBe("identity.permission-denied")
    const rows = await test_.database.query<{ outcome: string }>("select outcome from audit where id = $1", [
      refused.requestId,
    ])
    expect(rows).toEqual([{ outcome: "identity.permission-denied" }])
  })

  test("a key can't give what its owner doesn't have", async () => {
    const admin = await create("an admin", ["admin"])
    await watcher.refresh()
    expect(
      await codeOf(
        router.carryOut(
          call("keys.create", { name: "x", roles: ["platform"] }, { token: admin.key, idempotencyKey: "another-key" }),
        ),
      ),
    ).toBe("identity.role-not-grantable")
  })

  test("a change, its event, its audit record and its idempotency record commit together", async () => {
    const before = await test_.database.query("select 1 from api_keys")
    const made = await create("one", ["viewer"])
    const again = await create("one", ["viewer"])
    expect(again.id).toBe(made.id)
    expect(again.key).toBe("(shown once, in the first reply)")
    expect(await test_.database.query("select 1 from api_keys")).toHaveLength(before.length + 1)
    expect(await test_.database.query("select type from outbox where aggregate_id = $1", [made.id])).toEqual([
      { type: "key.created" },
    ])
    expect(await test_.database.query("select operation from audit where subject = $1", [made.id])).toEqual([
      { operation: "keys.create" },
    ])
    const stored = await test_.database.query<{ response: object }>(
      "select response from idempotency where operation = 'keys.create'",
    )
    expect(JSON.stringify(stored)).not.toContain(made.key)
  })

  test("a call between services is kept as one that could be repeated only where it has a key", async () => {
    const as = { account: "main", service: "approvals", cause: `req_between_${sequence}`, depth: 0 }
    const make = (once?: { key: string; bodyHash: string }) =>
      router.call(
        keysCreate,
        { name: "between", roles: ["viewer"] },
        { ...as, roles: ["admin"], ...(once && { once }) },
      )
    const kept = () => test_.database.query("select 1 from idempotency where operation = 'keys.create'")
    const before = await kept()
    const made = [await make(), await make()]
    expect(made[0]?.id).not.toBe(made[1]?.id)
    expect(await kept()).toHaveLength(before.length)
    expect(await test_.database.query("select operation from audit where cause = $1", [as.cause])).toHaveLength(2)
    const once = { key: "between-services", bodyHash: "hash" }
    expect((await make(once)).id).toBe((await make(once)).id)
    expect(await kept()).toHaveLength(before.length + 1)
  })

  test("the same key with another body is refused; without a key nothing changes", async () => {
    await create("two", ["viewer"])
    expect(await codeOf(create("other", ["viewer"]))).toBe("request.idempotency-key-reused")
    const { idempotencyKey: _, ...without } = call("keys.create", { name: "x", roles: ["viewer"] })
    expect(await codeOf(router.carryOut(without))).toBe("request.idempotency-key-required")
  })

  test("64 callers with one idempotency key make one change", async () => {
    const results = await Promise.allSettled(Array.from({ length: 64 }, () => create("raced", ["viewer"])))
    const ids = new Set(results.flatMap((result) => (result.status === "fulfilled" ? [result.value.id] : [])))
    expect(ids.size).toBe(1)
    for (const result of results) {
      if (result.status === "rejected") expect(hasCode(result.reason, "request.idempotency-in-flight")).toBe(true)
    }
    const rows = await test_.database.query("select 1 from api_keys where name = 'raced'")
    expect(rows).toHaveLength(1)
  })

  test("R2: an edit of the routing map takes effect without restart, and a protected row stays", async () => {
    await router.carryOut(call("routes.put", { operation: "accounts.list", services: [] }))
    await watcher.refresh()
    expect(await codeOf(router.carryOut(call("accounts.list", {})))).toBe("routing.no-route")
    expect(
      await codeOf(
        router.carryOut(
          call("routes.put", { operation: "routes.put", services: [] }, { idempotencyKey: "protected-row" }),
        ),
      ),
    ).toBe("routing.protected-route")
    await router.carryOut(call("routes.reset", {}, { idempotencyKey: "reset-the-map" }))
    await watcher.refresh()
    expect(await codeOf(router.carryOut(call("accounts.list", {})))).toBe("no error")
  })

  test("R2: a map that can't be loaded is refused and reported; the last good one stays", async () => {
    await test_.database.transaction(async (tx) => {
      await plant(tx, { "accounts.list": { services: ["ghosts"] } })
      await tx.query("update configuration_versions set version = version + 1 where component = 'routing.map'")
    })
    await watcher.refresh()
    const reply = await router.carryOut(call("routes.list", {}))
    expect(reply.effect === "read" && (reply.value as { refused?: { message: string } }).refused?.message).toContain(
      "ghosts",
    )
    expect(await codeOf(router.carryOut(call("accounts.list", {})))).toBe("no error")
    await router.carryOut(call("routes.reset", {}))
    await watcher.refresh()
  })

  test("R2: a row for an operation that only a newer server has is left alone", async () => {
    await test_.database.transaction(async (tx) => {
      await plant(tx, { "ghosts.list": { services: ["ghosts"] } })
      await tx.query("update configuration_versions set version = version + 1 where component = 'routing.map'")
    })
    await watcher.refresh()
    const reply = await router.carryOut(call("routes.list", {}))
    expect(reply.effect === "read" && reply.value).not.toHaveProperty("refused")
    expect(await codeOf(router.carryOut(call("ghosts.list", {})))).toBe("routing.unknown-operation")
  })

  test("a revoked key is refused", async () => {
    const made = await create("to revoke", ["viewer"])
    await watcher.refresh()
    expect(await codeOf(router.carryOut(call("auth.whoami", {}, { token: made.key })))).toBe("no error")
    await router.carryOut(call("keys.revoke", { key: made.id }, { idempotencyKey: "revoke-it-now" }))
    await watcher.refresh()
    expect(await codeOf(router.carryOut(call("auth.whoami", {}, { token: made.key })))).toBe(
      "identity.invalid-credentials",
    )
  })

  test("an unknown field is named", async () => {
    await expect(router.carryOut(call("keys.create", { name: "x", roles: ["viewer"], colour: "red" }))).rejects.toThrow(
      /colour/,
    )
  })
})
