/**
 * Whoever asks doesn't answer, whatever they come by: a session, a key, a link, an administrator's or a delegate's role.
 * One table of who asks and who answers; in each row the answer is refused with the same code, and no vote is on record.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  approvalRequestsAbstain,
  approvalRequestsApprove,
  approvalRequestsDeny,
} from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { delegationsCreate } from "@signalbox/contracts/approvals/delegations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { MailReceiver } from "../notifications/notifications.fixture.ts"
import { startApprovals, untilTrue, type ApprovalsFixture } from "./approvals.fixture.ts"
import { expectRefusal, findLink, press } from "./link-pages.fixture.ts"

const password = "a long enough password"
const mails = new MailReceiver()
let fixture: ApprovalsFixture
let directory: string

/** Somebody with every way in. */
interface Somebody {
  readonly id: string
  readonly address: string
  /** Of a session. */
  readonly session: string
  /** Of a key of theirs. */
  readonly key: string
}

const people = new Map<string, Somebody>()
const person = (name: string): Somebody => {
  const found = people.get(name)
  if (!found) throw new Error(`there is no ${name}`)
  return found
}
/** A service account, which nobody owns, with a key. */
let service: { readonly id: string; readonly key: string }

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox self approval "))
  await mails.start(directory)
  fixture = await startApprovals({
    mail: { url: mails.url, from: "Signalbox <signalbox@example.org>", startTls: "require", caPem: mails.caPem },
    passwordCost: { log2N: 4, r: 1, p: 1 },
  })
  for (const name of ["rita", "root", "ben", "dora"])
    people.set(name, await makeUser(name, name === "root" ? ["admin"] : ["approver", "backend"]))
  const made = await fixture.member("robot", ["approver", "backend"])
  service = { id: made.principal, key: made.key }
  // For as long as this file runs: whoever stands in for others stands in for nobody's own request.
  const until = new Date(fixture.clock.now() + 3_600_000).toISOString()
  await fixture.call(person("rita").session, delegationsCreate, { to: person("dora").id, until })
  await fixture.call(person("ben").session, delegationsCreate, { to: person("rita").id, until })
}, 60_000)
afterAll(async () => {
  await fixture.stop()
  await mails.stop()
  await rm(directory, { recursive: true })
})

async function makeUser(name: string, roles: readonly string[]): Promise<Somebody> {
  const { server, admin } = fixture
  const address = `${name}@example.org`
  const made = await server.call(admin, "POST", "/v1/users", { name, email: address, roles })
  expect(made.status, JSON.stringify(made.body)).toBe(200)
  const redeemed = { user: name, code: made.body["code"], password }
  expect((await server.call(undefined, "POST", "/v1/passwords:redeem", redeemed)).status).toBe(200)
  const loggedIn = await server.call(undefined, "POST", "/v1/user-sessions", { user: name, password })
  expect(loggedIn.status, JSON.stringify(loggedIn.body)).toBe(200)
  const session = String(loggedIn.body["token"])
  const owned = await server.call(admin, "POST", "/v1/keys", { name, roles, owner: name })
  expect(owned.status, JSON.stringify(owned.body)).toBe(200)
  const key = String(owned.body["key"])
  for (const token of [session, key])
    await untilTrue(async () => (await server.call(token, "GET", "/v1/auth/whoami")).status === 200)
  return { id: String(made.body["id"]), address, session, key }
}

type Member = { readonly principal: string } | { readonly mail: string }

interface Row {
  readonly who: string
  /** The credential that asks, and for whom. */
  asks(): { readonly by: string; readonly for?: object }
  /** Beside ben, who could answer. */
  members(): readonly Member[]
  answers(): string
}

const memberOf = (name: string) => (): Member[] => [{ principal: person(name).id }]
const rows: readonly Row[] = [
  {
    who: "asked in a session, answers in it",
    asks: () => ({ by: person("rita").session }),
    members: memberOf("rita"),
    answers: () => person("rita").session,
  },
  {
    who: "asked in a session, answers by an own key",
    asks: () => ({ by: person("rita").session }),
    members: memberOf("rita"),
    answers: () => person("rita").key,
  },
  {
    who: "asked by an own key, answers in a session",
    asks: () => ({ by: person("rita").key }),
    members: memberOf("rita"),
    answers: () => person("rita").session,
  },
  {
    who: "asked in a session, is a member by mail address alone, answers in a session",
    asks: () => ({ by: person("rita").session }),
    members: () => [{ mail: "Rita@Example.org" }],
    answers: () => person("rita").session,
  },
  {
    who: "was named by a backend by id",
    asks: () => ({ by: service.key, for: { principal: person("rita").id } }),
    members: memberOf("rita"),
    answers: () => person("rita").session,
  },
  {
    who: "was named by a backend by a mail address, in other letters",
    asks: () => ({ by: service.key, for: { mail: "RITA@example.ORG" } }),
    members: memberOf("rita"),
    answers: () => person("rita").session,
  },
  {
    who: "sent the request for somebody else",
    asks: () => ({ by: service.key, for: { mail: "somebody@example.org" } }),
    members: () => [{ principal: service.id }],
    answers: () => service.key,
  },
  {
    who: "is an administrator, and a member",
    asks: () => ({ by: person("root").session }),
    members: memberOf("root"),
    answers: () => person("root").session,
  },
  {
    who: "is an administrator, and no member",
    asks: () => ({ by: person("root").session }),
    members: () => [],
    answers: () => person("root").key,
  },
  {
    who: "stands in for the requester",
    asks: () => ({ by: person("rita").session }),
    members: memberOf("rita"),
    answers: () => person("dora").session,
  },
  {
    who: "asked, and stands in for a member",
    asks: () => ({ by: person("rita").session }),
    members: () => [],
    answers: () => person("rita").session,
  },
  {
    who: "asked, and stands in for a member, by an own key",
    asks: () => ({ by: person("rita").key }),
    members: () => [],
    answers: () => person("rita").key,
  },
]

let sequence = 0

async function ask(row: Pick<Row, "asks" | "members">, more: { groups?: number; linkLogin?: boolean } = {}) {
  const { admin } = fixture
  const { groups = 1, linkLogin = false } = more
  const name = `case-${++sequence}`
  const members = [{ principal: person("ben").id }, ...row.members()]
  for (let number = 0; number <= groups; number++)
    await fixture.call(admin, approvalGroupsApply, { name: `${name}-${number}`, members })
  const rule = { strategy: { kind: "any" as const }, expiresAfter: "30d" }
  const escalation = { after: "1h", group: `${name}-1` }
  const level = { name: "only", group: `${name}-0`, ...rule, ...(groups > 1 ? { escalation } : {}) }
  await fixture.call(admin, templatesApply, { name, levels: [level], linkLogin })
  await fixture.call(admin, associationsApply, { name, template: name, selector: { type: name } })
  const asks = row.asks()
  const requester = asks.for === undefined ? {} : { requester: asks.for }
  return await fixture.submit(asks.by, { type: name, title: name, content: { name }, ...requester })
}

async function expectRefused(credential: string, { id, digest }: { id: string; digest: string }): Promise<void> {
  for (const operation of [approvalRequestsApprove, approvalRequestsDeny, approvalRequestsAbstain])
    expect(await fixture.refusal(credential, operation, { request: id, digest })).toBe("approvals.self-approval")
  const { votes, state } = await fixture.call(fixture.admin, approvalRequestsGet, { request: id })
  expect({ votes, state }).toEqual({ votes: [], state: "open" })
}

describe("A16: nobody approves what they asked for themselves: who", () => {
  test.each(rows.map((row) => [row.who, row] as const))("%s", async (_who, row) => {
    const asked = await ask(row)
    await expectRefused(row.answers(), asked)
    // The row says something: somebody else's answer at this level counts.
    await fixture.call(person("ben").session, approvalRequestsApprove, { request: asked.id, digest: asked.digest })
  })

  test("is a member by two groups, one of them by escalation", async () => {
    const asked = await ask({ asks: () => ({ by: person("rita").session }), members: memberOf("rita") }, { groups: 2 })
    fixture.clock.advance(30 * 60_000)
    await expectRefused(person("rita").session, asked)
    await fixture.call(fixture.admin, approvalGroupsApply, {
      name: `case-${sequence}-1`,
      members: [{ principal: person("rita").id }, { principal: person("root").id }],
    })
    fixture.clock.advance(45 * 60_000)
    await untilTrue(async () => (await fixture.eventsOf(asked.id)).includes("approval-request.escalated"))
    await expectRefused(person("rita").session, asked)
  })
})

describe("A16, A8: nobody approves what they asked for themselves by a link", () => {
  test("that they got as a member's delegate", async () => {
    const until = new Date(fixture.clock.now() + 3_600_000).toISOString()
    await fixture.call(person("ben").session, delegationsCreate, { to: person("rita").id, until })
    const asked = await ask({ asks: () => ({ by: person("rita").session }), members: () => [] })
    const link = findLink(mails, { url: fixture.server.url, address: person("rita").address, request: asked.id })
    expectRefusal(await press(await link, { choice: "approve" }), { status: 403, says: "can't give it" })
    const { votes } = await fixture.call(fixture.admin, approvalRequestsGet, { request: asked.id })
    expect(votes).toEqual([])
  })

  test("that was sent to somebody else, where the template wants a login", async () => {
    const row = { asks: () => ({ by: person("root").session }), members: memberOf("root") }
    const asked = await ask(row, { linkLogin: true })
    const link = await findLink(mails, { url: fixture.server.url, address: "ben@example.org", request: asked.id })
    const answer = await press(link, { choice: "approve", user: "root", password })
    expectRefusal(answer, { status: 403, says: "sent to somebody else" })
    const { votes } = await fixture.call(fixture.admin, approvalRequestsGet, { request: asked.id })
    expect(votes).toEqual([])
  })

  test("of their own: there is none, since nobody asks them", async () => {
    const asked = await ask({ asks: () => ({ by: person("root").session }), members: memberOf("root") })
    await findLink(mails, { url: fixture.server.url, address: "ben@example.org", request: asked.id })
    const toRoot = mails.mails.filter(({ to, text }) => to.includes("root@example.org") && text.includes(asked.id))
    expect(toRoot).toEqual([])
  })
})
