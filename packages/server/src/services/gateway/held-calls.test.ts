/** Calls to services outside that wait for an approval, by both doors, and what a crash at each point leaves. */
import { approvalRequestsApprove, approvalRequestsDeny } from "@signalbox/contracts/approvals/answers"
import { heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { once } from "node:events"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { WebSocket } from "ws"
import { parseHostRule } from "../../egress/host-rule.ts"
import { addJob } from "../../storage/background-queue.ts"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "../approvals/approvals.fixture.ts"
import { documentOfThings, register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"

let approvals: ApprovalsFixture
let upstream: TestUpstream
let member: Member
let sequence = 0
/** What the service says next. */
let answer: { status?: number; cut?: boolean } = {}
const bodies: string[] = []

const document = {
  ...documentOfThings,
  paths: {
    ...documentOfThings.paths,
    "/retried": {
      post: {
        operationId: "retried",
        "x-signalbox-retry-safe": true,
        parameters: [{ name: "X-Reason", in: "header", schema: { type: "string" } }],
        responses: { 200: { description: "ok" } },
      },
    },
  },
}

beforeAll(async () => {
  const rule = parseHostRule("127.0.0.1")
  approvals = await startApprovals({ egress: { allow: rule ? [rule] : [], privateAllowed: false } })
  upstream = await startUpstream((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      bodies.push(Buffer.concat(chunks).toString())
      if (answer.cut) return void request.socket.destroy()
      response.writeHead(answer.status ?? 201, { "content-type": "application/json", etag: '"7"' }).end('{"made":7}')
    })
  })
  member = await approvals.key("member", ["approver"])
  await apply("approval-groups", "owners", { members: [{ principal: member.principal }] })
  await apply("approval-templates", "one", { levels: [{ name: "one", group: "owners", strategy: { kind: "any" } }] })
  for (const name of ["things", "edited", "removed"]) await registerService(name)
  await apply("associations", "outside", { template: "one", selector: { operation: "ext.*" } })
})

beforeEach(() => {
  answer = {}
  upstream.requests.length = 0
  bodies.length = 0
})

afterAll(async () => {
  await approvals.stop()
  await upstream.stop()
})

const registerService = (name: string, more: object = {}) =>
  register(approvals.server, approvals.admin, {
    name,
    urls: [upstream.url],
    document,
    breaker: { failures: 1000 },
    ...more,
  })

async function apply(kind: string, name: string, body: object): Promise<void> {
  const made = await approvals.server.call(approvals.admin, "PUT", `/v1/${kind}/${name}`, body)
  expect(made.status, JSON.stringify(made.body)).toBe(200)
}

type Headers = Readonly<Record<string, string>>

async function send(path: string, init: { method?: string; headers?: Headers; body?: string | Buffer } = {}) {
  const response = await fetch(`${approvals.server.url}${path}`, {
    method: init.method ?? "POST",
    ...(init.body === undefined ? {} : { body: init.body }),
    headers: {
      authorization: `Bearer ${approvals.admin}`,
      "content-type": "application/json",
      "idempotency-key": `held-outside-${++sequence}`,
      ...init.headers,
    },
  })
  const text = await response.text()
  const body = JSON.parse(text === "" ? "{}" : text) as { requestUrl?: string; code?: string; detail?: string }
  return { status: response.status, headers: response.headers, body }
}

const pass = (path: string, init?: Parameters<typeof send>[1]) => send(`/x/${path}`, init)
const byName = (name: string, input: object, headers: Headers = {}) =>
  send(`/v1/operations/ext.${name}`, { body: JSON.stringify(input), headers })

function requestOf({ status, body }: Awaited<ReturnType<typeof send>>): string {
  expect(status, JSON.stringify(body)).toBe(202)
  return String(body.requestUrl).replace(/^.*\//, "")
}

const held = (request: string) => approvals.call(approvals.admin, heldOperationsGet, { request })

async function approve(request: string): Promise<void> {
  const { digest } = await approvals.call(approvals.admin, approvalRequestsGet, { request })
  await approvals.call(member.key, approvalRequestsApprove, { request, digest })
}

async function approveAndWait(request: string, state: string): Promise<Awaited<ReturnType<typeof held>>> {
  await approve(request)
  await untilTrue(async () => (await held(request)).state === state)
  return held(request)
}

describe("A7, D4, D6: a call to a service outside that is held", () => {
  test("by its path: is kept with its body, sent once after the approval, and its reply is kept", async () => {
    const answered = await pass("things/things?when=now&dry=no&dry=maybe", {
      body: '{"a":1}',
      headers: { "x-other": "not kept", "if-match": '"6"', "user-agent": "test" },
    })
    const request = requestOf(answered)
    expect(answered.headers.get("location")).toBe(answered.body.requestUrl)
    expect(upstream.requests).toHaveLength(0)
    const { content } = await approvals.call(approvals.admin, approvalRequestsGet, { request })
    expect(content).toMatchObject({
      operation: "ext.things.makeThing",
      input: { body: { a: 1 }, query: { dry: ["no", "maybe"], when: "now" }, headers: { "if-match": '"6"' } },
      plan: {
        service: "things",
        serviceVersion: 1,
        method: "POST",
        path: "/things?dry=no&dry=maybe&when=now",
        bodyBytes: 7,
      },
    })
    expect(await approveAndWait(request, "done")).toMatchObject({
      operation: "ext.things.makeThing",
      result: { status: 201, headers: { etag: '"7"' }, body: { made: 7 } },
    })
    expect(upstream.requests).toHaveLength(1)
    const [sent] = upstream.requests
    expect(sent?.url).toBe("/things?dry=no&dry=maybe&when=now")
    expect(sent?.headers).toMatchObject({ "idempotency-key": request, "if-match": '"6"', "signalbox-depth": "1" })
    expect(sent?.headers).not.toHaveProperty("x-other")
    expect(bodies).toEqual(['{"a":1}'])
  })

  test("by its name: the same, and the same call again finds the same request", async () => {
    const input = { path: { id: "a b" }, body: { n: 1 } }
    const key = { "idempotency-key": "twice-by-name" }
    const request = requestOf(await byName("things.putThing", input, key))
    expect(requestOf(await byName("things.putThing", input, key))).toBe(request)
    await approveAndWait(request, "done")
    expect(upstream.requests.map(({ method, url }) => [method, url])).toEqual([["PUT", "/things/a%20b"]])
  })

  test("a caller that waits gets what the service replied, by either door", async () => {
    for (const door of ["path", "name"] as const) {
      const headers = { prefer: "wait=50", "idempotency-key": `waits-by-${door}` }
      const waiting =
        door === "path"
          ? pass("things/things", { body: "{}", headers })
          : byName("things.makeThing", { body: {} }, headers)
      let request = ""
      await untilTrue(async () => {
        const { body } = await approvals.server.call(approvals.admin, "GET", "/v1/approval-requests?state=open&limit=1")
        request = (body["items"] as Array<{ id: string }>)[0]?.id ?? ""
        return request !== ""
      })
      await approve(request)
      const { status, headers: told, body } = await waiting
      expect([status, told.get("signalbox-approval")]).toEqual([door === "path" ? 201 : 200, request])
      expect(body).toMatchObject(door === "path" ? { made: 7 } : { status: 201, body: { made: 7 } })
    }
  })

  test("bodies that are no JSON are kept as they are, and so are numbers that JSON would change", async () => {
    const exact = '{"n":12345678901234567890}'
    const texts = requestOf(await pass("things/things", { body: "a=1", headers: { "content-type": "text/x" } }))
    const bytes = requestOf(
      await pass("things/things", { body: Buffer.from([0, 255]), headers: { "content-type": "image/x" } }),
    )
    const digits = requestOf(await pass("things/things", { body: exact }))
    for (const request of [texts, bytes, digits]) await approveAndWait(request, "done")
    expect(bodies).toEqual(["a=1", Buffer.from([0, 255]).toString(), exact])
    expect(upstream.requests.map(({ headers }) => headers["content-type"])).toEqual([
      ...["text/x", "image/x", "application/json"],
    ])
  })

  test("headers that the document names are kept; what is denied is never sent", async () => {
    const request = requestOf(await pass("things/retried", { body: "{}", headers: { "x-reason": "because" } }))
    const { digest, content } = await approvals.call(approvals.admin, approvalRequestsGet, { request })
    expect(content).toMatchObject({ input: { headers: { "x-reason": "because" } } })
    await approvals.call(member.key, approvalRequestsDeny, { request, digest, comment: "no" })
    await untilTrue(async () => (await held(request)).state === "discarded")
    expect(upstream.requests).toHaveLength(0)
  })

  test("what can't be kept is refused: long bodies, upgrades, the caller's own key; and one without a key", async () => {
    const long = JSON.stringify({ a: "x".repeat(128 * 1024) })
    expect(await pass("things/things", { body: long })).toMatchObject({
      status: 403,
      body: { code: "approvals.refused", detail: expect.stringContaining("131072 bytes") },
    })
    await registerService("trusted", { forwardAuthorization: true })
    expect((await pass("trusted/things", { body: "{}" })).body.code).toBe("approvals.refused")
    const keyless = await fetch(`${approvals.server.url}/x/things/things`, {
      method: "POST",
      headers: { authorization: `Bearer ${approvals.admin}` },
    })
    expect(((await keyless.json()) as { code: string }).code).toBe("request.idempotency-key-required")
    await registerService("sockets", { operations: { watchThings: { effect: "change" } } })
    const socket = new WebSocket(`${approvals.server.url.replace("http", "ws")}/x/sockets/stream`, {
      headers: { authorization: `Bearer ${approvals.admin}`, "idempotency-key": "a-socket-to-hold" },
    })
    const [, refused] = (await once(socket, "unexpected-response")) as [unknown, { statusCode: number }]
    expect(refused.statusCode).toBe(403)
    expect(upstream.requests).toHaveLength(0)
  })

  test("what was edited or removed meanwhile is not sent: it is not what was approved", async () => {
    const edited = requestOf(await pass("edited/things", { body: "{}" }))
    const removed = requestOf(await pass("removed/things", { body: "{}" }))
    await registerService("edited", { retries: 0 })
    await approvals.server.call(approvals.admin, "DELETE", "/v1/services/removed")
    expect(await approveAndWait(edited, "failed")).toMatchObject({ error: { code: "approvals.content-changed" } })
    expect(await approveAndWait(removed, "failed")).toMatchObject({ error: { code: "routing.unknown-operation" } })
    expect(upstream.requests).toHaveLength(0)
  })

  test("whose caller may call no more is not sent", async () => {
    const made = await approvals.key("caller", ["operator", "consumer"])
    const request = requestOf(
      await pass("things/things", { body: "{}", headers: { authorization: `Bearer ${made.key}` } }),
    )
    const id = made.principal.replace("key:", "")
    const revoked = await approvals.server.call(approvals.admin, "POST", `/v1/keys/${id}:revoke`)
    expect(revoked.status, JSON.stringify(revoked.body)).toBe(200)
    expect(await approveAndWait(request, "failed")).toMatchObject({ error: { code: "identity.permission-denied" } })
    expect(upstream.requests).toHaveLength(0)
  })

  test("what the service refuses is told with its reply", async () => {
    const request = requestOf(await pass("things/things", { body: "{}" }))
    answer = { status: 422 }
    expect(await approveAndWait(request, "failed")).toMatchObject({
      error: { code: "gateway.service-refused" },
      result: { status: 422, body: { made: 7 } },
    })
    expect(upstream.requests).toHaveLength(1)
  })

  test("a reply that never comes: nobody knows, and only what bears it is sent again, with the same key", async () => {
    answer = { cut: true }
    const lost = requestOf(await pass("things/things", { body: "{}" }))
    expect(await approveAndWait(lost, "outcome-unknown")).toMatchObject({ error: { code: "gateway.outcome-unknown" } })
    expect(upstream.requests).toHaveLength(1)
    const safe = requestOf(await pass("things/retried", { body: "{}" }))
    await approve(safe)
    await untilTrue(() => upstream.requests.length > 1)
    answer = {}
    await untilTrue(async () => (await held(safe)).state === "done")
    const keys = upstream.requests.map(({ headers }) => headers["idempotency-key"])
    expect(keys.length).toBeGreaterThan(2)
    expect(new Set(keys)).toEqual(new Set([lost, safe]))
  })
})

const sql = <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  approvals.server.test.database.query<Row>(text, values)

/** A held call as it was before it ran, and what a server that died at one point of its run had written. */
async function dieAt(point: "before-row" | "sending" | "recorded", path: string): Promise<string> {
  const request = requestOf(await pass(path, { body: JSON.stringify({ point, path }) }))
  const [waiting] = await sql<{ sealed: string; key: string; hash: string }>(
    `select sealed, idempotency_key as key, body_hash as hash from held_operations where request_id = $1`,
    [request],
  )
  await approveAndWait(request, "done")
  await sql(
    `update held_operations set state = 'approved', sealed = $2, result = null, ran_at = null, called_at = now()
     where request_id = $1`,
    [request, waiting?.sealed],
  )
  if (point !== "recorded") {
    const [record] = await sql<{ id: string }>(
      `delete from idempotency where operation like 'ext.%' and body_hash = $1 returning id`,
      [waiting?.hash],
    )
    await sql("delete from audit where caused_by = $1", [request])
    if (point === "sending")
      await sql(
        `insert into external_calls (id, account, principal, operation, body_hash, upstream_key, request_id, cause, server,
           ends_at)
         values ($1, 'main', 'key:any', 'ext.any', $2, $3, 'req_dead', 'req_dead', 'srv_dead', now() + interval '1 hour')`,
        [record?.id, waiting?.hash, request],
      )
  }
  return request
}

async function runAgain(requestId: string): Promise<void> {
  const payload = { account: "main", requestId }
  await addJob(approvals.server.test.database, { task: "approvals.run-held", key: requestId, payload })
}

describe("D6: a server that dies at a held call", () => {
  test("before it wrote down that it sends: the call is sent", async () => {
    const request = await dieAt("before-row", "things/things")
    await runAgain(request)
    await untilTrue(async () => (await held(request)).state === "done")
    expect(upstream.requests).toHaveLength(2)
  })

  test("while it sends: nobody knows, and it is not sent again", async () => {
    const request = await dieAt("sending", "things/things")
    await runAgain(request)
    await untilTrue(async () => (await held(request)).state === "outcome-unknown")
    expect(upstream.requests).toHaveLength(1)
  })

  test("while it sends what bears a repeat: it is sent again under the same key", async () => {
    const request = await dieAt("sending", "things/retried")
    await runAgain(request)
    await untilTrue(async () => (await held(request)).state === "done")
    expect(upstream.requests.map(({ headers }) => headers["idempotency-key"])).toEqual([request, request])
  })

  test("while it sends, and the service is another by then: still nobody knows", async () => {
    await registerService("later")
    const request = await dieAt("sending", "later/things")
    await registerService("later", { retries: 0 })
    await runAgain(request)
    await untilTrue(async () => (await held(request)).state === "outcome-unknown")
    expect(upstream.requests).toHaveLength(1)
  })

  test("after the reply was written down: the reply is found, and nothing is sent", async () => {
    const request = await dieAt("recorded", "things/things")
    await runAgain(request)
    await untilTrue(async () => (await held(request)).state === "done")
    expect(await held(request)).toMatchObject({ result: { status: 201, body: { made: 7 } } })
    expect(upstream.requests).toHaveLength(1)
  })
})

test("R7: a rule delays a call to a service outside, and wants another approved", async () => {
  await approvals.server.call(approvals.admin, "DELETE", "/v1/associations/outside")
  const before = [{ operation: "ext.things.makeThing", phase: "before" }]
  await apply("rules", "later", {
    on: before,
    when: 'has(input.body) && input.body.word == "later"',
    do: [{ delay: "1h" }],
  })
  await apply("rules", "asked", {
    on: before,
    when: 'has(input.body) && input.body.word == "asked"',
    do: [{ requireApproval: { template: "one" } }],
  })
  const later = await pass("things/things", { body: '{"word":"later"}' })
  expect(later.headers.get("signalbox-rules")).toBe("later@1")
  const delayed = await held(requestOf(later))
  expect(Date.parse(delayed.notBefore ?? "")).toBeGreaterThan(approvals.clock.now())
  expect(upstream.requests).toHaveLength(0)
  const asked = requestOf(await byName("things.makeThing", { body: { word: "asked" } }))
  await approveAndWait(asked, "done")
  expect((await pass("things/things", { body: '{"word":"neither"}' })).status).toBe(201)
  expect(bodies).toEqual(['{"word":"asked"}', '{"word":"neither"}'])
})
