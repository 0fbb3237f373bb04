/** Secrets in calls to services outside that are held: marks for everybody who looks, and the call itself in clear. */
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { randomUUID } from "node:crypto"
import { afterAll, beforeAll, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "../approvals/approvals.fixture.ts"
import { register, startUpstream, type TestUpstream } from "./gateway.fixture.ts"

let approvals: ApprovalsFixture
let upstream: TestUpstream
let member: Member
const sent: Array<{ url: string; body: string }> = []

const text = { type: "string" }
const password = { type: "string", format: "password" }
const responses = { 200: { description: "ok" } }
const document = {
  openapi: "3.1.0",
  info: { title: "Accounts", version: "1" },
  paths: {
    "/users/{token}": {
      post: {
        operationId: "makeUser",
        parameters: [
          { name: "token", in: "path", required: true, schema: { ...text, "x-signalbox-secret": true } },
          { name: "code", in: "query", schema: password },
          { name: "why", in: "query", schema: text },
        ],
        requestBody: {
          content: {
            "application/json": {
              schema: {
                type: "object",
                properties: { name: text, login: { type: "object", properties: { password } } },
              },
            },
            "application/x-www-form-urlencoded": { schema: { type: "object", properties: { password } } },
          },
        },
        responses,
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
      sent.push({ url: request.url ?? "", body: Buffer.concat(chunks).toString() })
      response.writeHead(200, { "content-type": "application/json" }).end("{}")
    })
  })
  member = await approvals.key("member", ["approver"])
  await put("approval-groups", "owners", { members: [{ principal: member.principal }] })
  await put("approval-templates", "one", { levels: [{ name: "one", group: "owners", strategy: { kind: "any" } }] })
  await register(approvals.server, approvals.admin, { name: "users", urls: [upstream.url], document })
  await put("associations", "outside", { template: "one", selector: { operation: "ext.users.*" } })
  await put("rules", "after-user", {
    on: [{ operation: "ext.users.makeUser", phase: "after" }],
    do: [{ operation: "groups.put", input: { name: "made", query: "a=1", description: "${{ event.id }}" } }],
  })
}, 60_000)

afterAll(async () => {
  await approvals.stop()
  await upstream.stop()
})

async function put(kind: string, name: string, body: object): Promise<void> {
  const made = await approvals.server.call(approvals.admin, "PUT", `/v1/${kind}/${name}`, body)
  expect(made.status, JSON.stringify(made.body)).toBe(200)
}

interface Sending {
  readonly code?: string
  readonly body?: string
  readonly type?: string
}

const usual = '{"login":{"password":"pass-s3cret"},"name":"Ada"}'

/** Gives what is to be approved. */
async function hold({ code = "code-s3cret", body = usual, type = "application/json" }: Sending = {}) {
  const response = await fetch(`${approvals.server.url}/x/users/users/token-s3cret?why=new&code=${code}`, {
    method: "POST",
    headers: { authorization: `Bearer ${approvals.admin}`, "content-type": type, "idempotency-key": randomUUID() },
    body,
  })
  const answer = (await response.json()) as { requestUrl?: string }
  expect(response.status, JSON.stringify(answer)).toBe(202)
  const request = String(answer.requestUrl).replace(/^.*\//, "")
  return { ...(await approvals.call(approvals.admin, approvalRequestsGet, { request })), request }
}

/** Tables with a row that has a text, whatever its columns. */
async function tablesWith(wanted: string): Promise<string[]> {
  const { database } = approvals.server.test
  const tables = await database.query<{ name: string }>(
    "select quote_ident(table_schema) || '.' || quote_ident(table_name) as name from information_schema.tables " +
      "where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')",
  )
  const found: string[] = []
  for (const { name } of tables) {
    const rows = await database.query(`select 1 from ${name} as each where each::text like $1 limit 1`, [`%${wanted}%`])
    if (rows.length > 0) found.push(name)
  }
  return found
}

const mark = expect.stringMatching(/^hmac:[0-9a-f]{64}$/) as string

test("D6: those who vote, and every record, have marks; the service gets the clear text", async () => {
  const { request, content, title, digest } = await hold()
  expect(title).toBe("POST /users/***?code=***&why=new of users")
  expect(content).toEqual({
    operation: "ext.users.makeUser",
    input: {
      path: { token: mark },
      query: { code: mark, why: "new" },
      headers: expect.anything() as object,
      body: { name: "Ada", login: { password: mark } },
    },
    plan: { service: "users", serviceVersion: 1, method: "POST", path: "/users/***?code=***&why=new" },
  })
  await approvals.call(member.key, approvalRequestsApprove, { request, digest })
  await untilTrue(async () => (await approvals.call(approvals.admin, heldOperationsGet, { request })).state === "done")
  expect(sent).toEqual([{ url: "/users/token-s3cret?code=code-s3cret&why=new", body: usual }])
  await untilTrue(async () => (await approvals.server.call(approvals.admin, "GET", "/v1/groups/made")).status === 200)
  expect(await tablesWith("s3cret")).toEqual([])
  // The search itself finds what is there.
  expect(await tablesWith("operation.done")).not.toEqual([])
})

test("D6: another secret is another content, and the same secret the same", async () => {
  const first = await hold()
  const digests = [
    (await hold()).digest,
    (await hold({ code: "other" })).digest,
    (await hold({ body: usual.replace("pass-", "word-") })).digest,
  ]
  expect(digests.map((digest) => digest === first.digest)).toEqual([true, false, false])
  expect(new Set(digests).size).toBe(3)
})

test("D6: of a body that is no JSON, or not exact, nothing is shown", async () => {
  const form = await hold({ type: "application/x-www-form-urlencoded", body: "name=Ada&password=pass-s3cret" })
  expect(form.content).toMatchObject({ input: { body: mark } })
  const exact = await hold({ body: '{"login":{"password":"pass-s3cret"},"n":12345678901234567890}' })
  expect(exact.content).toMatchObject({ input: { bodyBase64: mark } })
  expect(await tablesWith("s3cret")).toEqual([])
})

test("D6: rules see marks, and neither rules nor schedules keep secrets", async () => {
  const acts = (input: object) => ({ on: [{ trigger: "manual" }], do: [{ operation: "ext.users.makeUser", input }] })
  await put("triggers", "manual", {})
  const kept = await approvals.server.call(
    approvals.admin,
    "PUT",
    "/v1/rules/keeps",
    acts({ path: { token: "x" }, body: { login: { password: "${{ event.id }}" } } }),
  )
  expect(kept.body).toMatchObject({
    code: "rules.invalid-rule",
    issues: [{ path: "do.0.input.path.token" }, { path: "do.0.input.body.login.password" }],
  })
  for (const [field, value] of [
    ["path.token", "x"],
    ["query.code", "${{ caller.kind }}"],
    ["body.login.password", "x"],
    ["body.login", { password: "${{ caller.kind }}" }],
  ] as const) {
    const on = [{ operation: "ext.users.makeUser", phase: "before" }]
    const rule = { on, do: [{ rewrite: { [field]: value } }] }
    const { body } = await approvals.server.call(approvals.admin, "PUT", "/v1/rules/keeps", rule)
    expect(body).toMatchObject({ code: "rules.invalid-rule", issues: [{ path: `do.0.rewrite.${field}` }] })
  }
  const input = { path: { token: "x" } }
  const schedule = { cron: "0 3 * * *", zone: "UTC", call: { operation: "ext.users.makeUser", input } }
  expect((await approvals.server.call(approvals.admin, "PUT", "/v1/schedules/keeps", schedule)).body).toMatchObject({
    code: "calendars.call-refused",
    issues: [{ path: "call.input.path.token" }],
  })
  await put("rules", "peeks", {
    on: [{ operation: "ext.users.makeUser", phase: "before" }],
    when: "input.path.token == 'token-s3cret'",
    do: [{ deny: { reason: "seen" } }],
  })
  await hold()
})
