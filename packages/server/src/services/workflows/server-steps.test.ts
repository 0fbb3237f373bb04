import { setTimeout as delay } from "node:timers/promises"
import { randomBytes } from "node:crypto"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { pino } from "pino"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { createEgress } from "../../egress/egress.ts"
import type { Caller } from "../../router/handler.ts"
import type { StandingCall, StepRequest } from "../../router/ports.ts"
import { ServerSteps } from "./server-steps.ts"
import { reviveDocument } from "./workflow-text.ts"

interface Received {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: string
}

const account = "main"
const node = "nod_01jd3v0n9wfx2s8q4r6t8v0xya"
let test_: TestDatabase
let receiver: Server
let base: string
let received: Received[]
let answer: { status: number; body: string; delayed?: Promise<void> }
let calls: StandingCall[]
const egress = createEgress({ allow: [{ kind: "host", host: "127.0.0.1", below: false }], privateAllowed: true })

beforeAll(async () => {
  test_ = await createTestDatabase()
  receiver = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on("data", (part: Buffer) => parts.push(part))
    request.on("end", () => {
      const { method = "", url = "", headers } = request
      received.push({ method, url, headers, body: Buffer.concat(parts).toString() })
      const { delayed, status, body } = answer
      void Promise.resolve(delayed).then(() =>
        response.writeHead(status, { "content-type": "application/json" }).end(body),
      )
    })
  })
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve))
  base = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
})
beforeEach(() => {
  received = []
  calls = []
  answer = { status: 200, body: `{"version":"1.2","token":"hunter2-hunter2"}` }
})
afterAll(async () => {
  receiver.close()
  await egress.close()
  await test_.drop()
})

function performer(name: string): ServerSteps {
  const caller = { account, principal: "key:key_1", kind: "key", roles: ["operator"] } as unknown as Caller
  return new ServerSteps({
    sql: test_.database,
    clock: { now: () => Date.now() },
    logger: pino({ level: "silent" }),
    performer: name,
    approvals: { perform: () => Promise.reject(new Error("no step here waits for people")) },
    egress,
    standing: {
      callStanding: async (call) => {
        calls.push(call)
        return { status: "done", value: { changed: true } }
      },
    },
    principals: { findPrincipal: (_, principal) => (principal === "key:key_1" ? caller : undefined) },
    secrets: {
      read: async () => ({}),
      readVersions: async (_, places) =>
        Object.fromEntries(places.map(({ name, version }) => [name, { version, value: "hunter2-hunter2" }])),
      versions: async () => ({}),
    },
  })
}

/** An execution with one target in flight, and the key of its first attempt. */
async function startRun(steps: object[], options: { createdBy?: string } = {}): Promise<string> {
  const id = `exe_${randomBytes(13).toString("hex")}`
  const definition = { kind: "Workflow", name: "t", steps, parameters: { v: { type: "string" } } }
  reviveDocument(definition)
  await test_.database.query(
    `insert into executions (id, account, state, workflow_name, targets_text, targets_count, concurrency, width,
       error_limit, errors_max, counts, rollbacks, version, cause, caused_by, depth, created_by, next_ordinal)
     values ($1, $2, 'running', 't', 'all nodes', 1, '1', 1, '1', 1, '{}', '{}', 1, 'req_1', 'req_1', 0, $3, 1)`,
    [id, account, options.createdBy ?? "key:key_1"],
  )
  await test_.database.query(
    `insert into execution_plans (execution_id, account, definition, parameters, targets, targets_max)
     values ($1, $2, $3, '{"v":"1.2"}', '{}', 1)`,
    [id, account, JSON.stringify(definition)],
  )
  await test_.database.query(
    `insert into execution_targets (execution_id, ordinal, account, node_id, node_name) values ($1, 0, $2, $3, 'web-1')`,
    [id, account, node],
  )
  return `${id}/0/1`
}

const request = (key: string, more: Partial<StepRequest> = {}): StepRequest => ({
  ...{ key, phase: "task", step: 0, try: 1, values: {} },
  ...more,
})

describe("W2: steps that the server performs", () => {
  test("an HTTP call is filled in, judged by its status, and its answer comes back without secrets", async () => {
    const key = await startRun([
      {
        http: {
          method: "POST",
          url: `${base}/drain/\${{ node.name }}?v=\${{ params.v }}`,
          headers: { authorization: "Bearer ${{ secrets.token }}" },
          body: "${{ steps.a.outputs.id }}",
        },
      },
    ])
    const done = await performer("p1").perform(node, request(key, { values: { a: { id: "42" } } }))
    expect(received).toMatchObject([
      { method: "POST", url: "/drain/web-1?v=1.2", body: "42", headers: { authorization: "Bearer hunter2-hunter2" } },
    ])
    expect(done?.result).toMatchObject({ state: "succeeded", stdout: { head: `{"version":"1.2","token":"***"}` } })
    expect(done?.reply).toMatchObject({ status: 200, json: { version: "1.2", token: "***" } })
    const rows = await test_.database.query("select answer from execution_step_calls")
    expect(JSON.stringify([done, rows])).not.toContain("hunter2")
  })

  test("X5: an answer that repeats a secret encoded among other text is masked as on a node", async () => {
    const basic = Buffer.from("you:hunter2-hunter2").toString("base64")
    answer = { ...answer, body: JSON.stringify({ sent: basic }) }
    const step = { url: `${base}/echo`, method: "GET" }
    const key = await startRun([{ http: { ...step, headers: { authorization: "Bearer ${{ secrets.token }}" } } }])
    const done = await performer("p1").perform(node, request(key))
    expect(done?.result).toMatchObject({ state: "succeeded" })
    expect(JSON.stringify(done?.reply)).toContain("***")
    expect(JSON.stringify(done)).not.toContain(basic.slice(6, 20))
  })

  test("a status that is not expected fails the step", async () => {
    answer = { status: 503, body: "busy" }
    const key = await startRun([{ http: { url: base } }, { http: { url: base, status: [503] } }])
    expect((await performer("p1").perform(node, request(key)))?.result).toMatchObject({
      state: "failed",
      message: expect.stringContaining("answered with 503"),
    })
    expect((await performer("p1").perform(node, request(key, { step: 1 })))?.result.state).toBe("succeeded")
  })

  test("the same request is performed once, however often and from wherever it is asked", async () => {
    const key = await startRun([{ http: { method: "POST", url: base } }])
    const steps = performer("p1")
    const answers = await Promise.all(Array.from({ length: 5 }, () => steps.perform(node, request(key))))
    const again = await performer("p2").perform(node, request(key))
    expect(received).toHaveLength(1)
    expect(new Set([...answers, again].map((given) => JSON.stringify(given))).size).toBe(1)
  })

  test("a node that goes to another server in the middle of a call gets the answer of the one that makes it", async () => {
    const key = await startRun([{ http: { method: "POST", url: base } }])
    const hung = Promise.withResolvers<void>()
    answer = { ...answer, delayed: hung.promise }
    await test_.database.query("insert into server (id, worker_ids, leased_until) values ('living', '{}', 'infinity')")
    const living = performer("living").perform(node, request(key))
    await expect.poll(() => received.length).toBe(1)
    const there = performer("there").perform(node, request(key))
    // Time enough for a second call, or for a wrong answer, were there one.
    await Promise.race([there, delay(200)])
    hung.resolve()
    expect(await there).toEqual(await living)
    expect(received).toHaveLength(1)
    await test_.database.query("delete from server")
  })

  test("what another process left open is repeated only where that is safe", async () => {
    const steps = [
      { http: { method: "POST", url: base } },
      { http: { method: "PUT", url: base } },
      { operation: { name: "nodes.update" } },
    ]
    const key = await startRun(steps)
    const hung = Promise.withResolvers<void>()
    answer = { ...answer, delayed: hung.promise }
    const dead = performer("dead")
    for (const step of [0, 1]) void dead.perform(node, request(key, { step }))
    await expect.poll(() => received.length).toBe(2)
    const [executionId] = key.split("/")
    await test_.database.query(
      `insert into execution_step_calls (execution_id, ordinal, attempt, phase, step, try, account, performer)
       values ($1, 0, 1, 'task', 2, 1, $2, 'dead')`,
      [executionId, account],
    )
    answer = { status: 200, body: "{}" }
    const next = performer("next")
    expect((await next.perform(node, request(key, { step: 0 })))?.result).toMatchObject({
      state: "failed",
      message: expect.stringContaining("not known"),
    })
    expect((await next.perform(node, request(key, { step: 1 })))?.result.state).toBe("succeeded")
    expect((await next.perform(node, request(key, { step: 2 })))?.result.state).toBe("succeeded")
    // The first two leave at once, in either order.
    expect(received.map(({ method }) => method).toSorted()).toEqual(["POST", "PUT", "PUT"])
    expect(calls).toMatchObject([{ operation: "nodes.update", idempotencyKey: `${key}/task/2/1`, cause: "req_1" }])
    hung.resolve()
    await dead.idle()
    // The first answer stays, also against the one that came late.
    expect((await performer("later").perform(node, request(key, { step: 0 })))?.result.state).toBe("failed")
  })

  test("nobody but the task's node is answered, and only while its task is in flight", async () => {
    const key = await startRun([{ http: { url: base } }])
    const steps = performer("p1")
    expect(await steps.perform("nod_01jd3v0n9wfx2s8q4r6t8v0xyb", request(key))).toBeUndefined()
    expect(await steps.perform(node, request(key, { phase: "rollback" }))).toBeUndefined()
    await test_.database.query("update executions set finished_at = now() where id = $1", [key.split("/")[0]])
    expect(await steps.perform(node, request(key))).toBeUndefined()
    expect(received).toEqual([])
  })

  test("an address that the guarded way out refuses, a missing output and a revoked author fail the step, with the reason", async () => {
    const key = await startRun(
      [
        { http: { url: "http://169.254.169.254/latest/meta-data" } },
        { http: { url: `${base}/\${{ steps.a.outputs.id }}` } },
        { operation: { name: "nodes.update" } },
      ],
      { createdBy: "key:key_gone" },
    )
    const steps = performer("p1")
    const messages: Array<string | undefined> = []
    for (const step of [0, 1, 2]) messages.push((await steps.perform(node, request(key, { step })))?.result.message)
    expect(messages).toEqual([
      expect.stringContaining("egress.refused-address"),
      expect.stringContaining(`step "a" has brought no output "id"`),
      expect.stringContaining("may not call anything any more"),
    ])
    expect(calls).toEqual([])
  })
})
