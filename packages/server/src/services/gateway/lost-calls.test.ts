/** What a call comes to whose server died at each point of it: the rows are planted as such a server leaves them. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { decideSend } from "../../router/external-change.ts"
import { register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"
import { lostCalls } from "./lost-calls.ts"

let server: ServerFixture
let upstream: TestUpstream
/** Holds the reply back until it is called. */
let release: (() => void) | undefined
let holds = false

beforeAll(async () => {
  const rule = parseHostRule("127.0.0.1")
  server = await startServerFixture({ egress: { allow: rule ? [rule] : [], privateAllowed: false } })
  upstream = await startUpstream((request, response) => {
    request.resume()
    const reply = (): unknown => response.writeHead(200, { "content-type": "application/json" }).end("{}")
    if (holds) release = reply
    else reply()
  })
  await register(server, server.platformKey, {
    name: "things",
    urls: [upstream.url],
    operations: { putThing: { retrySafe: true } },
  })
})

beforeEach(() => {
  holds = false
  upstream.requests.length = 0
})

afterAll(async () => {
  await server.stop()
  await upstream.stop()
})

async function call(id: string, key: string): Promise<{ status: number; code: string | undefined }> {
  const response = await fetch(`${server.url}/v1/operations/ext.things.${id}`, {
    method: "POST",
    headers: {
      ...{ authorization: `Bearer ${server.platformKey}`, "content-type": "application/json" },
      "idempotency-key": key,
    },
    body: JSON.stringify(id === "putThing" ? { path: { id: "1" }, body: {} } : { body: {} }),
  })
  const { code } = (await response.json()) as { code?: string }
  return { status: response.status, code }
}

const sql = <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  server.test.database.query<Row>(text, values)

/** Leaves the row of a call as a server leaves it that is killed while it waits for the reply. */
async function dieWhileSending(id: string, key: string): Promise<void> {
  holds = true
  const answer = call(id, key)
  await expect.poll(() => release, { timeout: 30_000 }).toBeDefined()
  await sql("create table if not exists kept as select * from external_calls with no data")
  await sql("insert into kept select * from external_calls where state = 'sending'")
  release?.()
  release = undefined
  holds = false
  expect((await answer).status).toBe(200)
  await sql("insert into external_calls select * from kept")
  await sql("update external_calls set server = 'srv_dead'")
  await sql("delete from kept")
  await sql("delete from idempotency where operation like 'ext.%'")
  await sql("delete from audit where operation like 'ext.%'")
}

const runSweep = (): Promise<void> =>
  lostCalls.run({ database: server.test.database, signal: new AbortController().signal } as never)

describe("D6: a server that died between the call and its reply", () => {
  test("leaves a call that is not sent again", async () => {
    await dieWhileSending("makeThing", "died-at-makeThing")
    expect(await call("makeThing", "died-at-makeThing")).toEqual({ status: 502, code: "gateway.outcome-unknown" })
    expect(upstream.requests).toHaveLength(1)
    await runSweep()
    const outcomes = await sql<{ outcome: string }>(
      "select outcome from audit where operation = 'ext.things.makeThing'",
    )
    expect(outcomes).toEqual([{ outcome: "gateway.outcome-unknown" }])
    expect(await call("makeThing", "died-at-makeThing")).toMatchObject({ code: "gateway.outcome-unknown" })
    await runSweep()
    expect(await sql("select 1 from audit where operation = 'ext.things.makeThing'")).toHaveLength(1)
    expect(upstream.requests).toHaveLength(1)
  })

  test("leaves a call that is sent again under the same key, where it bears that", async () => {
    await dieWhileSending("putThing", "died-at-putThing")
    expect(await call("putThing", "died-at-putThing")).toMatchObject({ status: 200 })
    const keys = upstream.requests.map(({ headers }) => headers["idempotency-key"])
    expect(keys).toEqual(["died-at-putThing", "died-at-putThing"])
    expect(await sql("select 1 from external_calls where operation = 'ext.things.putThing'")).toEqual([])
  })
})

test("a call that is under way is not sent a second time, and gives the first one's answer afterwards", async () => {
  holds = true
  const first = call("putThing", "under-way-now")
  await expect.poll(() => release, { timeout: 30_000 }).toBeDefined()
  expect(await call("putThing", "under-way-now")).toEqual({ status: 409, code: "request.idempotency-in-flight" })
  await runSweep()
  release?.()
  release = undefined
  expect((await first).status).toBe(200)
  expect((await call("putThing", "under-way-now")).status).toBe(200)
  expect(upstream.requests).toHaveLength(1)
})

test("who was given up finds its call settled: what was said stays", async () => {
  holds = true
  const answer = call("makeThing", "given-up-on")
  await expect.poll(() => release, { timeout: 30_000 }).toBeDefined()
  await sql("update external_calls set ends_at = clock_timestamp() - interval '1 second' where state = 'sending'")
  await runSweep()
  release?.()
  release = undefined
  expect(await answer).toEqual({ status: 502, code: "gateway.outcome-unknown" })
})

test("every case of a row and its repeat", () => {
  const row = { bodyHash: "a", upstreamKey: "k" }
  const cases = [
    [undefined, false, "send"],
    [{ ...row, state: "sending", isUnderWay: true }, false, "in-flight"],
    [{ ...row, state: "sending", isUnderWay: true }, true, "in-flight"],
    [{ ...row, state: "sending", isUnderWay: false }, false, "unknown"],
    [{ ...row, state: "sending", isUnderWay: false }, true, "send"],
    [{ ...row, state: "unknown", isUnderWay: false }, false, "unknown"],
    [{ ...row, state: "unknown", isUnderWay: false }, true, "send"],
    [{ ...row, bodyHash: "b", state: "unknown", isUnderWay: false }, true, "reused"],
    [{ ...row, bodyHash: "b", state: "sending", isUnderWay: true }, true, "reused"],
  ] as const
  for (const [found, retrySafe, expected] of cases)
    expect(decideSend(found, { bodyHash: "a", retrySafe }), JSON.stringify([found, retrySafe])).toBe(expected)
})
