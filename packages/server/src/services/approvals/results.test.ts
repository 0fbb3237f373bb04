import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { approvalRequestsApprove, approvalRequestsDeny } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsSubmit } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { channelsApply, deliveriesList } from "@signalbox/contracts/notifications/operations"
import { secretsPut } from "@signalbox/contracts/secrets/operations"
import { Webhook } from "standardwebhooks"
import { afterAll, beforeAll, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

const signingKey = `whsec_${Buffer.alloc(32, 5).toString("base64")}`
let fixture: ApprovalsFixture
let ada: Member
let backend: Member
let receiver: Server
const received: Array<{ headers: Record<string, string>; body: string }> = []
let status = 204

beforeAll(async () => {
  receiver = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      received.push({
        headers: request.headers as Record<string, string>,
        body: Buffer.concat(chunks).toString(),
      })
      response.writeHead(status).end()
    })
  })
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve))
  const loopback = parseHostRule("127.0.0.1")
  fixture = await startApprovals({ egress: { allow: loopback ? [loopback] : [], privateAllowed: true } })
  ada = await fixture.member("ada", ["approver"])
  backend = await fixture.member("shop", ["backend"])
  const { admin } = fixture
  await fixture.call(admin, secretsPut, { name: "hook-key", value: signingKey })
  await fixture.call(admin, channelsApply, {
    name: "shop",
    via: "webhook",
    url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/results`,
    signingSecret: "hook-key",
  })
  await fixture.call(admin, approvalGroupsApply, { name: "leads", members: [{ principal: ada.principal }] })
  const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
  await fixture.call(admin, templatesApply, { name: "one", levels })
  await fixture.call(admin, associationsApply, { name: "one", template: "one", selector: { type: "purchase" } })
}, 60_000)

afterAll(async () => {
  await fixture.stop()
  receiver.closeAllConnections()
  await new Promise((resolve) => receiver.close(resolve))
})

const submit = (title: string) =>
  fixture.submit(backend.key, { type: "purchase", title, content: { title }, callback: "shop" })

interface Result {
  readonly type: string
  readonly subject: string
  readonly data: Readonly<Record<string, unknown>>
}

const resultsOf = (request: string): Result[] =>
  received.map(({ body }) => JSON.parse(body) as Result).filter(({ subject }) => subject === request)

test("A12: the asking service is told the result once, signed, with who approved what", async () => {
  const { id, digest } = await submit("chairs")
  await fixture.call(ada.key, approvalRequestsApprove, { request: id, digest, comment: "yes" })
  await untilTrue(() => resultsOf(id).length > 0)
  const { headers, body } = received.at(-1) ?? { headers: {}, body: "" }
  expect(new Webhook(signingKey).verify(body, headers)).toMatchObject({ type: "approval-request.approved" })
  const [result] = resultsOf(id)
  expect(result?.data).toMatchObject({
    ...{ request: id, result: "approved", reason: "votes", digest, title: "chairs", type: "purchase" },
    approvers: [{ level: "only", by: { key: ada.principal }, member: { key: ada.principal } }],
  })
})

test("A12: a receiver that fails is asked again; a result is neither lost nor told under another id", async () => {
  status = 503
  const { id, digest } = await submit("tables")
  await fixture.call(ada.key, approvalRequestsDeny, { request: id, digest })
  await untilTrue(() => resultsOf(id).length > 0)
  status = 204
  const { items } = await fixture.call(fixture.admin, deliveriesList, { channel: "shop", subject: id })
  expect(items).toHaveLength(1)
  expect(items[0]).toMatchObject({ state: "pending", event: { type: "approval-request.denied" } })
  await untilTrue(() => {
    fixture.clock.advance(10_000)
    return resultsOf(id).length === 2
  })
  const ids = received.filter(({ body }) => body.includes(id)).map(({ headers }) => headers["webhook-id"])
  expect(new Set(ids).size).toBe(1)
}, 60_000)

test("A12: a callback is a webhook channel that exists", async () => {
  const asked = { type: "purchase", title: "x", content: 1 }
  expect(await fixture.refusal(backend.key, approvalRequestsSubmit, { ...asked, callback: "nowhere" })).toBe(
    "approvals.callback-refused",
  )
})
