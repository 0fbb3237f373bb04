/** Links in the wrong hands, at the wrong time, and altered; and links that want a login: on a whole server, over HTTP. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  approvalRequestsAnswer,
  approvalRequestsApprove,
  approvalRequestsDeny,
} from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import {
  approvalRequestsCancel,
  approvalRequestsEdit,
  approvalRequestsGet,
} from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { MailReceiver } from "../notifications/notifications.fixture.ts"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"
import { expectPlainPage, expectRefusal, findLink, open, press } from "./link-pages.fixture.ts"

const day = 24 * 3_600_000
const password = "a long enough password"
const mails = new MailReceiver()
let fixture: ApprovalsFixture
let directory: string
let backend: Member
/** Ids of users. */
const users = new Map<string, string>()

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox links "))
  await mails.start(directory)
  fixture = await startApprovals({
    mail: { url: mails.url, from: "Signalbox <signalbox@example.org>", startTls: "require", caPem: mails.caPem },
    passwordCost: { log2N: 4, r: 1, p: 1 },
  })
  backend = await fixture.member("shop", ["backend"])
  for (const name of ["ada", "ben"]) users.set(name, await makeUser(name))
  await applyGroup("ops", ["ada", "ben"])
  await applyGroup("addresses", [])
  await define("plain", { group: "ops", second: "addresses" })
  await define("login", { group: "ops", second: "ops", linkLogin: true })
}, 60_000)
afterAll(async () => {
  await fixture.stop()
  await mails.stop()
  await rm(directory, { recursive: true })
})

async function makeUser(name: string): Promise<string> {
  const { server, admin } = fixture
  const email = `${name}@example.org`
  const made = await server.call(admin, "POST", "/v1/users", { name, email, roles: ["approver"] })
  expect(made.status, JSON.stringify(made.body)).toBe(200)
  const redeem = { user: name, code: made.body["code"], password }
  expect((await server.call(undefined, "POST", "/v1/passwords:redeem", redeem)).status).toBe(200)
  return String(made.body["id"])
}

async function applyGroup(name: string, people: readonly string[]): Promise<void> {
  const members = people.map((user) => ({ principal: users.get(user) ?? "", mail: `${user}@example.org` }))
  const outside = { mail: `${name}@example.org`, name: "By address" }
  await fixture.call(fixture.admin, approvalGroupsApply, {
    name,
    members: [...members, ...(people.length > 0 ? [] : [outside])],
  })
}

async function define(name: string, of: { group: string; second: string; linkLogin?: boolean }): Promise<void> {
  const { group, second, linkLogin = false } = of
  const rule = { strategy: { kind: "any" as const }, expiresAfter: "30d" }
  const levels = [
    { name: "first", group, ...rule },
    { name: "second", group: second, ...rule },
  ]
  await fixture.call(fixture.admin, templatesApply, { name, levels, linkLogin })
  await fixture.call(fixture.admin, associationsApply, { name, template: name, selector: { type: name } })
}

async function ask(type: "plain" | "login"): Promise<{ id: string; digest: string }> {
  return await fixture.submit(backend.key, { type, title: "200 chairs", content: { chairs: 200 } })
}

const read = (request: string) => fixture.call(fixture.admin, approvalRequestsGet, { request })
const votesOf = async (request: string) =>
  (await read(request)).votes.map(({ choice, by, via, level }) => ({ choice, by: by.key, via, level }))
const linkFor = (user: string, request: string, revision = 1) =>
  findLink(mails, { url: fixture.server.url, address: `${user}@example.org`, request, revision })
const eventsCount = async (): Promise<number> => {
  const [row] = await fixture.server.test.database.query<{ count: number }>("select count(*)::int as count from outbox")
  return row?.count ?? 0
}

describe("A8: a link", () => {
  test("that scanners open hundreds of times at once records nothing", async () => {
    const { id } = await ask("plain")
    const link = await linkFor("ada", id)
    await linkFor("ben", id)
    const before = await eventsCount()
    const openings = Array.from({ length: 100 }, (_, index) => [
      open(`${link}?choice=${index % 2 === 0 ? "approve" : "deny"}`),
      open(link, "HEAD"),
    ]).flat()
    for (const { status } of await Promise.all(openings)) expect(status).toBe(200)
    expect(await votesOf(id)).toEqual([])
    expect(await eventsCount()).toBe(before)
    const [row] = await fixture.server.test.database.query<{ used: number }>(
      "select count(used_at)::int as used from approval_links where request_id = $1",
      [id],
    )
    expect(row?.used).toBe(0)
    expect((await press(link, { choice: "approve" })).page).toContain("Your answer was recorded: Approved")
  })

  test("shows a page that works on any phone, and whose buttons and words can be seen", async () => {
    const { id } = await ask("plain")
    const shown = await open(`${await linkFor("ada", id)}?choice=deny`)
    expect(shown.status).toBe(200)
    expectPlainPage(shown)
    const { page } = shown
    expect([...page.matchAll(/<button name="choice" value="(\w+)"/g)].map(([, choice]) => choice)).toEqual([
      "deny",
      "approve",
      "abstain",
      "ask",
    ])
    expect(page).toContain('<form method="post"')
    for (const [, field] of page.matchAll(/<(?:textarea|input) id="(\w+)"/g))
      expect(page).toContain(`<label for="${field}">`)
    // Phones zoom into fields of less than 16 px; a thumb needs 44.
    expect(page).toContain("body{font:16px/1.5")
    expect(page).toMatch(/textarea,input\{width:100%;font:inherit/)
    const padding = Number(/button\{font:inherit;padding:([\d.]+)rem/.exec(page)?.[1])
    expect(16 * 1.5 + 2 * 16 * padding).toBeGreaterThanOrEqual(44)
    const colour = (name: string) => new RegExp(`--${name}:(#[0-9a-f]{6})`).exec(page)?.[1] ?? ""
    expect(contrast(colour("accent"), "#ffffff")).toBeGreaterThanOrEqual(4.5)
    for (const ground of ["#ffffff", "#121212"]) expect(contrast(colour("edge"), ground)).toBeGreaterThanOrEqual(3)
  })

  test("that is pressed many times at once counts once", async () => {
    const { id } = await ask("plain")
    const link = await linkFor("ada", id)
    const choices = Array.from({ length: 12 }, (_, index) => (index % 2 === 0 ? "approve" : "deny"))
    const answers = await Promise.all(choices.map((choice) => press(link, { choice })))
    expect(await votesOf(id)).toHaveLength(1)
    for (const { status } of answers) expect([200, 409]).toContain(status)
    const [{ choice } = { choice: "" }] = await votesOf(id)
    const other = choice === "approve" ? "deny" : "approve"
    expectRefusal(await press(link, { choice: other }), { status: 409, says: "counts once" })
    expect(await votesOf(id)).toHaveLength(1)
  })

  test("is refused with any of its characters altered, cut, or with a part of another link", async () => {
    const { id } = await ask("plain")
    const link = await linkFor("ada", id)
    const other = await linkFor("ada", (await ask("plain")).id)
    const at = link.lastIndexOf("/") + 1
    const [place, token] = [link.slice(0, at), link.slice(at)]
    const altered = Array.from(token, (character, index) => {
      const instead = character === "0" ? "1" : "0"
      return token.slice(0, index) + instead + token.slice(index + 1)
    })
    const parts = token.split("_")
    const otherParts = other.slice(at).split("_")
    const mixed = parts.map((_, index) =>
      parts.map((part, each) => (each === index ? otherParts[each] : part)).join("_"),
    )
    const texts = [
      ...altered,
      ...mixed.filter((text) => text !== token),
      token.slice(0, -1),
      `${token}0`,
      token.toUpperCase(),
    ]
    expect(texts.length).toBeGreaterThan(100)
    for (const text of texts) {
      const answer = await press(place + text, { choice: "approve" })
      expectRefusal(answer, { status: 404, says: "This link is not valid" })
    }
    expect((await open(place + token.slice(0, -1))).status).toBe(404)
    expect(await votesOf(id)).toEqual([])
    expect((await press(link, { choice: "approve" })).status).toBe(200)
  })

  test("says what became of its request: changed, over, ended, no member any more, expired", async () => {
    const changed = await ask("plain")
    const edited = await linkFor("ada", changed.id)
    const edit = { request: changed.id, revision: 1, content: { chairs: 201 } }
    await fixture.call(backend.key, approvalRequestsEdit, edit)
    expect((await open(edited)).page).toContain("has changed since this link was sent")
    expectRefusal(await press(edited, { choice: "approve" }), { status: 409, says: "says something else by now" })
    expect(await votesOf(changed.id)).toEqual([])
    expect((await press(await linkFor("ada", changed.id, 2), { choice: "approve" })).status).toBe(200)

    const passed = await ask("plain")
    const late = await linkFor("ben", passed.id)
    await press(await linkFor("ada", passed.id), { choice: "approve" })
    expect((await open(late)).page).toContain("This level is not open any more")
    expectRefusal(await press(late, { choice: "deny" }), { status: 409, says: "level 1 is over" })
    await fixture.call(backend.key, approvalRequestsCancel, { request: passed.id })
    expect((await open(late)).page).toContain("This request is cancelled")
    expect((await press(late, { choice: "deny" })).page).toContain("Nothing was recorded")

    const left = await ask("plain")
    const formers = await linkFor("ben", left.id)
    await applyGroup("ops", ["ada"])
    await untilTrue(async () => (await open(formers)).page.includes("has left the group"))
    expectRefusal(await press(formers, { choice: "approve" }), { status: 403, says: "has left the group" })
    await applyGroup("ops", ["ada", "ben"])
    expect(await votesOf(left.id)).toEqual([])

    const old = await ask("plain")
    const expired = await linkFor("ada", old.id)
    fixture.clock.advance(15 * day)
    expect((await open(expired)).page).toContain("This link has expired")
    expectRefusal(await press(expired, { choice: "approve" }), { status: 403, says: "expired at" })
    expect(await votesOf(old.id)).toEqual([])
  })
})

describe("A8: where the template wants a login too, a link", () => {
  const press1 = (link: string, user: string, more: Record<string, string> = {}) =>
    press(link, { choice: "approve", user, password, ...more })

  test("counts for nobody but the one it was sent to, and for nobody without the password", async () => {
    const { id } = await ask("login")
    const link = await linkFor("ada", id)
    const shown = await open(link)
    expectPlainPage(shown)
    expect(shown.page).toContain('autocomplete="current-password"')
    expectRefusal(await press1(link, "ben"), { status: 403, says: "sent to somebody else" })
    expectRefusal(await press1(link, "ada", { password: "wrong" }), { status: 401, says: "password" })
    expectRefusal(await press1(link, "", { password: "" }), { status: 400, says: "user" })
    const direct = await fetch(`${fixture.server.url}/v1/link-answers`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${link.slice(link.lastIndexOf("/") + 1)}`,
        "content-type": "application/json",
        "idempotency-key": "past-the-page",
      },
      body: JSON.stringify({ choice: "approve" }),
    })
    expect([direct.status, ((await direct.json()) as { code: string }).code]).toEqual([403, "approvals.login-required"])
    expect(await votesOf(id)).toEqual([])
    expect((await press1(link, "ada", { comment: "fine" })).page).toContain("Your answer was recorded: Approved")
    expect(await votesOf(id)).toEqual([{ choice: "approve", by: users.get("ada"), via: "api", level: "first" }])
  })

  test("leaves no session behind", async () => {
    const { id } = await ask("login")
    await press1(await linkFor("ada", id), "ada")
    const listed = await fixture.server.call(fixture.admin, "GET", "/v1/user-sessions?user=ada")
    const items = listed.body["items"] as Array<{ endedAt?: string }>
    expect(items.filter(({ endedAt }) => endedAt === undefined)).toEqual([])
  })

  test("of one level never answers for the next, and counts once", async () => {
    const { id } = await ask("login")
    const link = await linkFor("ada", id)
    await press1(link, "ada")
    expect((await read(id)).level?.name).toBe("second")
    for (const choice of ["approve", "deny"])
      expectRefusal(await press1(link, "ada", { choice }), { status: 409, says: "used" })
    const bens = await linkFor("ben", id)
    expect(await votesOf(id)).toHaveLength(1)
    expect((await read(id)).state).toBe("open")
    expect(bens).not.toBe(link)
  })

  test("is refused before it asks for a password where it is too late", async () => {
    const { id } = await ask("login")
    const [ada, ben] = [await linkFor("ada", id), await linkFor("ben", id)]
    await press1(ada, "ada")
    expectRefusal(await press1(ben, "ben", { password: "wrong" }), { status: 409, says: "not open any more" })
    const other = await ask("login")
    const link = await linkFor("ada", other.id)
    await fixture.call(backend.key, approvalRequestsEdit, { request: other.id, revision: 1, content: {} })
    expectRefusal(await press1(link, "ada"), { status: 409, says: "has changed" })
    const next = await linkFor("ada", other.id, 2)
    fixture.clock.advance(15 * day)
    expectRefusal(await press1(next, "ada"), { status: 403, says: "expired" })
    expect(await votesOf(other.id)).toEqual([])
  })

  test("asks a question too, and its answer comes by the requester's own login", async () => {
    const { id, digest } = await ask("login")
    const link = await linkFor("ada", id)
    expect((await press1(link, "ada", { choice: "ask", comment: "why so many?" })).status).toBe(200)
    expect((await read(id)).question).toMatchObject({ text: "why so many?", by: { key: users.get("ada") } })
    await fixture.call(backend.key, approvalRequestsAnswer, { request: id, answer: "a new hall" })
    expect(await fixture.refusal(fixture.admin, approvalRequestsDeny, { request: id, digest })).toBe(
      "approvals.not-a-member",
    )
    expect((await press1(link, "ada")).page).toContain("Your answer was recorded")
  })

  test("can't be wanted of members who have only an address", async () => {
    const levels = [{ name: "only", group: "addresses", strategy: { kind: "any" as const } }]
    const unable = { name: "unable", levels, linkLogin: true }
    expect(await fixture.refusal(fixture.admin, templatesApply, unable)).toBe("approvals.unreachable")
    expect(await fixture.refusal(fixture.admin, templatesApply, { ...unable, linkLogin: false })).toBe("accepted")
    const { id, digest } = await ask("login")
    expect(await fixture.refusal(backend.key, approvalRequestsApprove, { request: id, digest })).not.toBe("accepted")
  })
})

/** As WCAG 2.2 has it, from 1 to 21. */
function contrast(one: string, other: string): number {
  const [light = 0, dark = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a)
  return (light + 0.05) / (dark + 0.05)
}

function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
