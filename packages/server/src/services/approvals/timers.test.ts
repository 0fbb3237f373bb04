import {
  approvalRequestsAnswer,
  approvalRequestsApprove,
  approvalRequestsAsk,
} from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

const hour = 3_600_000
let fixture: ApprovalsFixture
let ada: Member
let ben: Member
let cyd: Member
let backend: Member
let sequence = 0

beforeAll(async () => {
  fixture = await startApprovals()
  ada = await fixture.member("ada", ["operator"])
  ben = await fixture.member("ben", ["operator"])
  cyd = await fixture.member("cyd", ["operator"])
  backend = await fixture.member("shop", ["backend"])
  const { admin } = fixture
  const members = [{ principal: ada.principal }, { principal: ben.principal }]
  await fixture.call(admin, approvalGroupsApply, { name: "two", members })
  await fixture.call(admin, approvalGroupsApply, { name: "boss", members: [{ principal: cyd.principal }] })
}, 60_000)

let type = ""
beforeEach(() => {
  type = `case-${++sequence}`
})

afterAll(() => fixture.stop())

async function submit(rule: object, template: object = {}) {
  const { admin } = fixture
  const level = { name: "only", group: "two", strategy: { kind: "all" as const }, ...rule }
  await fixture.call(admin, templatesApply, { name: type, levels: [level], ...template })
  await fixture.call(admin, associationsApply, { name: type, template: type, selector: { type } })
  return await fixture.submit(backend.key, { type, title: type, content: { type } })
}

const count = async (request: string, name: string): Promise<number> =>
  (await fixture.eventsOf(request)).filter((each) => each === `approval-request.${name}`).length

test("A10: reminders, then the escalation, then the expiry with its default result: each once", async () => {
  const { id } = await submit({
    reminders: { every: "1h", max: 2 },
    escalation: { after: "3h", group: "boss" },
    expiresAfter: "6h",
  })
  fixture.clock.advance(hour)
  await untilTrue(async () => (await count(id, "reminded")) === 1)
  fixture.clock.advance(hour)
  await untilTrue(async () => (await count(id, "reminded")) === 2)
  fixture.clock.advance(hour)
  await untilTrue(async () => (await count(id, "escalated")) === 1)
  const { levels } = await fixture.call(cyd.key, approvalRequestsGet, { request: id })
  expect(levels[0]?.seats.map(({ member, escalation }) => [member.key, escalation])).toEqual([
    [ada.principal, false],
    [ben.principal, false],
    [cyd.principal, true],
  ])
  fixture.clock.advance(3 * hour)
  await untilTrue(async () => (await count(id, "expired")) === 1)
  const ended = await fixture.call(cyd.key, approvalRequestsGet, { request: id })
  expect(ended).toMatchObject({ state: "expired", outcome: { result: "denied", reason: "timeout" } })
  expect([await count(id, "reminded"), await count(id, "escalated")]).toEqual([2, 1])
  const [row] = await fixture.server.test.database.query(
    "select next_timer_at from approval_requests where id = $1 and next_timer_at is null",
    [id],
  )
  expect(row).toBeDefined()
}, 60_000)

test("A10: a template may approve what nobody decided", async () => {
  const { id } = await submit({ expiresAfter: "1h" }, { onExpiry: "approve" })
  fixture.clock.advance(hour)
  await untilTrue(async () => (await count(id, "approved")) === 1)
  const ended = await fixture.call(cyd.key, approvalRequestsGet, { request: id })
  expect(ended.outcome).toMatchObject({ result: "approved", reason: "timeout" })
}, 60_000)

test("A9: while the requester owes an answer the clocks stand still", async () => {
  const { id, digest, expiresAt } = await submit({ expiresAfter: "2h" })
  fixture.clock.advance(hour)
  await fixture.call(ada.key, approvalRequestsAsk, { request: id, digest, question: "who pays?" })
  fixture.clock.advance(48 * hour)
  const asked = await fixture.call(ada.key, approvalRequestsGet, { request: id })
  expect(asked).toMatchObject({ state: "asking", question: { text: "who pays?" } })
  expect(asked.expiresAt).toBeUndefined()
  expect(await fixture.refusal(ada.key, approvalRequestsAnswer, { request: id, answer: "I do" })).toBe(
    "approvals.not-the-requester",
  )
  const answered = await fixture.call(backend.key, approvalRequestsAnswer, { request: id, answer: "the shop" })
  expect(answered.state).toBe("open")
  expect(Date.parse(answered.expiresAt ?? "")).toBe(Date.parse(expiresAt ?? "") + 48 * hour)
  expect((await fixture.call(ada.key, approvalRequestsGet, { request: id })).questions).toMatchObject([
    { text: "who pays?", answer: "the shop" },
  ])
  await fixture.call(ada.key, approvalRequestsApprove, { request: id, digest })
}, 60_000)

test("several servers fire each timer once, and one that was away when it was due fires it later", async () => {
  const first = await submit({ expiresAfter: "1h" })
  const others = await Promise.all(
    Array.from({ length: 29 }, () => fixture.submit(backend.key, { type, title: type, content: { type } })),
  )
  const ids = [first, ...others].map(({ id }) => id)
  const second = await fixture.server.another()
  fixture.clock.advance(hour)
  await untilTrue(async () => {
    const [row] = await fixture.server.test.database.query<{ count: number }>(
      "select count(*)::int as count from approval_requests where id = any ($1) and state = 'expired'",
      [ids],
    )
    return row?.count === ids.length
  })
  for (const id of ids) expect(await count(id, "expired")).toBe(1)
  await second.halt()
}, 60_000)

test("a restart in the middle loses nothing: votes stand, and what came due meanwhile happens", async () => {
  const voted = await submit({ expiresAfter: "30d" })
  const left = await submit({ expiresAfter: "1h" })
  const vote = { request: voted.id, digest: voted.digest }
  await fixture.call(ada.key, approvalRequestsApprove, vote)
  await fixture.server.halt()
  fixture.clock.advance(2 * hour)
  const next = await fixture.server.another()
  const { call } = fixture.on(next)
  expect(await call(ben.key, approvalRequestsApprove, vote)).toMatchObject({ state: "approved" })
  await untilTrue(async () => (await count(left.id, "expired")) === 1)
}, 60_000)
