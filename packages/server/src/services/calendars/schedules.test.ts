import { pino } from "pino"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { systemRandom } from "../../system.ts"
import { runWork, startCalendarsFixture, until, type CalendarsFixture } from "./calendars.fixture.ts"
import { makeDueFirings } from "./make-firing.ts"

let fixture: CalendarsFixture
beforeAll(async () => {
  fixture = await startCalendarsFixture()
})
afterAll(() => fixture.stop())

const minute = 60_000

async function apply(name: string, schedule: Record<string, unknown>, status = 200) {
  const answer = await fixture.call("PUT", `/v1/schedules/${name}`, { call: runWork, ...schedule })
  expect(answer.status, JSON.stringify(answer.body)).toBe(status)
  return answer.body
}

const soon = (milliseconds: number): string => new Date(fixture.now() + milliseconds).toISOString()

describe("W8: a schedule", () => {
  test("W8: starts an execution at its instant, once, and its story leads to it", async () => {
    await apply("once", { at: soon(5 * minute) })
    fixture.advance(5 * minute)
    const firing = await fixture.settledFiring("once")
    expect(firing).toMatchObject({ outcome: "started", manual: false, instantsCount: 1 })
    const started = String(firing["started"])
    const runs = (await fixture.executions()).filter((run) => run["createdBy"] === "schedule:once")
    expect(runs.map((run) => run["id"])).toEqual([started])
    expect(runs[0]?.["cause"]).toBe(firing["id"])
    const schedule = (await fixture.call("GET", "/v1/schedules/once")).body
    expect(schedule).toMatchObject({ state: "ended", lastFiring: { outcome: "started", started } })
    const story = (await fixture.call("GET", `/v1/why/${started}`)).body["entries"] as Array<{ what: string }>
    expect(story.map(({ what }) => what)).toEqual(
      expect.arrayContaining(["firing.due", "executions.create", "execution.created", "firing.started"]),
    )
  })

  test("W8: takes instants as people write them, and says how where it can't", async () => {
    const { at } = await apply("written", { at: "2040-01-31T04:00:00+01:00", enabled: false })
    expect(at).toBe("2040-01-31T03:00:00.000Z")
    const timing = `cron=${encodeURIComponent("30 2 * * *")}&zone=Europe/Berlin&count=1`
    const shown = await fixture.call("GET", `/v1/schedules:preview?${timing}&after=2026-03-28T12:00:00Z`)
    expect(shown.body["items"]).toMatchObject([{ at: "2026-03-29T01:00:00.000Z" }])
    const { issues } = await apply("written", { at: "tomorrow" }, 400)
    expect(JSON.stringify(issues)).toContain("2030-01-31T03:00:00Z")
  })

  test("W8: is carried out once though its event comes again", async () => {
    const [firing] = await fixture.firings("once")
    const { database } = fixture.server.test
    // As after a crash between the call and its record.
    await database.query(
      "update schedule_firings set outcome = 'pending', fired_at = null, started = null where id = $1",
      [firing?.["id"]],
    )
    await database.query("update schedules set pending_firing = $1 where name = 'once'", [firing?.["id"]])
    await database.query("update consumer set cursor = null where name = 'calendars.fire'")
    const again = await fixture.settledFiring("once")
    expect(again).toMatchObject({ outcome: "started", started: firing?.["started"] })
    const runs = (await fixture.executions()).filter((run) => run["createdBy"] === "schedule:once")
    expect(runs).toHaveLength(1)
  })

  test("W8: skips while the execution of the firing before still runs, unless overlaps are allowed", async () => {
    // The node has no agent, so its executions go on.
    await apply("overlap", { every: "10m" })
    fixture.advance(10 * minute)
    const first = await until("the first firing", async () => (await fixture.firings("overlap"))[0])
    expect(await fixture.settledFiring("overlap")).toMatchObject({ id: first["id"], outcome: "started" })
    fixture.advance(10 * minute)
    await until("a second firing", async () => (await fixture.firings("overlap"))[1])
    const second = await fixture.settledFiring("overlap")
    expect(second).toMatchObject({ outcome: "skipped", reason: expect.stringMatching(/^exe_.* is /) })
    await apply("overlap", { every: "10m", overlap: "allow" })
    fixture.advance(10 * minute)
    await until("a third firing", async () => (await fixture.firings("overlap"))[2])
    expect(await fixture.settledFiring("overlap")).toMatchObject({ outcome: "started" })
    await fixture.call("DELETE", "/v1/schedules/overlap")
  })

  test("W8: makes up what was missed as its policy says", async () => {
    await apply("missing", { every: "10m", catchUp: "all", catchUpMax: 2, overlap: "allow" })
    await apply("skipping", { every: "10m" })
    fixture.advance(55 * minute)
    const firings = await until("three records", async () => {
      const all = await fixture.firings("missing")
      return all.length === 3 && all.every(({ outcome }) => outcome !== "pending") ? all : undefined
    })
    expect(firings.map(({ outcome, instantsCount }) => [outcome, instantsCount])).toEqual([
      ["started", 1],
      ["started", 1],
      ["missed", 3],
    ])
    expect(await fixture.settledFiring("skipping")).toMatchObject({ outcome: "missed", instantsCount: 5 })
    await fixture.call("DELETE", "/v1/schedules/missing")
    await fixture.call("DELETE", "/v1/schedules/skipping")
  })

  test("P9: fires only while one of its windows is open", async () => {
    const window = { at: soon(30 * minute), zone: "UTC", duration: "20m", cutoff: "10m" }
    expect((await fixture.call("PUT", "/v1/windows/narrow", window)).status).toBe(200)
    await apply("windowed", { every: "10m", windows: ["narrow"], overlap: "allow" })
    fixture.advance(10 * minute)
    await until("a firing", async () => (await fixture.firings("windowed"))[0])
    expect(await fixture.settledFiring("windowed")).toMatchObject({
      outcome: "skipped",
      reason: "outside of its maintenance windows (narrow)",
    })
    fixture.advance(20 * minute)
    await until("a firing inside", async () =>
      (await fixture.firings("windowed")).find(({ outcome }) => outcome === "started"),
    )
    const refused = await fixture.call("DELETE", "/v1/windows/narrow")
    expect([refused.status, refused.body.code]).toEqual([409, "calendars.window-in-use"])
    await fixture.call("DELETE", "/v1/schedules/windowed")
    expect((await fixture.call("DELETE", "/v1/windows/narrow")).status).toBe(200)
  })

  test("W4, P9: a window that a run waits for stays; a run that no window lets go on says so, and what helps", async () => {
    const window = { at: soon(30 * minute), zone: "UTC", duration: "20m" }
    expect((await fixture.call("PUT", "/v1/windows/once", window)).status).toBe(200)
    const started = await fixture.call("POST", "/v1/executions", { ...runWork.input, windows: ["once"] })
    expect(started.status, JSON.stringify(started.body)).toBe(200)
    const path = `/v1/executions/${String(started.body["id"])}`
    const waiting = async () => (await fixture.call("GET", path)).body["waitsFor"] as { text: string } | undefined
    await until("the run waits", async () =>
      (await waiting())?.text.includes("once is closed until") ? true : undefined,
    )
    const listed = await fixture.call("GET", "/v1/executions?window=once")
    expect((listed.body["items"] as Array<{ id: string }>).map(({ id }) => id)).toEqual([started.body["id"]])
    expect((await fixture.call("GET", "/v1/executions?window=onc")).body["items"]).toEqual([])
    const refused = await fixture.call("DELETE", "/v1/windows/once")
    expect([refused.status, refused.body.code]).toEqual([409, "calendars.window-in-use"])
    expect(refused.body["detail"]).toContain(started.body["id"])
    // As one that begins at the moment of a removal: the row is gone, and the directory hears of the change.
    await fixture.server.test.database.query("delete from maintenance_windows where name = 'once'")
    expect((await fixture.call("PUT", "/v1/windows/another", { ...window, at: soon(60 * minute) })).status).toBe(200)
    await until("it says so", async () => ((await waiting())?.text.includes("abort the run") ? true : undefined))
    expect((await waiting())?.text).toContain("no maintenance window of it opens again (once)")
    expect((await fixture.call("PUT", "/v1/windows/once", { ...window, at: soon(90 * minute) })).status).toBe(200)
    await until("it waits again", async () => ((await waiting())?.text.includes("closed until") ? true : undefined))
    expect((await fixture.call("POST", `${path}:abort`, {})).status).toBe(200)
    const ended = async () => ((await fixture.call("GET", path)).body["finishedAt"] === undefined ? undefined : true)
    await until("the run has ended", ended)
    expect((await fixture.call("DELETE", "/v1/windows/once")).status).toBe(200)
    expect((await fixture.call("DELETE", "/v1/windows/another")).status).toBe(200)
  })

  test("W8: a call that is refused leaves its code and its reason", async () => {
    await apply("failing", { every: "10m", call: { input: { ...runWork.input, targets: { query: "none=here" } } } })
    expect((await fixture.call("POST", "/v1/schedules/failing:fire", {})).body).toMatchObject({
      outcome: "pending",
      manual: true,
    })
    expect(await fixture.settledFiring("failing")).toMatchObject({
      outcome: "failed",
      code: "executions.no-targets",
    })
    await fixture.call("DELETE", "/v1/schedules/failing")
  })

  test("W8: fires no more once its author's key is revoked, until another applies it", async () => {
    const made = (await fixture.call("POST", "/v1/keys", { name: "author", roles: ["operator"] })).body
    const authorKey = String(made["key"])
    const wanted = { every: "10m", call: runWork }
    await until("the key is known", async () => {
      const { status } = await fixture.server.call(authorKey, "PUT", "/v1/schedules/authored", wanted)
      return status === 200 ? true : undefined
    })
    await fixture.call("POST", `/v1/keys/${String(made["id"])}:revoke`, {})
    await until("the key is refused", async () => {
      const { status } = await fixture.server.call(authorKey, "GET", "/v1/auth/whoami")
      return status === 401 ? true : undefined
    })
    await fixture.call("POST", "/v1/schedules/authored:fire", {})
    expect(await fixture.settledFiring("authored")).toMatchObject({
      outcome: "failed",
      code: "calendars.author-refused",
      reason: expect.stringContaining(String(made["id"])),
    })
    expect(await apply("authored", wanted)).toMatchObject({ changed: true })
    await fixture.call("POST", "/v1/schedules/authored:fire", {})
    expect(await fixture.settledFiring("authored")).toMatchObject({ outcome: "started" })
    await fixture.call("DELETE", "/v1/schedules/authored")
  })

  test("W8: calls with the roles of its author and no more", async () => {
    const made = (await fixture.call("POST", "/v1/keys", { name: "op", roles: ["operator"] })).body
    const call = { operation: "keys.revoke", input: { key: "key_1" } }
    const answer = await until("the key is known", async () => {
      const put = await fixture.server.call(String(made["key"]), "PUT", "/v1/schedules/sly", { every: "10m", call })
      return put.status === 401 ? undefined : put
    })
    expect([answer.status, answer.body.code]).toEqual([403, "identity.permission-denied"])
    // One who may do less than the schedule can't make it act.
    await apply("strong", { every: "10m", call })
    const fired = await fixture.server.call(String(made["key"]), "POST", "/v1/schedules/strong:fire", {})
    expect([fired.status, fired.body.code]).toEqual([403, "identity.permission-denied"])
    await fixture.call("DELETE", "/v1/schedules/strong")
  })

  test("W8: pauses, and forgets the instants of that time", async () => {
    await apply("paused", { every: "10m", catchUp: "all" })
    const paused = await fixture.call("POST", "/v1/schedules/paused:pause", { reason: "release freeze" })
    expect(paused.body).toMatchObject({ state: "paused", reason: "release freeze" })
    const refused = await fixture.call("POST", "/v1/schedules/paused:fire", {})
    expect(refused.body.code).toBe("calendars.schedule-paused")
    fixture.advance(25 * minute)
    // Applying it again leaves it paused.
    expect(await apply("paused", { every: "10m", catchUp: "all" })).toMatchObject({ state: "paused", changed: false })
    const resumed = (await fixture.call("POST", "/v1/schedules/paused:resume", {})).body
    expect(Date.parse(String(resumed["nextAt"]))).toBeGreaterThan(fixture.now())
    expect(await fixture.firings("paused")).toEqual([])
    await fixture.call("DELETE", "/v1/schedules/paused")
  })

  test.each([
    [{ cron: "0 3 * * *" }, "calendars.invalid-timing"],
    [{ cron: "0 3 * *", zone: "UTC" }, "request.invalid-input"],
    [{ cron: "0 3 * * 9", zone: "UTC" }, "calendars.invalid-timing"],
    [{ cron: "0 3 * * *", zone: "+02:00" }, "request.invalid-input"],
    [{ cron: "0 3 30 2 *", zone: "UTC" }, "calendars.invalid-timing"],
    [{ every: "5s" }, "calendars.invalid-timing"],
    [{ every: "5m", at: "2030-01-01T00:00:00.000Z" }, "calendars.invalid-timing"],
    [{ at: "2020-01-01T00:00:00.000Z" }, "calendars.invalid-timing"],
    [{ every: "5m", windows: ["nowhere"] }, "calendars.window-not-found"],
    [{ every: "5m", call: { operation: "nodes.list", input: {} } }, "calendars.call-refused"],
    [{ every: "5m", call: { operation: "keys.create", input: {} } }, "calendars.call-refused"],
    [{ every: "5m", call: { input: { workflow: "work" } } }, "calendars.call-refused"],
    [{ every: "5m", call: { operation: "nope.nothing", input: {} } }, "routing.unknown-operation"],
  ])("%j is refused", async (wanted, code) => {
    const answer = await fixture.call("PUT", "/v1/schedules/bad", { call: runWork, ...wanted })
    expect([answer.status >= 400, answer.body.code]).toEqual([true, code])
  })

  test("W8: the preview tells instants by the clock of the zone, with what its changes do", async () => {
    const query = "cron=30%202%20*%20*%20*&zone=Europe/Berlin&after=2026-03-28T00:00:00.000Z&count=2"
    const { body } = await fixture.call("GET", `/v1/schedules:preview?${query}`)
    expect(body).toEqual({
      zone: "Europe/Berlin",
      items: [
        { at: "2026-03-28T01:30:00.000Z", local: "2026-03-28T02:30:00+01:00" },
        {
          at: "2026-03-29T01:00:00.000Z",
          local: "2026-03-29T03:00:00+02:00",
          note: expect.stringContaining("put forward"),
        },
      ],
    })
  })
})

test("W8: two servers that look at once make one firing of each instant", async () => {
  await apply("shared", { every: "10m", overlap: "allow" })
  const { database } = fixture.server.test
  // The fixture's own server can't see it meanwhile: its clock is behind.
  const clock = { now: () => fixture.now() + 10 * minute }
  const context = { clock, random: systemRandom, logger: pino({ level: "silent" }) }
  const looks = Array.from({ length: 8 }, () => database.transaction((tx) => makeDueFirings(tx, context)))
  await Promise.all(looks)
  expect(await fixture.firings("shared")).toHaveLength(1)
  const [row] = await database.query("select next_at, pending_firing from schedules where name = 'shared'")
  expect(row).toMatchObject({ next_at: expect.any(Number) })
  await fixture.call("DELETE", "/v1/schedules/shared")
})

test("W8: schedules that a server can't understand, however many, keep no other from firing", async () => {
  const { database } = fixture.server.test
  for (let n = 0; n < 55; n++) await apply(`unreadable-${n}`, { every: "10m", enabled: false })
  await database.query("update schedules set every_ms = null, enabled = true where name like 'unreadable-%'")
  await apply("readable", { every: "10m", overlap: "allow" })
  fixture.advance(10 * minute)
  await until("the readable one fires", async () => ((await fixture.firings("readable")).length > 0 ? true : undefined))
  await database.query("delete from schedules where name like 'unreadable-%'")
})
