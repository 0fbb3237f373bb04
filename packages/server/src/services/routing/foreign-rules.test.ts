import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type Answer, type ServerFixture } from "../../http/edge.fixture.ts"
import { newSigningKey } from "../../storage/signing-key.ts"
import { toDecision } from "./foreign-rules.ts"

/** The example's rules service as a process of its own, which the map names for one operation. */
const program = fileURLToPath(new URL("../../../../../examples/rules-service/server.mjs", import.meta.url))
let server: ServerFixture
let directory: string
let service: ChildProcess
let url: string
let admin: string
const stubs: Server[] = []
const signingKey = newSigningKey()

async function startService(port = 0): Promise<void> {
  service = spawn(process.execPath, [program, String(port), join(directory, "key.pem")], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const [line] = (await once(service.stdout ?? service, "data")) as [Buffer]
  url = `http://127.0.0.1:${/\d+/.exec(line.toString())?.[0]}`
}

beforeAll(async () => {
  const loopback = parseHostRule("127.0.0.1")
  server = await startServerFixture({ egress: { allow: loopback ? [loopback] : [], privateAllowed: true }, signingKey })
  const made = await call("keys.create", { name: "admin", roles: ["admin"] }, server.platformKey)
  admin = String(made.body["key"])
  directory = await mkdtemp(join(tmpdir(), "signalbox rules "))
  await writeFile(join(directory, "key.pem"), signingKey.publicKey)
  await startService()
}, 60_000)
afterAll(async () => {
  service.kill("SIGKILL")
  await rm(directory, { recursive: true })
  await server.stop()
}, 60_000)
afterEach(async () => {
  expect((await call("routes.reset", {}, server.platformKey)).status).toBe(200)
  for (const stub of stubs.splice(0)) {
    stub.closeAllConnections()
    stub.close()
  }
})

const waits = { timeout: 60_000, interval: 20 }

const call = (operation: string, input: object, key: string): Promise<Answer> =>
  server.call(key, "POST", `/v1/operations/${operation}`, input)

async function must(operation: string, input: object, key = admin): Promise<Answer["body"]> {
  const answer = await call(operation, input, key)
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300)
  return answer.body
}

interface Asking {
  readonly name?: string
  readonly at?: string
  readonly operation?: string
  readonly actsAs?: string
  readonly services?: readonly string[]
  readonly east?: string
}

/** Lets the rows of an operation name a rules service. */
async function ask(rules: string, asking: Asking = {}): Promise<void> {
  const {
    name = rules === "none" ? "judge" : rules,
    at = url,
    operation = "groups.put",
    actsAs,
    services,
    east,
  } = asking
  const destinations = {
    [name]: { url: at, state: "own", ...(actsAs && { actsAs }) },
    ...(east && { east: { url: east } }),
  }
  const routes = { [operation]: { rules, ...(services && { services }) } }
  await must("routes.apply", { destinations, routes }, server.platformKey)
}

interface Question {
  readonly trigger: { readonly operation: string }
  readonly input: Readonly<Record<string, unknown>>
}

/** A rules service that says what it is told to. */
async function startStub(decide: (question: Question) => readonly object[]): Promise<string> {
  const stub = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => void chunks.push(chunk))
    request.on("end", () => {
      const question = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Question
      response.end(JSON.stringify({ trigger: question.trigger, actions: decide(question) }))
    })
  })
  stubs.push(stub.listen(0, "127.0.0.1"))
  await once(stub, "listening")
  return `http://127.0.0.1:${(stub.address() as AddressInfo).port}`
}

const put = (name: string, key = admin, more: object = {}): Promise<Answer> =>
  call("groups.put", { name, query: "role=web", ...more }, key)

const startedBy = ({ headers }: Answer): readonly string[] =>
  headers.get("signalbox-started")?.match(/act_[0-9a-z]{26}/g) ?? []

/** Once the run has ended: it is queued a moment after the reply that announced it. */
async function endOf(run: string | undefined): Promise<Answer["body"]> {
  return await vi.waitFor(async () => {
    const { body } = await call("actions.get", { action: run }, admin)
    expect(["succeeded", "dead", "stopped"]).toContain(body["state"])
    return body
  }, waits)
}

const countRuns = async (): Promise<unknown> =>
  (await server.test.database.query("select count(*)::int as count from action_runs"))[0]

describe("R15: a row that names another rules service", () => {
  test("is asked over the wire, and denies, rewrites and lets pass; other operations don't ask it", async () => {
    await ask("judge")
    const denied = await put("prod-web")
    expect(denied).toMatchObject({
      status: 403,
      body: { code: "rules.denied", details: { rule: "judge/production-groups" } },
    })
    const rewritten = await put("web")
    expect(rewritten.headers.get("signalbox-rules")).toBe("judge/describe-groups@1")
    expect((await call("groups.get", { name: "web" }, admin)).body).toMatchObject({ description: "not described" })
    expect((await put("prod-web", server.platformKey)).status).toBe(200)
    expect((await call("groups.remove", { name: "prod-web" }, admin)).status).toBe(200)
    await ask("none")
    expect((await put("prod-web")).status).toBe(200)
  })

  test("must be a destination of the map, and not of what mends the map", async () => {
    const destinations = { judge: { url, state: "own" } }
    const codeOf = async (routes: object) =>
      (await call("routes.apply", { destinations, routes }, server.platformKey)).body.code
    expect(await codeOf({ "groups.put": { rules: "nobody" } })).toBe("routing.invalid-map")
    expect(await codeOf({ "routes.put": { rules: "judge" } })).toBe("routing.protected-route")
  })

  test("that doesn't answer, or can't be understood, fails closed; the map can still be repaired", async () => {
    // It takes only what is for "judge".
    await ask("jury")
    expect(await put("closed")).toMatchObject({ status: 503, body: { code: "routing.destination-misbehaved" } })
    await ask("judge")
    service.kill("SIGKILL")
    await once(service, "exit")
    expect(await put("closed")).toMatchObject({ status: 503, body: { code: "routing.destination-unreachable" } })
    expect((await call("groups.get", { name: "closed" }, admin)).status).toBe(404)
    await ask("none")
    expect((await put("open")).status).toBe(200)
    await startService()
    await ask("judge")
    expect((await put("closed")).status).toBe(200)
  })
})

describe("R15, R7: operations that another rules service asks for", () => {
  beforeAll(async () => {
    await must("service-accounts.create", { name: "judge-acts", roles: ["operator"] })
  })

  test("are announced, queued once the call was carried out, and performed as the account that the map names", async () => {
    await ask("judge", { actsAs: "judge-acts" })
    const answer = await put("pool-one")
    expect(answer.status).toBe(200)
    const [run, ...more] = startedBy(answer)
    expect(more).toEqual([])
    expect(await endOf(run)).toMatchObject({
      ...{ id: run, state: "succeeded", rule: "judge/register-pools", version: 2, number: 0, depth: 1 },
      ...{ operation: "resources.apply", targets: ["pool-one"], author: "service-account:judge-acts" },
      trigger: { type: "operation.done" },
    })
    expect(await must("nodes.get", { node: "pool-one" })).toMatchObject({ tags: { group: "pool-one" } })
    const made = await server.test.database.query(
      "select principal from audit where operation = 'resources.apply' and caused_by = $1",
      [run],
    )
    expect(made).toEqual([{ principal: "rule:judge/register-pools" }])
    const { items } = await must("actions.list", { rule: "judge/register-pools" })
    expect((items as readonly { readonly id: string }[]).map(({ id }) => id)).toEqual([run])
  })

  test("start nothing where the call is refused, fails, or was made before", async () => {
    await ask("judge", { actsAs: "judge-acts" })
    const request = {
      method: "PUT",
      headers: {
        ...{ authorization: `Bearer ${admin}`, "content-type": "application/json" },
        "idempotency-key": "pool-repeated",
      },
      body: JSON.stringify({ query: "role=web" }),
    }
    const [first, repeat] = [
      await fetch(`${server.url}/v1/groups/pool-repeated`, request),
      await fetch(`${server.url}/v1/groups/pool-repeated`, request),
    ]
    const [started, again] = [first, repeat].map(({ headers }) => headers.get("signalbox-started"))
    expect([first.status, repeat.status, again]).toEqual([200, 200, started])
    await endOf(started?.slice("/v1/actions/".length))
    expect(await must("actions.list", { rule: "judge/register-pools", limit: 1 })).toMatchObject({
      items: [{ id: started?.slice("/v1/actions/".length) }],
    })
    const before = await countRuns()
    const failed = await put("pool-failed", admin, { query: undefined, nodes: ["no-such-node"] })
    expect([failed.body.code, startedBy(failed)]).toEqual(["fleet.node-not-found", []])
    const at = await startStub(() => [
      { rule: "no", action: "deny", input: { reason: "no" } },
      { rule: "yes", action: "resources.apply", input: { name: "denied", kind: "pool" } },
    ])
    await ask("judge", { at, actsAs: "judge-acts" })
    expect((await put("pool-denied")).body.code).toBe("rules.denied")
    // A later call's action is there: nothing of the others is still on its way.
    await ask("judge", { actsAs: "judge-acts" })
    await endOf(startedBy(await put("pool-last"))[0])
    expect(await countRuns()).toEqual({ count: (before as { count: number }).count + 1 })
  })

  test("have the authority of that account and no other, as it is when they run; they can be redriven", async () => {
    await ask("judge", { actsAs: "judge-later" })
    const [run] = startedBy(await put("pool-later"))
    expect(await endOf(run)).toMatchObject({ state: "dead", error: { code: "actions.author-refused" } })
    await must("service-accounts.create", { name: "judge-later", roles: ["viewer"] })
    await must("actions.redrive", { action: run })
    await vi.waitFor(async () => {
      const shown = await must("actions.get", { action: run })
      expect(shown).toMatchObject({ state: "dead", error: { code: "identity.permission-denied" } })
    }, waits)
    await must("service-accounts.update", { serviceAccount: "judge-later", roles: ["operator"] })
    await must("actions.redrive", { action: run })
    await vi.waitFor(async () => {
      expect(await must("actions.get", { action: run })).toMatchObject({ state: "succeeded" })
    }, waits)
  })

  test("are not for a user of that name", async () => {
    await must("users.create", { name: "judge-user", roles: ["admin"] })
    await ask("judge", { actsAs: "judge-user" })
    const [run] = startedBy(await put("pool-user"))
    expect(await endOf(run)).toMatchObject({ state: "dead", error: { code: "actions.author-refused" } })
  })

  test("refuse the call where the map gives the service no account, or it asks for too much", async () => {
    await ask("judge")
    expect(await put("pool-none")).toMatchObject({ status: 503, body: { code: "routing.destination-misbehaved" } })
    expect((await call("groups.get", { name: "pool-none" }, admin)).status).toBe(404)
    const following = { rule: "much", action: "resources.apply", input: { name: "much", kind: "pool" } }
    const tooMuch: ReadonlyArray<readonly object[]> = [
      Array.from({ length: 17 }, () => following),
      Array.from({ length: 65 }, (_, n) => ({ ...following, rule: `much-${n}` })),
      [{ ...following, input: { name: "x".repeat(70_000) } }],
      [{ ...following, rule: "other/much" }],
      [{ ...following, action: "resources" }],
    ]
    for (const actions of tooMuch) {
      await ask("judge", { at: await startStub(() => actions), actsAs: "judge-acts" })
      const answer = await put("pool-much")
      expect(answer, JSON.stringify(actions[0])?.slice(0, 99)).toMatchObject({
        status: 503,
        body: { code: "routing.destination-misbehaved" },
      })
    }
  })

  test("follow a read too, and a call that was held once it runs", async () => {
    const apply = (name: string) => ({
      ...{ rule: "tells", action: "resources.apply" },
      input: { name, kind: "pool" },
    })
    await ask("judge", {
      ...{ at: await startStub(() => [apply("pool-read")]), actsAs: "judge-acts", operation: "groups.list" },
    })
    const read = await call("groups.list", {}, admin)
    expect(await endOf(startedBy(read)[0])).toMatchObject({ state: "succeeded", rule: "judge/tells" })

    const delay = { rule: "waits", action: "delay", input: { for: "1s" } }
    await ask("judge", { at: await startStub(() => [delay, apply("pool-held")]), actsAs: "judge-acts" })
    const held = await put("held")
    expect([held.status, startedBy(held)]).toEqual([202, []])
    await vi.waitFor(async () => {
      const runs = await server.test.database.query(
        "select state from action_runs where input ->> 'name' = 'pool-held'",
      )
      expect(runs).toEqual([{ state: "succeeded" }])
    }, waits)
  })

  test("that set themselves going are stopped as rules of ours are", async () => {
    const at = await startStub(({ input }) => [
      { rule: "loop", action: "groups.put", input: { name: `${String(input["name"])}-x`, query: "role=web" } },
    ])
    await ask("judge", { at, actsAs: "judge-acts" })
    expect((await put("loop")).status).toBe(200)
    const statesOf = async () => {
      const { items } = await must("actions.list", { rule: "judge/loop" })
      return (items as readonly { readonly depth: number; readonly state: string; readonly error?: object }[])
        .toSorted((one, other) => one.depth - other.depth)
        .map(({ depth, state }) => `${depth} ${state}`)
    }
    const expected = ["1 succeeded", "2 succeeded", "3 succeeded", "4 succeeded", "5 stopped"]
    await vi.waitFor(async () => expect(await statesOf()).toEqual(expected), waits)
  })

  test("go with a call that is carried out by another server, which asks nobody once more", async () => {
    const east = await server.another({ destination: "east", signingKey: newSigningKey() })
    let asked = 0
    const at = await startStub(({ input }) => {
      asked++
      return [{ rule: "there", action: "resources.apply", input: { name: String(input["name"]), kind: "pool" } }]
    })
    await ask("judge", { at, actsAs: "judge-acts", services: ["fleet@east"], east: east.url })
    const answer = await vi.waitFor(async () => {
      const given = await put("pool-there")
      expect(given.status, JSON.stringify(given.body)).toBe(200)
      return given
    }, waits)
    expect(startedBy(answer)).toHaveLength(1)
    expect(await endOf(startedBy(answer)[0])).toMatchObject({ state: "succeeded", rule: "judge/there" })
    expect(asked).toBe(1)
  })
})

test("a denial wins over everything else that rules want; the longest delay counts", () => {
  const version = 1
  const delays = ["5m", "10m"].map((time) => ({ rule: time, version, action: "delay" as const, input: { for: time } }))
  const approval = { rule: "a", version, action: "require-approval" as const, input: { template: "two" } }
  expect(toDecision([])).toEqual({ kind: "pass" })
  expect(toDecision([...delays, approval])).toMatchObject({
    kind: "demand",
    delayMilliseconds: 600_000,
    templates: ["two"],
  })
  const denial = { rule: "d", version, action: "deny" as const, input: { reason: "no" } }
  expect(toDecision([approval, denial])).toMatchObject({ kind: "deny", reason: "no", by: { rule: "d" } })
})
