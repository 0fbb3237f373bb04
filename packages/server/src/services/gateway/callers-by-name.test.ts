/** What calls operations of services outside while nobody waits: schedules, actions of rules, steps of workflows. */
import { randomUUID } from "node:crypto"
import { afterAll, beforeAll, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"

let server: ServerFixture
let upstream: TestUpstream
let key: string
const sent: Array<{ readonly headers: Record<string, unknown>; readonly body: string }> = []

beforeAll(async () => {
  const rule = parseHostRule("127.0.0.1")
  server = await startServerFixture({ egress: { allow: rule ? [rule] : [], privateAllowed: false } })
  key = server.platformKey
  upstream = await startUpstream((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      sent.push({ headers: request.headers, body: Buffer.concat(chunks).toString() })
      response.writeHead(201, { "content-type": "application/json" }).end('{"id":"7"}')
    })
  })
  await register(server, key, { name: "things", urls: [upstream.url] })
})

afterAll(async () => {
  await server.stop()
  await upstream.stop()
})

async function put(path: string, body: object): Promise<void> {
  const answer = await server.call(key, "PUT", path, body)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
}

const found = async (word: string) => {
  await expect.poll(() => sent.some(({ body }) => body.includes(word)), { timeout: 60_000 }).toBe(true)
  const [call, ...others] = sent.filter(({ body }) => body.includes(word))
  expect(others).toEqual([])
  return call
}

test("R6: the action of a rule, with what its event says, one step deeper in the story", async () => {
  await put("/v1/triggers/manual", {})
  await put("/v1/rules/tell-things", {
    on: [{ trigger: "manual" }],
    do: [{ operation: "ext.things.makeThing", input: { body: { word: "${{ event.data.data.word }}" } } }],
  })
  const word = randomUUID()
  const fired = await server.call(key, "POST", "/v1/triggers/manual:fire", { data: { word } })
  expect(fired.status, JSON.stringify(fired.body)).toBe(200)
  const call = await found(word)
  expect(call?.headers).toMatchObject({ "signalbox-principal": "rule:tell-things" })
  expect(String(call?.headers["idempotency-key"])).toMatch(/^act_/)
  expect(Number(call?.headers["signalbox-depth"])).toBeGreaterThan(0)
  const id = String(call?.headers["idempotency-key"])
  await expect
    .poll(async () => (await server.call(key, "GET", `/v1/actions/${id}`)).body["state"], { timeout: 30_000 })
    .toBe("succeeded")
})

test("a schedule is checked against the operation's input, and fires", async () => {
  const word = randomUUID()
  const schedule = { at: new Date(Date.now() + 1_500).toISOString(), call: { operation: "ext.things.makeThing" } }
  const refused = await server.call(key, "PUT", "/v1/schedules/tell", {
    ...schedule,
    call: { ...schedule.call, input: { nonsense: 1 } },
  })
  expect(refused.body.code).toBe("calendars.call-refused")
  await put("/v1/schedules/tell", { ...schedule, call: { ...schedule.call, input: { body: { word } } } })
  expect((await found(word))?.headers).toMatchObject({ "signalbox-principal": "schedule:tell" })
})

test("auth can knows operations of services outside", async () => {
  const { body } = await server.call(key, "GET", "/v1/auth/can?operation=ext.things.makeThing")
  expect(body).toMatchObject({ allowed: true, permission: "services.change" })
})
