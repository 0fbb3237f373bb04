import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type Answer, type ServerFixture } from "../../http/edge.fixture.ts"
import { noRules, type RuleMatcher } from "../../router/rule-ports.ts"
import { newSigningKey } from "../../storage/signing-key.ts"
import { toDecision } from "./foreign-rules.ts"
import { mapRules } from "./mapped-rules.ts"

/** The example's rules service as a process of its own, which the map names for one operation. */
const program = fileURLToPath(new URL("../../../../../examples/rules-service/server.mjs", import.meta.url))
let server: ServerFixture
let directory: string
let service: ChildProcess
let url: string
let admin: string

beforeAll(async () => {
  const loopback = parseHostRule("127.0.0.1")
  const signingKey = newSigningKey()
  server = await startServerFixture({ egress: { allow: loopback ? [loopback] : [], privateAllowed: true }, signingKey })
  const made = await call("keys.create", { name: "admin", roles: ["admin"] }, server.platformKey)
  admin = String(made.body["key"])
  directory = await mkdtemp(join(tmpdir(), "signalbox rules "))
  const keyFile = join(directory, "key.pem")
  await writeFile(keyFile, signingKey.publicKey)
  service = spawn(process.execPath, [program, "0", keyFile], { stdio: ["ignore", "pipe", "inherit"] })
  const [line] = (await once(service.stdout ?? service, "data")) as [Buffer]
  url = `http://127.0.0.1:${/\d+/.exec(line.toString())?.[0]}`
}, 60_000)
afterAll(async () => {
  service.kill("SIGKILL")
  await rm(directory, { recursive: true })
  await server.stop()
}, 60_000)
afterEach(async () => {
  expect((await call("routes.reset", {}, server.platformKey)).status).toBe(200)
})

const call = (operation: string, input: object, key: string): Promise<Answer> =>
  server.call(key, "POST", `/v1/operations/${operation}`, input)

async function ask(rules: string, name = "judge", at = url): Promise<void> {
  const destinations = { [name]: { url: at, state: "own" } }
  const routes = { "groups.put": { rules } }
  const answer = await call("routes.apply", { destinations, routes }, server.platformKey)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
}

const put = (name: string, key = admin): Promise<Answer> => call("groups.put", { name, query: "role=web" }, key)

describe("R15: a row that names another rules service", () => {
  test("is asked over the wire, and denies, rewrites and lets pass; other operations don't ask it", async () => {
    await ask("judge")
    const denied = await put("prod-web")
    expect(denied).toMatchObject({
      status: 403,
      body: { code: "rules.denied", details: { rule: "production-groups" } },
    })
    const rewritten = await put("web")
    expect(rewritten.headers.get("signalbox-rules")).toBe("describe-groups@1")
    expect((await call("groups.get", { name: "web" }, admin)).body).toMatchObject({ description: "not described" })
    expect((await put("prod-web", server.platformKey)).status).toBe(200)
    expect((await call("groups.remove", { name: "prod-web" }, admin)).status).toBe(200)
    await ask("none")
    expect((await put("prod-web")).status).toBe(200)
  })

  test("that doesn't answer, or can't be understood, fails closed; the map can still be repaired", async () => {
    await ask("judge", "judge", "http://127.0.0.1:9")
    expect(await put("closed")).toMatchObject({ status: 503, body: { code: "routing.destination-unreachable" } })
    // It takes only what is for "judge".
    await ask("jury", "jury")
    expect(await put("closed")).toMatchObject({ status: 503, body: { code: "routing.destination-misbehaved" } })
    expect((await call("groups.get", { name: "closed" }, admin)).status).toBe(404)
  })

  test("must be a destination of the map", async () => {
    const routes = { "groups.put": { rules: "nobody" } }
    const answer = await call("routes.apply", { routes }, server.platformKey)
    expect(answer.body.code).toBe("routing.invalid-map")
  })
})

test("R15: taking rules out of one operation's row stops them for that operation alone", async () => {
  const builtIn: RuleMatcher = {
    ...noRules,
    isAsked: () => true,
    decide: () => ({ kind: "deny", by: { rule: "all", version: 1 }, code: "rules.denied", reason: "no" }),
    follow: () => [{ rule: "all", version: 1 }],
  }
  const rows = new Map([["a.b", "none" as const]])
  const map = () => ({ version: 1, handlers: new Map(), remote: new Map(), rules: rows, elsewhere: new Set<string>() })
  const decide = () => Promise.reject(new Error("nobody is asked"))
  const rules = mapRules({ builtIn, map, decide })
  const caller = { principal: "usr_a", kind: "user", roles: [] } as const
  const of = (operation: string) => ({ account: "main", operation, caller, input: {}, output: {} })
  expect([rules.isAsked("main", "a.b", "before"), rules.isAsked("main", "a.b", "after")]).toEqual([false, false])
  expect(await rules.decide(of("a.b"))).toEqual({ kind: "pass" })
  expect(await rules.follow(of("a.b"))).toEqual([])
  expect(rules.isAsked("main", "a.c", "before")).toBe(true)
  expect(await rules.decide(of("a.c"))).toMatchObject({ kind: "deny" })
  expect(await rules.follow(of("a.c"))).toHaveLength(1)
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
