import { randomInt } from "node:crypto"
import { checkExport } from "@signalbox/attestation/approval-bundle"
import { signMemberVote, signVoteKeyClaim } from "@signalbox/attestation/member-vote"
import { findVoteKey, newVoteKeyPem, type VoteKey } from "@signalbox/attestation/vote-key"
import { approvalRequestsApprove, approvalRequestsDeny } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsExport, approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import type { ApprovalTrust, MemberVote } from "@signalbox/contracts/approvals/signed-votes"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { voteKeysAdd, voteKeysList, voteKeysRevoke } from "@signalbox/contracts/approvals/vote-keys"
import { assert } from "@signalbox/kernel/assert"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startApprovals, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

let fixture: ApprovalsFixture
let ada: Member
let ben: Member
let backend: Member
const keys = { ada: newKey(), ben: newKey() }

function newKey(): VoteKey {
  const key = findVoteKey(newVoteKeyPem())
  assert(key, "a new key is one")
  return key
}

const purchase = { type: "purchase", title: "200 chairs", content: { chairs: 200, note: "näh ‹x›" } }
const now = () => new Date().toISOString()

function proofOf(key: VoteKey, member: Member, changes: object = {}): { publicKey: string; proof: string } {
  const claim = { account: "main", principal: member.principal, at: now(), ...changes }
  return { publicKey: key.publicKey, proof: JSON.stringify(signVoteKeyClaim(key, claim)) }
}

beforeAll(async () => {
  fixture = await startApprovals()
  ada = await fixture.key("ada", ["approver"])
  ben = await fixture.key("ben", ["approver"])
  backend = await fixture.key("shop", ["operator"])
  const { admin } = fixture
  const members = [{ principal: ada.principal }, { principal: ben.principal }]
  await fixture.call(admin, approvalGroupsApply, { name: "leads", members })
  await fixture.call(admin, templatesApply, {
    name: "signed",
    levels: [{ name: "leads", group: "leads", strategy: { kind: "all" }, signedVotes: "required" }],
  })
  await fixture.call(admin, associationsApply, { name: "buys", template: "signed", selector: { type: "purchase" } })
  await fixture.call(ada.key, voteKeysAdd, proofOf(keys.ada, ada))
  await fixture.call(ben.key, voteKeysAdd, proofOf(keys.ben, ben))
})
afterAll(() => fixture.stop())

interface Asked {
  readonly id: string
  readonly digest: string
}

function voteOf(member: Member, asked: Asked, changes: Partial<MemberVote> = {}): MemberVote {
  const at = { request: asked.id, digest: asked.digest, level: 1, account: "main" }
  return { ...at, voter: member.principal, choice: "approve", at: now(), ...changes }
}

function signed(key: VoteKey, vote: MemberVote) {
  const { request, digest, level } = vote
  return { request, digest, level, signature: JSON.stringify(signMemberVote(key, vote)) }
}

test("A18: a key is registered by who has it, once, and revoked by its member or an administrator", async () => {
  const key = newKey()
  const add = (input: object) => fixture.refusal(ada.key, voteKeysAdd, input as never)
  expect(await add({ ...proofOf(key, ada), publicKey: newKey().publicKey })).toBe("approvals.signature-refused")
  expect(await add(proofOf(key, ben))).toBe("approvals.signature-refused")
  expect(await add(proofOf(key, ada, { account: "other" }))).toBe("approvals.signature-refused")
  expect(await add(proofOf(key, ada, { at: "2020-01-01T00:00:00.000Z" }))).toBe("approvals.signature-refused")
  expect(await add(proofOf(key, ada))).toBe("accepted")
  expect(await fixture.refusal(ben.key, voteKeysAdd, proofOf(key, ben))).toBe("approvals.vote-key-exists")
  const mine = await fixture.call(ada.key, voteKeysList, { mine: "true" } as never)
  const found = new Map(mine.items.map(({ id, state }) => [id, state]))
  expect(found).toEqual(new Map([key, keys.ada].map(({ keyId }) => [keyId, "active"])))
  expect(await fixture.refusal(ben.key, voteKeysRevoke, { voteKey: key.keyId })).toBe("approvals.vote-key-not-found")
  expect(await fixture.call(fixture.admin, voteKeysRevoke, { voteKey: key.keyId })).toMatchObject({ state: "revoked" })
  expect(await fixture.eventsOf(key.keyId)).toEqual(["vote-key.added", "vote-key.revoked"])
  const asked = await fixture.submit(backend.key, purchase)
  const refusal = await fixture.refusal(ada.key, approvalRequestsApprove, signed(key, voteOf(ada, asked)))
  expect(refusal).toBe("approvals.signature-refused")
})

test("A18: a vote counts only with the right member's signature of the right vote", async () => {
  const asked = await fixture.submit(backend.key, purchase)
  const other = await fixture.submit(backend.key, purchase)
  const { request, digest, level, signature } = signed(keys.ada, voteOf(ada, asked))
  const approve = (input: object, by = ada) => fixture.refusal(by.key, approvalRequestsApprove, input as never)
  expect(await approve({ request, digest })).toBe("approvals.signature-required")
  const wrong: Record<string, object> = {
    "another key": signed(newKey(), voteOf(ada, asked)),
    "another member's key": signed(keys.ben, voteOf(ada, asked)),
    "another voter": signed(keys.ada, voteOf(ben, asked)),
    "another choice": signed(keys.ada, voteOf(ada, asked, { choice: "deny" })),
    "another account": signed(keys.ada, voteOf(ada, asked, { account: "other" })),
    "another level": { ...signed(keys.ada, voteOf(ada, asked, { level: 2 })), level: 1 },
    "no level in the call": { request, digest, signature },
    "another request": { ...signed(keys.ada, voteOf(ada, other)), request },
    "another content": { ...signed(keys.ada, voteOf(ada, asked, { digest: "0".repeat(64) })), digest },
    "another day": signed(keys.ada, voteOf(ada, asked, { at: "2020-01-01T00:00:00.000Z" })),
    "a byte changed": { request, digest, level, signature: signature.replace(/"payload":"../, '"payload":"AA') },
    "no envelope": { request, digest, level, signature: "{}" },
  }
  for (const [name, input] of Object.entries(wrong)) {
    expect(await approve(input), name).toBe("approvals.signature-refused")
  }
  expect(await approve({ request, digest, level, signature })).toBe("accepted")
  expect(await fixture.refusal(ben.key, approvalRequestsDeny, { request, digest })).toBe("accepted")
  const { votes, state } = await fixture.call(ada.key, approvalRequestsGet, { request })
  expect(state).toBe("denied")
  expect(votes.map((vote) => vote.signature !== undefined)).toEqual([true, false])
})

test("A18: an export proves itself anywhere, and no byte of it can be changed", async () => {
  const asked = await fixture.submit(backend.key, purchase)
  expect(await fixture.refusal(ada.key, approvalRequestsExport, { request: asked.id })).toBe("approvals.not-decided")
  await fixture.call(ada.key, approvalRequestsApprove, signed(keys.ada, voteOf(ada, asked)))
  await fixture.call(ben.key, approvalRequestsApprove, signed(keys.ben, voteOf(ben, asked)))
  const text = `${canonicalJson(await fixture.call(ada.key, approvalRequestsExport, { request: asked.id }))}\n`
  const trust: ApprovalTrust = {
    keys: [
      { member: "ada", key: keys.ada.publicKey },
      { member: "ben", key: keys.ben.publicKey },
    ],
    quorum: 2,
  }
  const [row] = await fixture.server.test.database.query<{ pem: string }>("select public_key as pem from signing_keys")
  const options = { now: Date.now(), installation: [row?.pem ?? ""] }
  expect(checkExport(text, trust, options)).toMatchObject({
    ok: true,
    value: { request: asked.id, digest: asked.digest, approvers: [{ member: "ada" }, { member: "ben" }] },
  })
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += randomInt(1, 12)) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] ?? 0) ^ 1
    const check = checkExport(changed.toString("utf8"), trust, options)
    expect(check.ok, `byte ${at}: ${text.slice(at - 20, at + 20)}`).toBe(false)
    if (!check.ok) expect(check.fault.place).not.toBe("")
  }
  const refusals: Array<[ApprovalTrust, number, string]> = [
    [{ ...trust, quorum: 3 }, Date.now(), "votes"],
    [{ keys: [{ member: "ada", key: keys.ada.publicKey }], quorum: 2 }, Date.now(), "votes"],
    [{ keys: trust.keys.map((key) => ({ ...key, member: "ada" })), quorum: 2 }, Date.now(), "votes"],
    [trust, Date.now() + 8 * 24 * 3_600_000, "votes.0.signature"],
    [trust, Date.now() - 3_600_000, "votes.0.signature"],
    [{ ...trust, maxAge: "1ms" }, Date.now() + 10, "votes.0.signature"],
  ]
  for (const [wanted, at, place] of refusals) {
    expect(checkExport(text, wanted, { ...options, now: at })).toMatchObject({ ok: false, fault: { place } })
  }
})
