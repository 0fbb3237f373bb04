import { createPublicKey } from "node:crypto"
import { approvalRequestsApprove, approvalRequestsDeny } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsGet, approvalRequestsList } from "@signalbox/contracts/approvals/requests"
import { approvalResultsGet } from "@signalbox/contracts/approvals/results"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { afterAll, beforeAll, expect, test } from "vitest"
import { readStatement } from "@signalbox/attestation/signed-envelope"
import { voteStatementType, type SignedEnvelope } from "@signalbox/contracts/approvals/signed-votes"
import { removeOldRequests } from "./request-lists.ts"
import { startApprovals, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

let fixture: ApprovalsFixture
let ada: Member
let ben: Member
let cyd: Member
let backend: Member

beforeAll(async () => {
  fixture = await startApprovals()
  ada = await fixture.key("ada", ["approver"])
  ben = await fixture.key("ben", ["approver"])
  cyd = await fixture.key("cyd", ["approver"])
  backend = await fixture.key("shop", ["backend"])
  const { admin } = fixture
  await fixture.call(admin, approvalGroupsApply, {
    name: "leads",
    members: [{ principal: ada.principal }, { principal: ben.principal }],
  })
  await fixture.call(admin, approvalGroupsApply, { name: "owners", members: [{ principal: cyd.principal }] })
  await fixture.call(admin, templatesApply, {
    name: "two-levels",
    levels: [
      { name: "leads", group: "leads", strategy: { kind: "all" } },
      { name: "owners", group: "owners", strategy: { kind: "any" } },
    ],
  })
  await fixture.call(admin, associationsApply, {
    name: "purchases",
    template: "two-levels",
    selector: { type: "purchase" },
  })
}, 60_000)

afterAll(() => fixture.stop())

const purchase = { type: "purchase", title: "200 chairs", content: { chairs: 200 } }

test("A2: A3: A6: A18: a request goes through its levels in order, and everybody sees what waits for them", async () => {
  const request = await fixture.submit(backend.key, purchase)
  expect(request).toMatchObject({ state: "open", level: { name: "leads", number: 1, of: 2 }, revision: 1 })
  const vote = { request: request.id, digest: request.digest }
  const mine = async (member: Member) =>
    (await fixture.call(member.key, approvalRequestsList, { mine: "true" })).items.map(({ id }) => id)
  expect([await mine(ada), await mine(cyd)]).toEqual([[request.id], []])
  expect(await fixture.refusal(cyd.key, approvalRequestsApprove, vote)).toBe("approvals.level-not-open")
  await fixture.call(ada.key, approvalRequestsApprove, { ...vote, comment: "we need them" })
  expect(await mine(ada)).toEqual([])
  expect(await fixture.call(ben.key, approvalRequestsApprove, vote)).toMatchObject({ level: { number: 2 } })
  expect(await mine(cyd)).toEqual([request.id])
  expect(await fixture.call(cyd.key, approvalRequestsApprove, vote)).toMatchObject({
    state: "approved",
    outcome: { result: "approved", reason: "votes" },
  })
  const seen = await fixture.call(backend.key, approvalResultsGet, { request: request.id })
  expect(seen).toMatchObject({ state: "approved", url: expect.stringContaining("/v1/approval-results/") })
  const details = await fixture.call(ada.key, approvalRequestsGet, { request: request.id })
  expect(details.votes.map(({ standing }) => standing)).toEqual(["counts", "counts", "counts"])
  expect(details.votes[0]).toMatchObject({ comment: "we need them", choice: "approve", level: "leads" })
  expect(details.content).toEqual({ chairs: 200 })
  const keys = await fixture.server.test.database.query<{ pem: string }>("select public_key as pem from signing_keys")
  const known = keys.map(({ pem }) => createPublicKey(pem))
  const read = (text: string) => readStatement(JSON.parse(text) as SignedEnvelope, voteStatementType, known)?.statement
  const envelope = details.votes[0]?.envelope ?? ""
  expect(read(envelope)).toMatchObject({ request: request.id, choice: "approve", digest: request.digest })
  const forged = JSON.parse(envelope) as SignedEnvelope
  const said = Buffer.from(forged.payload, "base64").toString().replace('"approve"', '"deny"')
  expect(read(JSON.stringify({ ...forged, payload: Buffer.from(said).toString("base64") }))).toBeUndefined()
  expect(await fixture.refusal(ada.key, approvalRequestsDeny, vote)).toBe("approvals.request-ended")
})

test("requests that ended long ago go, with their votes; those under way stay", async () => {
  const { database } = fixture.server.test
  const ended = await fixture.submit(backend.key, purchase)
  await fixture.call(ada.key, approvalRequestsDeny, { request: ended.id, digest: ended.digest })
  const open = await fixture.submit(backend.key, purchase)
  const before = fixture.clock.now() + 1
  expect(await removeOldRequests(database, { before, limit: 100 })).toBe(2)
  expect(await removeOldRequests(database, { before, limit: 100 })).toBe(0)
  expect(await fixture.refusal(ada.key, approvalRequestsGet, { request: ended.id })).toBe("approvals.request-not-found")
  expect(await fixture.refusal(ada.key, approvalRequestsGet, { request: open.id })).toBe("accepted")
  const votes = await database.query("select 1 from approval_votes where request_id = $1", [ended.id])
  expect(votes).toEqual([])
})
