import { approvalRequestsApprove, approvalRequestsDelegate } from "@signalbox/contracts/approvals/answers"
import { associationsApply, associationsRemove } from "@signalbox/contracts/approvals/associations"
import { delegationsCreate, delegationsRemove } from "@signalbox/contracts/approvals/delegations"
import { approvalGroupsApply, approvalGroupsRemove } from "@signalbox/contracts/approvals/groups"
import {
  approvalRequestsEdit,
  approvalRequestsGet,
  approvalRequestsList,
  approvalRequestsMatch,
  approvalRequestsSubmit,
  approvalRequestsWait,
} from "@signalbox/contracts/approvals/requests"
import { approvalResultsGet, approvalResultsList, approvalResultsWait } from "@signalbox/contracts/approvals/results"
import {
  templatesApply,
  templatesGet,
  templatesRemove,
  templatesVersions,
} from "@signalbox/contracts/approvals/templates"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

let fixture: ApprovalsFixture
let ada: Member
let ben: Member
let cyd: Member
let backend: Member
let sequence = 0
let type = ""

beforeAll(async () => {
  fixture = await startApprovals()
  ada = await fixture.member("ada", ["operator"])
  ben = await fixture.member("ben", ["operator"])
  cyd = await fixture.member("cyd", ["operator"])
  backend = await fixture.member("shop", ["backend"])
  await group("two", [ada, ben])
  await group("boss", [cyd])
}, 60_000)

beforeEach(() => {
  type = `case-${++sequence}`
})

afterAll(() => fixture.stop())

function group(name: string, members: readonly Member[], admin = fixture.admin) {
  return fixture.call(admin, approvalGroupsApply, {
    name,
    members: members.map(({ principal }) => ({ principal })),
  })
}

type LevelWish = { name?: string; group?: string; strategy?: object; [name: string]: unknown }

const levelsOf = (levels: readonly LevelWish[]): never =>
  levels.map((level, index) => ({
    ...{ name: `level-${index + 1}`, group: "two", strategy: { kind: "any" } },
    ...level,
  })) as never

async function associate(levels: readonly LevelWish[] = [{}], template: object = {}): Promise<void> {
  await fixture.call(fixture.admin, templatesApply, { name: type, levels: levelsOf(levels), ...template })
  await fixture.call(fixture.admin, associationsApply, { name: type, template: type, selector: { type } })
}

const submit = (more: object = {}) => fixture.submit(backend.key, { type, title: type, content: { type }, ...more })

test("twenty votes at once: each counts once, and exactly one of them closes the level", async () => {
  const members = await Promise.all(
    Array.from({ length: 20 }, (_, index) => fixture.member(`voter-${index}`, ["approver"])),
  )
  await group("twenty", members)
  await associate([{ group: "twenty", strategy: { kind: "quorum", count: 10 } }, { group: "boss" }])
  const { id, digest } = await submit()
  const outcomes = await Promise.all(
    members.map(({ key }) => fixture.refusal(key, approvalRequestsApprove, { request: id, digest })),
  )
  expect(outcomes.filter((outcome) => outcome === "accepted")).toHaveLength(10)
  expect(new Set(outcomes.filter((outcome) => outcome !== "accepted"))).toEqual(new Set(["approvals.level-closed"]))
  const events = await fixture.eventsOf(id)
  expect(events.filter((each) => each === "approval-request.voted")).toHaveLength(10)
  expect(events.filter((each) => each === "approval-request.level-opened")).toHaveLength(2)
  const { votes, version } = await fixture.call(ada.key, approvalRequestsGet, { request: id })
  expect(votes.map(({ number }) => number)).toEqual(Array.from({ length: 10 }, (_, index) => index + 1))
  expect(version).toBe(events.length)
}, 60_000)

test("A6: a request that is submitted twice with one Idempotency-Key is one request", async () => {
  await associate()
  const { url } = fixture.server
  const send = (title: string) =>
    fetch(`${url}/v1/approval-requests`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${backend.key}`,
        "content-type": "application/json",
        "idempotency-key": `order-4711-${type}`,
      },
      body: JSON.stringify({ type, title, content: 1, unmatched: "wait" }),
    })
  const replies = await Promise.all([send("one"), send("one"), send("one")])
  const good = await Promise.all(replies.filter(({ status }) => status === 200).map((reply) => reply.json()))
  const again = (await (await send("one")).json()) as { id: string }
  expect(new Set([...(good as Array<{ id: string }>), again].map(({ id }) => id)).size).toBe(1)
  expect(((await (await send("two")).json()) as { code: string }).code).toBe("request.idempotency-key-reused")
  const own = await fixture.call(backend.key, approvalResultsList, {})
  expect(own.items.filter((each) => each.type === type)).toHaveLength(1)
})

test("A6: a wait ends with the result at once, also where LISTEN is cut", async () => {
  await associate()
  const { database } = fixture.server.test
  for (const cut of [false, true]) {
    const { id, digest } = await submit()
    const waiting = fixture.call(backend.key, approvalResultsWait, { request: id, seconds: 60 })
    if (cut)
      await database.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike 'listen %'",
      )
    await fixture.call(ada.key, approvalRequestsApprove, { request: id, digest })
    expect(await waiting).toMatchObject({ state: "approved" })
  }
}, 60_000)

test("A6: a wait on another server ends too; with a version it ends at any change; without one it waits its time", async () => {
  await associate([{}, { group: "boss" }])
  const { id, digest, version } = await submit()
  const second = await fixture.server.another()
  const elsewhere = fixture.on(second)
  await untilTrue(async () => (await elsewhere.refusal(ada.key, approvalRequestsGet, { request: id })) === "accepted")
  const changed = elsewhere.call(ada.key, approvalRequestsWait, { request: id, seconds: 60, version })
  await fixture.call(ada.key, approvalRequestsApprove, { request: id, digest })
  expect(await changed).toMatchObject({ level: { number: 2 } })
  expect(await elsewhere.call(ada.key, approvalRequestsWait, { request: id, seconds: 1 })).toMatchObject({
    state: "open",
  })
  const result = elsewhere.call(ada.key, approvalRequestsWait, { request: id, seconds: 60 })
  await fixture.call(cyd.key, approvalRequestsApprove, { request: id, digest })
  expect(await result).toMatchObject({ state: "approved" })
  await second.halt()
}, 60_000)

test("A14: an edit voids the votes, tells so, and begins again; the template may keep them", async () => {
  await associate([{ strategy: { kind: "all" } }], { keepVotesWhen: "after.count <= before.count" })
  const { id, digest } = await submit({ content: { count: 5 } })
  await fixture.call(ada.key, approvalRequestsApprove, { request: id, digest })
  const more = await fixture.call(backend.key, approvalRequestsEdit, {
    request: id,
    revision: 1,
    content: { count: 6 },
  })
  expect(more).toMatchObject({ revision: 2, state: "open" })
  const voided = await fixture.call(ada.key, approvalRequestsGet, { request: id })
  expect(voided.votes.map(({ standing }) => standing)).toEqual(["outdated"])
  expect(voided.content).toEqual({ count: 6 })
  expect(await fixture.refusal(ben.key, approvalRequestsApprove, { request: id, digest })).toBe(
    "approvals.content-changed",
  )
  await fixture.call(ada.key, approvalRequestsApprove, { request: id, digest: more.digest })
  const less = await fixture.call(backend.key, approvalRequestsEdit, {
    request: id,
    revision: 2,
    content: { count: 3 },
  })
  const kept = await fixture.call(ada.key, approvalRequestsGet, { request: id })
  expect(kept.votes.map(({ standing }) => standing)).toEqual(["outdated", "kept"])
  expect(
    await fixture.refusal(backend.key, approvalRequestsEdit, { request: id, revision: 2, content: { count: 9 } }),
  ).toBe("approvals.edit-conflict")
  expect(
    await fixture.refusal(ben.key, approvalRequestsEdit, { request: id, revision: 3, content: { count: 1 } }),
  ).toBe("approvals.not-the-requester")
  const ended = await fixture.call(ben.key, approvalRequestsApprove, { request: id, digest: less.digest })
  expect(ended.state).toBe("approved")
})

test("A5: a request that waits unmatched is taken by an association that is made afterwards, or by hand", async () => {
  const asked = { type, title: "waits", content: 1, unmatched: "wait" } as const
  const taken = await fixture.call(backend.key, approvalRequestsSubmit, asked)
  const byHand = await fixture.call(backend.key, approvalRequestsSubmit, { ...asked, type: "nobody-knows" })
  expect([taken.state, byHand.state]).toEqual(["unmatched", "unmatched"])
  await associate()
  await untilTrue(
    async () => (await fixture.call(ada.key, approvalRequestsGet, { request: taken.id })).state === "open",
  )
  const matched = { request: byHand.id, template: type }
  expect(await fixture.refusal(ada.key, approvalRequestsMatch, matched)).toBe("identity.permission-denied")
  expect(await fixture.call(fixture.admin, approvalRequestsMatch, matched)).toMatchObject({
    state: "open",
    template: { name: type, version: 1 },
  })
  expect(await fixture.refusal(fixture.admin, approvalRequestsMatch, matched)).toBe("approvals.already-matched")
  const refused = await fixture.call(backend.key, approvalRequestsSubmit, { ...asked, type: "no", unmatched: "refuse" })
  expect(refused).toMatchObject({ state: "denied", outcome: { reason: "unmatched-policy" } })
  const waved = await fixture.call(backend.key, approvalRequestsSubmit, { ...asked, type: "no", unmatched: "approve" })
  expect(waved).toMatchObject({ state: "approved", outcome: { reason: "unmatched-policy" } })
}, 60_000)

test("A5: the most specific association wins, with its own groups; a tie is refused when it is made", async () => {
  await associate()
  await fixture.call(fixture.admin, associationsApply, {
    name: `${type}-web`,
    template: type,
    selector: { type, product: "web" },
    groups: { "level-1": "boss" },
  })
  const tie = { name: `${type}-tie`, template: type, selector: { type } }
  expect(await fixture.refusal(fixture.admin, associationsApply, tie)).toBe("approvals.association-tie")
  const wrong = { name: "wrong", template: type, selector: { type: "x" }, groups: { "level-9": "boss" } }
  expect(await fixture.refusal(fixture.admin, associationsApply, wrong)).toBe("approvals.invalid-association")
  const seats = async (attributes: object) =>
    (await submit({ attributes })).levels[0]?.seats.map(({ member }) => member.key)
  await untilTrue(async () => (await seats({ product: "web" }))?.[0] === cyd.principal)
  expect(await seats({ product: "web", project: "p" })).toEqual([cyd.principal])
  expect(await seats({ product: "database" })).toEqual([ada.principal, ben.principal])
}, 60_000)

test("A2: a request keeps the template's version that it began with; versions are kept, names are free again", async () => {
  await associate([{ strategy: { kind: "all" } }])
  const { id, digest } = await submit()
  const edited = await fixture.call(fixture.admin, templatesApply, {
    name: type,
    levels: levelsOf([{ group: "boss" }]),
  })
  expect(edited).toMatchObject({ version: 2, changed: true })
  await fixture.call(ada.key, approvalRequestsApprove, { request: id, digest })
  expect(await fixture.call(ben.key, approvalRequestsApprove, { request: id, digest })).toMatchObject({
    state: "approved",
    template: { version: 1 },
  })
  const versions = await fixture.call(ada.key, templatesVersions, { name: type })
  expect(versions.items.map(({ version }) => version)).toEqual([2, 1])
  const old = await fixture.call(ada.key, templatesGet, { name: type, version: 1 })
  expect(old.levels[0]).toMatchObject({ group: "two", expiresAfter: "P7D" })
  expect(await fixture.refusal(fixture.admin, templatesRemove, { name: type })).toBe("approvals.template-in-use")
  await fixture.call(fixture.admin, associationsRemove, { name: type })
  await fixture.call(fixture.admin, templatesRemove, { name: type })
  expect(await fixture.refusal(ada.key, templatesGet, { name: type })).toBe("approvals.template-not-found")
  const anew = await fixture.call(fixture.admin, templatesApply, { name: type, levels: levelsOf([{}]) })
  expect(anew.version).toBe(4)
})

test("A16: what its groups can never satisfy is refused: of templates, of groups, of associations", async () => {
  await group(`${type}-pair`, [ada, ben])
  const quorum = { group: `${type}-pair`, strategy: { kind: "quorum", count: 3 } }
  const apply = (level: object) => ({ name: type, levels: levelsOf([level as LevelWish]) })
  expect(await fixture.refusal(fixture.admin, templatesApply, apply(quorum))).toBe("approvals.unreachable")
  expect(await fixture.refusal(fixture.admin, templatesApply, apply({ group: "nobody" }))).toBe(
    "approvals.group-not-found",
  )
  const two = { ...quorum, strategy: { kind: "quorum", count: 2 } }
  await fixture.call(fixture.admin, templatesApply, apply(two))
  const smaller = { name: `${type}-pair`, members: [{ principal: ada.principal }] }
  expect(await fixture.refusal(fixture.admin, approvalGroupsApply, smaller)).toBe("approvals.unreachable")
  expect(await fixture.refusal(fixture.admin, approvalGroupsRemove, { name: `${type}-pair` })).toBe(
    "approvals.group-in-use",
  )
  const association = { name: type, template: type, selector: { type }, groups: { "level-1": "boss" } }
  expect(await fixture.refusal(fixture.admin, associationsApply, association)).toBe("approvals.unreachable")
  const bad = { name: "bad", levels: levelsOf([{}]), approveWhen: "request.cost <" }
  expect(await fixture.refusal(fixture.admin, templatesApply, bad)).toBe("expressions.invalid")
  const unknown = { name: "unknown", members: [{ principal: "usr_nobody" }] }
  expect(await fixture.refusal(fixture.admin, approvalGroupsApply, unknown)).toBe("approvals.invalid-group")
})

test("A11: criteria decide at once, and only where they can be evaluated", async () => {
  await associate([{}], { approveWhen: "has(request.cost) && request.cost < 50.0" })
  await submit()
  const ask = (attributes: { cost?: number }) =>
    fixture.call(backend.key, approvalRequestsSubmit, { type, title: type, content: 1, attributes })
  expect(await ask({ cost: 49 })).toMatchObject({ state: "approved", outcome: { reason: "criteria" } })
  expect(await ask({ cost: 50 })).toMatchObject({ state: "open" })
  expect(await ask({})).toMatchObject({ state: "open" })
})

test("A16: whoever is away has somebody else answer, for a time or for one request", async () => {
  await associate([{ group: "boss" }])
  const hour = 3_600_000
  const until = new Date(fixture.clock.now() + 2 * hour).toISOString()
  const away = await fixture.call(cyd.key, delegationsCreate, { to: ada.principal, until, note: "holiday" })
  let request = await submit()
  await untilTrue(async () => {
    request = await fixture.call(ada.key, approvalRequestsGet, { request: request.id })
    return request.levels[0]?.seats[0]?.delegate?.key === ada.principal
  })
  const mine = await fixture.call(ada.key, approvalRequestsList, { mine: "true" })
  expect(mine.items.map(({ id }) => id)).toContain(request.id)
  const { id, digest } = request
  expect(await fixture.call(ada.key, approvalRequestsApprove, { request: id, digest })).toMatchObject({
    state: "approved",
  })
  const [vote] = (await fixture.call(ada.key, approvalRequestsGet, { request: id })).votes
  expect([vote?.member.key, vote?.by.key]).toEqual([cyd.principal, ada.principal])
  expect(await fixture.refusal(ben.key, delegationsRemove, { delegation: away.id })).toBe(
    "approvals.delegation-not-found",
  )
  await fixture.call(cyd.key, delegationsRemove, { delegation: away.id })
  expect(await fixture.refusal(ben.key, delegationsCreate, { member: cyd.principal, until })).toBe(
    "approvals.delegate-refused",
  )
  expect(await fixture.refusal(cyd.key, delegationsCreate, { to: "usr_nobody", until })).toBe(
    "approvals.delegate-refused",
  )
  expect(await fixture.refusal(cyd.key, delegationsCreate, { until: new Date(1).toISOString() })).toBe(
    "approvals.invalid-delegation",
  )
  const once = await submit()
  await fixture.call(cyd.key, approvalRequestsDelegate, { request: once.id, to: ben.principal })
  const given = { request: once.id, digest: once.digest }
  expect(await fixture.call(ben.key, approvalRequestsApprove, given)).toMatchObject({ state: "approved" })
}, 60_000)

test("A1: a backend sees its own requests and nobody else's; it can't read those of the account", async () => {
  await associate()
  const { id } = await submit()
  const rival = await fixture.member(`rival-${type}`, ["backend"])
  expect(await fixture.refusal(rival.key, approvalResultsGet, { request: id })).toBe("approvals.request-not-found")
  expect(await fixture.refusal(rival.key, approvalRequestsGet, { request: id })).toBe("identity.permission-denied")
  expect((await fixture.call(rival.key, approvalResultsList, {})).items).toEqual([])
})

test("contents are any JSON within bounds: what is too large, too deep or no number is refused", async () => {
  await associate()
  const ask = (content: unknown) =>
    fixture.refusal(backend.key, approvalRequestsSubmit, { type, title: type, content, unmatched: "wait" })
  expect(await ask("x".repeat(256 * 1024))).toBe("approvals.content-too-large")
  let deep: unknown = 1
  for (let depth = 0; depth < 100; depth++) deep = [deep]
  expect(await ask(deep)).toBe("request.invalid-input")
  expect(await ask(["text", null, { "a b": [true, -0, 1e300, "😀"] }])).toBe("accepted")
  const response = await fetch(`${fixture.server.url}/v1/approval-requests`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${backend.key}`,
      "content-type": "application/json",
      "idempotency-key": `infinite-${type}`,
    },
    body: `{"type":"${type}","title":"x","content":1e999}`,
  })
  expect(((await response.json()) as { code: string }).code).toBe("request.invalid-input")
})
