import { approvalRequestsApprove, approvalRequestsAsk } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsInbox } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

let fixture: ApprovalsFixture
let ada: Member
let oscar: Member

beforeAll(async () => {
  fixture = await startApprovals()
  ada = await fixture.member("ada", ["approver"])
  oscar = await fixture.member("oscar", ["operator"])
  const { admin } = fixture
  await fixture.call(admin, approvalGroupsApply, { name: "ada", members: [{ principal: ada.principal }] })
  const levels = [{ name: "only", group: "ada", strategy: { kind: "any" as const } }]
  await fixture.call(admin, templatesApply, { name: "one", levels })
  await fixture.call(admin, associationsApply, { name: "one", template: "one", selector: { type: "purchase" } })
}, 60_000)
afterAll(() => fixture.stop())

const inbox = (of: Member, input: object = {}) => fixture.call(of.key, approvalRequestsInbox, input)
const ids = (items: ReadonlyArray<{ id: string }>) => items.map(({ id }) => id)

test("A9: a member finds what waits for an answer, the requester what is asked and what has ended", async () => {
  const since = new Date(fixture.clock.now()).toISOString()
  const submit = (title: string) => fixture.submit(oscar.key, { type: "purchase", title, content: { title } })
  const chairs = await submit("chairs")
  // Of the same millisecond neither would be the later one.
  fixture.clock.advance(1)
  const desks = await submit("desks")
  const seen = await inbox(ada)
  expect([ids(seen.decide), seen.counts]).toEqual([[desks.id, chairs.id], { decide: 2, questions: 0, ended: 0 }])
  const first = await inbox(ada, { limit: 1 })
  expect([ids(first.decide), first.counts.decide]).toEqual([[desks.id], 2])
  expect((await inbox(oscar)).counts).toEqual({ decide: 0, questions: 0, ended: 0 })

  await fixture.call(ada.key, approvalRequestsAsk, { request: desks.id, digest: desks.digest, question: "How many?" })
  await fixture.call(ada.key, approvalRequestsApprove, { request: chairs.id, digest: chairs.digest })
  await untilTrue(async () => (await inbox(oscar, { since })).counts.ended === 1)
  const own = await inbox(oscar, { since })
  expect(own.questions.map(({ id, question }) => [id, question?.text])).toEqual([[desks.id, "How many?"]])
  expect(own.ended.map(({ id, outcome }) => [id, outcome?.result])).toEqual([[chairs.id, "approved"]])
  expect((await inbox(oscar)).ended).toEqual([])
  expect(ids((await inbox(ada)).decide)).toEqual([desks.id])
})
