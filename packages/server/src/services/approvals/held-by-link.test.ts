/** A held call, its mails, the pages behind their links, and the call that runs afterwards: on a whole server. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { MailReceiver } from "../notifications/notifications.fixture.ts"
import { untilTrue } from "./approvals.fixture.ts"
import { findLink, open, press } from "./link-pages.fixture.ts"

const mails = new MailReceiver()
let server: ServerFixture
let directory: string
let sequence = 0

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox approvals "))
  await mails.start(directory)
  server = await startServerFixture({
    mail: { url: mails.url, from: "Signalbox <signalbox@example.org>", startTls: "require", caPem: mails.caPem },
  })
  await apply("approval-groups", "ops", { members: [{ mail: "ada@example.org" }, { mail: "bo@example.org" }] })
  await apply("approval-groups", "owners", { members: [{ mail: "cy@example.org", name: "Cy" }] })
  const levels = [
    { name: "ops", group: "ops", strategy: { kind: "all" } },
    { name: "owners", group: "owners", strategy: { kind: "any" } },
  ]
  await apply("approval-templates", "two-levels", { levels })
})
afterAll(async () => {
  await server.stop()
  await mails.stop()
  await rm(directory, { recursive: true })
})
afterEach(async () => {
  await server.call(server.platformKey, "DELETE", "/v1/associations/windows")
  mails.mails.length = 0
})

async function apply(kind: string, name: string, body: object): Promise<void> {
  const answer = await server.call(server.platformKey, "PUT", `/v1/${kind}/${name}`, body)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
}

function applyWindow(
  name: string,
  more: Record<string, string> = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const key = more["idempotency-key"] ?? `window-${name}-${++sequence}`
  return fetch(`${server.url}/v1/windows/${name}`, {
    method: "PUT",
    headers: {
      ...{ authorization: `Bearer ${server.platformKey}`, "content-type": "application/json" },
      ...more,
      "idempotency-key": key,
    },
    body: JSON.stringify({ cron: "0 3 * * *", zone: "UTC", duration: "2h" }),
  }).then(async (response) => ({ status: response.status, body: (await response.json()) as Record<string, unknown> }))
}

/** Holds every change of windows from now on; gives the first one that is held. */
async function hold(name: string): Promise<string> {
  await apply("associations", "windows", { template: "two-levels", selector: { operation: "windows.*" } })
  const answer = await applyWindow(name)
  expect(answer.status, JSON.stringify(answer.body)).toBe(202)
  return String(answer.body["requestUrl"]).replace(/^.*\//, "")
}

const linkOf = (address: string, ofRequest: string, revision = 1): Promise<string> =>
  findLink(mails, { url: server.url, address, request: ofRequest, revision })

async function request(id: string): Promise<Record<string, unknown>> {
  return (await server.call(server.platformKey, "GET", `/v1/approval-requests/${id}`)).body
}

async function held(id: string): Promise<Record<string, unknown>> {
  return (await server.call(server.platformKey, "GET", `/v1/held-operations/${id}`)).body
}

async function windowStatus(name: string): Promise<number> {
  return (await server.call(server.platformKey, "GET", `/v1/windows/${name}`)).status
}

describe("A7, A8: a held call that is approved by links", () => {
  test("waits for both levels, however often scanners open the links, and runs once", async () => {
    const id = await hold("night")
    expect(await windowStatus("night")).toBe(404)
    const ada = await linkOf("ada@example.org", id)
    for (let n = 0; n < 20; n++) {
      const page = await fetch(`${ada}?choice=approve`, { method: n % 2 === 0 ? "GET" : "HEAD" })
      expect(page.status).toBe(200)
      expect(page.headers.get("content-security-policy")).toContain("default-src 'none'")
      expect(page.headers.get("cache-control")).toBe("no-store")
    }
    expect((await request(id))["votes"]).toEqual([])
    expect((await press(ada, { choice: "approve", comment: "fine by me" })).page).toContain("Your answer was recorded")
    await press(await linkOf("bo@example.org", id), { choice: "approve" })
    expect(await windowStatus("night")).toBe(404)
    await press(await linkOf("cy@example.org", id), { choice: "approve" })
    await untilTrue(async () => (await held(id))["state"] === "done")
    expect(await windowStatus("night")).toBe(200)
    expect(await held(id)).toMatchObject({ state: "done", result: { name: "night", changed: true, version: 1 } })
    const votes = (await request(id))["votes"] as Array<Record<string, unknown>>
    expect(votes.map(({ via, choice, comment }) => [via, choice, comment])).toEqual([
      ["link", "approve", "fine by me"],
      ["link", "approve", undefined],
      ["link", "approve", undefined],
    ])
  })

  test("X4: why tells who approved which content, and what followed", async () => {
    const id = await hold("told")
    for (const address of ["ada@example.org", "bo@example.org", "cy@example.org"])
      await press(await linkOf(address, id), { choice: "approve" })
    await untilTrue(async () => (await held(id))["state"] === "done")
    const { digest } = await request(id)
    const story = await server.call(server.platformKey, "GET", `/v1/why/${id}`)
    const texts = (story.body["entries"] as Array<{ text: string }>).map(({ text }) => text)
    const content = `(SHA-256 ${String(digest).slice(0, 16)}…)`
    expect(texts).toContain(`ada@example.org approved at level ops ${content}`)
    expect(texts).toContain(`Cy approved at level owners ${content}`)
    expect(texts).toContain(`what was approved ran: windows.apply ${content}`)
    expect(texts.some((text) => text.includes("windows.apply"))).toBe(true)
    expect(texts.some((text) => text.includes("deliver"))).toBe(false)
  })

  test("replayed, tampered and late links are refused with a page, and record nothing", async () => {
    const id = await hold("refused")
    const ada = await linkOf("ada@example.org", id)
    await press(ada, { choice: "approve" })
    const replayed = await press(ada, { choice: "deny" })
    expect(replayed).toMatchObject({ status: 409, page: expect.stringContaining("Nothing was recorded") })
    const end = ada.at(-1) === "0" ? "1" : "0"
    const tampered = await press(`${ada.slice(0, -1)}${end}`, { choice: "approve" })
    expect(tampered).toMatchObject({ status: 404, page: expect.stringContaining("This link is not valid") })
    expect((await press(ada, { choice: "explode" })).status).toBe(400)
    expect((await press(await linkOf("bo@example.org", id), { choice: "ask" })).page).toContain("needs words")
    expect((await request(id))["votes"]).toHaveLength(1)
    await press(await linkOf("bo@example.org", id), { choice: "deny", comment: "not on a Sunday" })
    await untilTrue(async () => (await held(id))["state"] === "discarded")
    expect(await windowStatus("refused")).toBe(404)
    const late = await fetch(await linkOf("bo@example.org", id))
    expect(await late.text()).toContain("Your answer was recorded: Denied")
  })

  test("the same call again finds its request; another body under the key is refused", async () => {
    await hold("first")
    const again = { "idempotency-key": "the-same-call-again" }
    const one = await applyWindow("twice", again)
    const two = await applyWindow("twice", again)
    expect([one.status, two.status]).toEqual([202, 202])
    expect(two.body["requestUrl"]).toBe(one.body["requestUrl"])
    const other = await applyWindow("thrice", again)
    expect(other).toMatchObject({ status: 422, body: { code: "request.idempotency-key-reused" } })
  })

  test("a caller that waits gets the call's own answer", async () => {
    await hold("waits")
    const answer = applyWindow("waited", { prefer: "wait=30", "idempotency-key": "a-call-that-waits" })
    let id = ""
    await untilTrue(async () => {
      const { body } = await server.call(server.platformKey, "GET", "/v1/approval-requests?state=open&limit=1")
      const [newest] = body["items"] as Array<{ id: string; digest: string }>
      id = newest?.id ?? ""
      return id !== "" && ((await request(id))["content"] as { input: { name: string } }).input.name === "waited"
    })
    for (const address of ["ada@example.org", "bo@example.org", "cy@example.org"])
      await press(await linkOf(address, id), { choice: "approve" })
    expect(await answer).toMatchObject({ status: 200, body: { name: "waited", changed: true } })
  })

  test("runs no earlier than it was asked to, and says so", async () => {
    await hold("now")
    const later = await applyWindow("later", { "signalbox-not-before": new Date(Date.now() + 3_600_000).toISOString() })
    const id = String(later.body["requestUrl"]).replace(/^.*\//, "")
    for (const address of ["ada@example.org", "bo@example.org", "cy@example.org"])
      await press(await linkOf(address, id), { choice: "approve" })
    await untilTrue(async () => (await held(id))["state"] === "approved")
    expect(await windowStatus("later")).toBe(404)
  })

  test("A14: an edit between the levels leaves no vote, and what runs is what was approved last", async () => {
    const id = await hold("edited")
    for (const address of ["ada@example.org", "bo@example.org"])
      await press(await linkOf(address, id), { choice: "approve" })
    const old = await linkOf("cy@example.org", id)
    const { digest } = await request(id)
    const edited = await server.call(server.platformKey, "POST", `/v1/held-operations/${id}:edit`, {
      revision: 1,
      newInput: { name: "edited", cron: "0 4 * * *", zone: "UTC", duration: "2h" },
    })
    expect(edited.status, JSON.stringify(edited.body)).toBe(200)
    const after = await request(id)
    expect(after["digest"]).not.toBe(digest)
    const votes = after["votes"] as Array<{ standing: string }>
    expect(votes.map(({ standing }) => standing)).toEqual(["outdated", "outdated"])
    expect((await press(old, { choice: "approve" })).page).toContain("Nothing was recorded")
    for (const address of ["ada@example.org", "bo@example.org", "cy@example.org"])
      await press(await linkOf(address, id, 2), { choice: "approve" })
    await untilTrue(async () => (await held(id))["state"] === "done")
    expect((await server.call(server.platformKey, "GET", "/v1/windows/edited")).body["cron"]).toBe("0 4 * * *")
  })
})

test("A18: where a level counts signed votes, a page tells how to sign and takes a denial alone", async () => {
  const level = { name: "ops", group: "ops", strategy: { kind: "all" }, signedVotes: "required" }
  await apply("approval-templates", "signed", { levels: [level] })
  await apply("associations", "windows", { template: "signed", selector: { operation: "windows.*" } })
  const id = String((await applyWindow("signed")).body["requestUrl"]).replace(/^.*\//, "")
  const link = await linkOf("ada@example.org", id)
  const { page } = await open(link)
  expect(page).toContain(`signalbox approvals approve ${id} --digest`)
  expect(page).not.toContain('value="approve"')
  expect((await press(link, { choice: "approve" })).status).toBe(403)
  expect((await request(id))["state"]).toBe("open")
  await press(link, { choice: "deny", comment: "not like this" })
  expect((await request(id))["state"]).toBe("denied")
})
