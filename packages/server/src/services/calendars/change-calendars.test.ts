import { rm, mkdtemp } from "node:fs/promises"
import { createServer, type Server } from "node:https"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { pino } from "pino"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { parseHostRule } from "../../egress/host-rule.ts"
import { ensureServerTls } from "../../http/certificate-authority.ts"
import { startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { systemClock } from "../../system.ts"
import { until } from "./calendars.fixture.ts"
import { CalendarCompiler } from "./calendar-compiler.ts"
import { CalendarDirectory } from "./calendar-directory.ts"
import { calendarOf, googleExport } from "./icalendar/documents.fixture.ts"

/** A place that calendars are subscribed to: what it answers is the test's to say. */
interface Place {
  readonly url: string
  readonly requests: IncomingMessage[]
  answer: (request: IncomingMessage, response: ServerResponse) => void
}

let server: ServerFixture
let place: Place
let ahead = 0
const cleanups: Array<() => Promise<unknown>> = []
const now = (): number => Date.now() + ahead
const hour = 3_600_000

beforeAll(async () => {
  place = await startPlace()
  const rule = parseHostRule("127.0.0.1")
  server = await startServerFixture({
    clock: { now },
    egress: { allow: rule ? [rule] : [], privateAllowed: false },
  })
})
afterAll(async () => {
  await server.stop()
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function startPlace(): Promise<Place> {
  const directory = await mkdtemp(join(tmpdir(), "signalbox tls "))
  const { certPem, keyPem, caPem } = await ensureServerTls({ directory, names: ["127.0.0.1"], clock: systemClock })
  const trusted = getCACertificates("default")
  setDefaultCACertificates([...trusted, caPem])
  const made: { requests: IncomingMessage[]; answer: Place["answer"] } = {
    requests: [],
    answer: (_request, response) => response.end(),
  }
  const https: Server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    made.requests.push(request)
    made.answer(request, response)
  })
  await new Promise<void>((resolve) => https.listen(0, "127.0.0.1", resolve))
  cleanups.push(async () => {
    setDefaultCACertificates(trusted)
    https.closeAllConnections()
    await new Promise((resolve) => https.close(resolve))
    await rm(directory, { recursive: true })
  })
  return Object.assign(made, { url: `https://127.0.0.1:${(https.address() as AddressInfo).port}` })
}

const call = (method: string, path: string, body?: unknown) => server.call(server.platformKey, method, path, body)

async function apply(name: string, calendar: Record<string, unknown>, status = 200) {
  const answer = await call("PUT", `/v1/calendars/${name}`, calendar)
  expect(answer.status, JSON.stringify(answer.body)).toBe(status)
  return answer.body
}

async function get(path: string, status = 200) {
  const answer = await call("GET", path)
  expect(answer.status, JSON.stringify(answer.body)).toBe(status)
  return answer.body
}

/** An event from now on, by hours. */
function eventAround(from: number, to: number, summary = "Freeze"): string {
  const stamp = (hours: number): string => new Date(now() + hours * hour).toISOString().replaceAll(/[-:]|\.\d{3}/g, "")
  return `DTSTART:${stamp(from)}\nDTEND:${stamp(to)}\nSUMMARY:${summary}`
}

describe("A15: a change calendar", () => {
  test("made of an unedited export says its state at any time, and what comes next", async () => {
    const made = await apply("release", { document: googleExport, description: "Release freezes" })
    expect(made).toMatchObject({ changed: true, version: 1, eventsCount: 2, ignoredCount: 2, default: "open" })
    expect(await apply("release", { document: googleExport, description: "Release freezes" })).toMatchObject({
      changed: false,
      version: 1,
    })
    const state = (at: string) => get(`/v1/calendars:state?calendars=release&at=${encodeURIComponent(at)}`)
    expect(await state("2030-03-08T20:30:00+01:00")).toMatchObject({
      state: "closed",
      unknown: false,
      changesAt: "2030-03-09T07:00:00.000Z",
      name: "release",
      items: [{ event: "Weekend freeze" }],
    })
    expect(await state("2030-03-09T07:00:00Z")).toMatchObject({
      state: "open",
      changesAt: "2030-03-22T19:00:00.000Z",
    })
    expect(await state("2030-06-01T00:00:00Z")).toEqual({
      ...{ at: "2030-06-01T00:00:00.000Z", state: "open", unknown: false },
      items: [{ name: "release", state: "open", unknown: false }],
    })
    const { items, truncated } = await get("/v1/calendars/release/times?from=2030-03-01T00:00:00Z&days=30&limit=2")
    expect(items).toMatchObject([
      { start: "2030-03-08T19:00:00.000Z", end: "2030-03-09T07:00:00.000Z", event: "Weekend freeze", state: "closed" },
      { start: "2030-03-22T19:00:00.000Z" },
    ])
    expect(truncated).toBe(true)
  })

  test("closed by default is open while events take place, and several are closed while one is", async () => {
    const document = calendarOf(eventAround(-1, 2))
    await apply("change-hours", { document, default: "closed" })
    await apply("audit-freeze", { document: calendarOf(eventAround(1, 3)) })
    const state = (names: string, hours: number) =>
      get(`/v1/calendars:state?calendars=${names}&at=${new Date(now() + hours * hour).toISOString()}`)
    expect(await state("change-hours", 0)).toMatchObject({ state: "open" })
    expect(await state("change-hours", 3)).toMatchObject({ state: "closed", unknown: false })
    expect(await state("change-hours,audit-freeze", 0)).toMatchObject({ state: "open", name: "audit-freeze" })
    expect(await state("change-hours,audit-freeze", 1.5)).toMatchObject({ state: "closed", name: "audit-freeze" })
    expect((await get("/v1/calendars:state?calendars=nothing", 404)).code).toBe("calendars.calendar-not-found")
    for (const name of ["change-hours", "audit-freeze"]) await call("DELETE", `/v1/calendars/${name}`)
  })

  test("keeps its versions, and leaves an event and a record of each edit", async () => {
    await apply("versioned", { document: calendarOf(eventAround(1, 2, "one")) })
    await apply("versioned", { document: calendarOf(eventAround(1, 2, "two")) })
    const { items } = (await get("/v1/calendars/versioned/versions")) as { items: Array<Record<string, unknown>> }
    expect(items.map(({ version }) => version)).toEqual([2, 1])
    const document = async (version: number) =>
      (await get(`/v1/calendars/versioned/document?version=${version}`))["document"]
    expect(await document(1)).toContain("SUMMARY:one")
    expect(await document(2)).toContain("SUMMARY:two")
    for (let edit = 3; edit <= 23; edit++)
      await apply("versioned", { document: calendarOf(eventAround(1, 2, `edit ${edit}`)) })
    expect(((await get("/v1/calendars/versioned/versions"))["items"] as unknown[]).length).toBe(20)
    expect((await get("/v1/calendars/versioned/document?version=3", 404)).code).toBe("calendars.version-not-found")
    const audit = (await get("/v1/audit?operation=calendars.apply&limit=1"))["items"] as Array<Record<string, unknown>>
    expect(audit[0]).toMatchObject({ operation: "calendars.apply", outcome: "done" })
    expect((await call("DELETE", "/v1/calendars/versioned")).status).toBe(200)
    const types = async () =>
      ((await get("/v1/events?type=calendar.*&limit=1000"))["items"] as Array<Record<string, unknown>>)
        .filter(({ data }) => (data as Record<string, unknown>)["name"] === "versioned")
        .map(({ type }) => type)
    await until("the removal's event", async () => ((await types()).includes("calendar.removed") ? true : undefined))
    expect(new Set(await types())).toEqual(new Set(["calendar.created", "calendar.changed", "calendar.removed"]))
  })

  test("is refused where its document or its settings are wrong, with the line", async () => {
    const wrong = calendarOf(`${eventAround(1, 2)}\nRRULE:FREQ=OFTEN`)
    const refused = await apply("wrong", { document: wrong }, 400)
    expect(refused.code).toBe("calendars.invalid-document")
    expect(refused["issues"]).toMatchObject([{ path: "document", line: 8 }])
    expect((await apply("wrong", {}, 400)).code).toBe("calendars.invalid-calendar")
    expect((await apply("wrong", { url: "http://example.com/a.ics" }, 400)).code).toBe("request.invalid-input")
    expect((await apply("wrong", { url: place.url, refreshEvery: "1s" }, 400)).code).toBe("calendars.invalid-calendar")
    await get("/v1/calendars/wrong", 404)
  })
})

describe("A15: a subscribed change calendar", () => {
  test("is unknown until it was fetched, follows its place, and keeps the last good document", async () => {
    const document = calendarOf(eventAround(-1, 1, "First"))
    place.answer = (request, response) => {
      if (request.url === "/moved") return response.writeHead(302, { location: "/calendar" }).end()
      response.writeHead(200, { etag: '"one"' }).end(document)
    }
    await apply("followed", { url: `${place.url}/moved`, refreshEvery: "10m", staleAfter: "1h" })
    const fetched = async (what: string, test: (subscription: Record<string, unknown>) => boolean) =>
      until(what, async () => {
        const calendar = await get("/v1/calendars/followed")
        return test(calendar["subscription"] as Record<string, unknown>) ? calendar : undefined
      })
    const first = await fetched("the first document", ({ fetchedAt }) => fetchedAt !== undefined)
    expect(first).toMatchObject({ version: 2, changedBy: "system:calendars", eventsCount: 1 })
    expect(await get("/v1/calendars:state?calendars=followed")).toMatchObject({ state: "closed", unknown: false })

    // The same again: no new version.
    place.answer = (_request, response) => response.writeHead(304).end()
    const before = String((first["subscription"] as Record<string, unknown>)["fetchedAt"])
    await call("POST", "/v1/calendars/followed:refresh", {})
    const second = await fetched("a second answer", ({ fetchedAt }) => String(fetchedAt) > before)
    expect(second["version"]).toBe(2)
    expect(place.requests.at(-1)?.headers["if-none-match"]).toBe('"one"')

    // A place that is down or answers nonsense: the last good document goes on, and its age is shown.
    place.answer = (_request, response) => response.writeHead(200).end("<html>log in</html>")
    await call("POST", "/v1/calendars/followed:refresh", {})
    const failing = await fetched("a failure", ({ failedAt }) => failedAt !== undefined)
    expect(failing["subscription"]).toMatchObject({ stale: false, failure: expect.stringContaining("line 1") })
    expect(await get("/v1/calendars:state?calendars=followed")).toMatchObject({ state: "closed", unknown: false })
    place.answer = (_request, response) => response.writeHead(503).end()
    ahead += 2 * hour
    await fetched("staleness", ({ stale, failure }) => stale === true && String(failure).includes("503"))
    expect(await get("/v1/calendars:state?calendars=followed")).toMatchObject({ state: "closed", unknown: true })

    // It is back, with another document.
    place.answer = (_request, response) => response.end(calendarOf(eventAround(4, 5, "Second")))
    await call("POST", "/v1/calendars/followed:refresh", {})
    await fetched("news", ({ stale }) => stale === false)
    expect(await get("/v1/calendars:state?calendars=followed")).toMatchObject({ state: "open", unknown: false })
    const types = ((await get("/v1/events?type=calendar.*&limit=1000"))["items"] as Array<Record<string, unknown>>)
      .filter(({ data }) => (data as Record<string, unknown>)["name"] === "followed")
      .map(({ type }) => type)
    expect(types).toEqual([
      "calendar.created",
      "calendar.changed",
      "calendar.unreached",
      "calendar.staled",
      "calendar.changed",
    ])
    await call("DELETE", "/v1/calendars/followed")
  }, 60_000)

  test("is never fetched from where the way out leads to nowhere good", async () => {
    place.answer = (_request, response) => response.writeHead(302, { location: "http://127.0.0.1/plain" }).end()
    await apply("sent-on", { url: `${place.url}/secret-path?token=abc` })
    await apply("inside", { url: "https://169.254.169.254/calendar.ics" })
    const failureOf = (name: string) =>
      until(`a failure of ${name}`, async () => {
        const { failure } = (await get(`/v1/calendars/${name}`))["subscription"] as { failure?: string }
        return failure
      })
    expect(await failureOf("sent-on")).toContain("no https: URL")
    expect(await failureOf("sent-on")).not.toMatch(/secret-path|token=/)
    expect(await failureOf("inside")).toContain("169.254.169.254")
    expect(await get("/v1/calendars:state?calendars=inside")).toMatchObject({ state: "closed", unknown: true })
    for (const name of ["sent-on", "inside"]) await call("DELETE", `/v1/calendars/${name}`)
  })

  test("may have an address that is a secret, which is looked at when the calendar is applied", async () => {
    await call("PUT", "/v1/secrets/no-url", { value: "not an address" })
    for (const [urlSecret, why] of [
      ["no-such", 'there is no secret "no-such"'],
      ["no-url", 'the secret "no-url" is no URL'],
    ] as const) {
      const refused = await call("PUT", "/v1/calendars/hidden", { urlSecret })
      expect([refused.status, refused.body.code]).toEqual([400, "calendars.invalid-calendar"])
      expect(JSON.stringify(refused.body)).toContain(why.replaceAll('"', '\\"'))
    }
    place.answer = (_request, response) => response.end(calendarOf(eventAround(1, 2)))
    await call("PUT", "/v1/secrets/calendar-url", { value: `${place.url}/private-hidden` })
    await apply("hidden", { urlSecret: "calendar-url" })
    const calendar = await until("the document", async () => {
      const found = await get("/v1/calendars/hidden")
      return found["eventsCount"] === 1 ? found : undefined
    })
    expect(JSON.stringify(calendar)).not.toContain("private-hidden")
    expect(place.requests.at(-1)?.url).toBe("/private-hidden")
    await call("DELETE", "/v1/calendars/hidden")
  })
})

describe("A15: a feed", () => {
  test("is read by its address alone, gives back what the calendar says, and ends when it is revoked", async () => {
    const document = calendarOf(
      eventAround(1, 2, "Länger; mit, allem\\nwas dazugehört und noch viel mehr als in eine Zeile geht"),
      "DTSTART;TZID=Europe/Berlin:20200101T220000\nDURATION:PT2H\nRRULE:FREQ=DAILY\nSUMMARY:Night",
    )
    await apply("shared", { document })
    const made = (await call("POST", "/v1/calendar-feeds", { calendar: "shared", note: "office" })).body
    const path = new URL(String(made["url"])).pathname
    const read = async () => server.call(undefined, "GET", path)
    const answer = await read()
    expect(answer.status).toBe(200)
    expect(answer.headers.get("content-type")).toBe("text/calendar; charset=utf-8")
    const text = String(answer.body["text"])
    expect(text.split("\r\n").every((line) => Buffer.byteLength(line) <= 75)).toBe(true)

    // The feed as somebody else's calendar: the same times.
    await apply("copied", { document: text })
    const times = async (name: string) =>
      ((await get(`/v1/calendars/${name}/times?days=60&limit=1000`))["items"] as Array<Record<string, unknown>>).map(
        ({ start, end }) => [start, end],
      )
    expect(await times("copied")).toEqual(await times("shared"))
    expect(JSON.stringify(await get("/v1/calendars/copied/times"))).toContain("Closed for changes: Länger; mit, allem")

    const { items } = (await get("/v1/calendar-feeds")) as { items: Array<Record<string, unknown>> }
    expect(items).toMatchObject([{ id: made["id"], calendar: "shared", note: "office" }])
    expect(JSON.stringify(items)).not.toContain(path)
    const token = path.split("/")[3] ?? ""
    expect((await server.call(token, "GET", "/v1/calendars")).status).toBe(403)
    const forged = path.replace(/.(?=\/calendar$)/, (last) => (last === "0" ? "1" : "0"))
    expect((await server.call(server.platformKey, "GET", forged)).status).toBe(401)
    expect((await call("POST", `/v1/calendar-feeds/${String(made["id"])}:revoke`, {})).status).toBe(200)
    expect((await read()).status).toBe(401)
    for (const name of ["shared", "copied"]) await call("DELETE", `/v1/calendars/${name}`)
  })

  test("goes with its calendar", async () => {
    await apply("short-lived", { document: calendarOf(eventAround(1, 2)) })
    const made = (await call("POST", "/v1/calendar-feeds", { calendar: "short-lived" })).body
    await call("DELETE", "/v1/calendars/short-lived")
    expect((await server.call(undefined, "GET", new URL(String(made["url"])).pathname)).status).toBe(401)
  })
})

describe("A15: a freeze", () => {
  test("names the closed calendars that hold a call, with their approvers", async () => {
    await apply("web-freeze", {
      document: calendarOf(eventAround(-1, 2, "Sale")),
      holds: [{ operations: ["executions.*"], workflows: ["web-*"] }],
      freezeTemplate: "freeze-board",
    })
    await apply("asked-only", { document: calendarOf(eventAround(-1, 2)), holds: [] })
    const directory = new CalendarDirectory({
      sql: server.test.database,
      clock: { now },
      logger: pino({ level: "silent" }),
      compiler: new CalendarCompiler(),
    })
    const { account } = (await get("/v1/auth/whoami")) as unknown as { account: string }
    await directory.load(account)
    const find = (operation: string, workflow?: string, at = now()) =>
      directory.find(account, { operation, attributes: workflow === undefined ? {} : { workflow } }, at)
    expect(find("executions.create", "web-shop")).toMatchObject([
      { calendar: "web-freeze", freezeTemplate: "freeze-board", event: "Sale", unknown: false },
    ])
    expect(find("executions.create", "mail")).toEqual([])
    expect(find("keys.create")).toEqual([])
    expect(find("executions.create", "web-shop", now() + 3 * hour)).toEqual([])
    expect(directory.find("another-account", { operation: "executions.create", attributes: {} }, now())).toEqual([])
    expect(directory.stateOf(account, ["web-freeze", "asked-only"], now())).toMatchObject({ open: false })
    expect(directory.stateOf(account, ["web-freeze"], now() + 3 * hour)).toEqual({
      ...{ open: true, changesAt: null, name: null },
    })
    expect(directory.stateOf(account, ["not-there"], now())).toEqual({
      ...{ open: false, changesAt: null, name: "not-there", unknown: true },
    })
    const asked = await get("/v1/calendars:freezes?operation=executions.create&workflow=web-shop")
    expect(asked["items"]).toMatchObject([{ name: "web-freeze", freezeTemplate: "freeze-board", event: "Sale" }])
    for (const name of ["web-freeze", "asked-only"]) await call("DELETE", `/v1/calendars/${name}`)
  })
})
