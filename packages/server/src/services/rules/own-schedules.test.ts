/** Rules that come due by themselves: their schedules, on a whole server whose clock a test moves. */
import { schedulesFire, schedulesFirings, schedulesGet, schedulesList } from "@signalbox/contracts/calendars/schedules"
import {
  schedulesApply,
  schedulesPause,
  schedulesRemove,
  schedulesResume,
} from "@signalbox/contracts/calendars/schedules"
import type { CallInputOf, OutputOf } from "@signalbox/contracts/operation"
import { rulesExplain, rulesPut, rulesTest } from "@signalbox/contracts/rules/operations"
import { HeldPoint } from "@signalbox/testkit/held-point"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startActions, type ActionsFixture, type RuleInput } from "../actions/actions.fixture.ts"
import { untilTrue } from "../approvals/approvals.fixture.ts"

let fixture: ActionsFixture
beforeAll(async () => {
  fixture = await startActions()
}, 120_000)
afterAll(() => fixture.stop())

const minute = 60_000
const hour = 60 * minute
type Own = NonNullable<NonNullable<CallInputOf<typeof rulesPut>["on"]>[number]["schedule"]>
const scheduled = (name: string, ...schedules: Own[]): RuleInput => ({
  on: schedules.map((schedule) => ({ schedule })),
  do: [{ operation: "groups.put", input: { name: `${name}-group`, query: "from=${{ event.data.schedule }}" } }],
})
type Schedule = OutputOf<typeof schedulesGet>

const schedulesOf = async (rule: string): Promise<Schedule[]> =>
  (await fixture.call(fixture.admin, schedulesList, { limit: 100 })).items.filter((each) => each.rule === rule)
const firingsOf = async (name: string) => (await fixture.call(fixture.admin, schedulesFirings, { name })).items

/** The schedules of a rule, once they are as the rule has them. */
async function kept(rule: string, is: (schedules: readonly Schedule[]) => boolean): Promise<Schedule[]> {
  let found: Schedule[] = []
  await untilTrue(async () => is((found = await schedulesOf(rule))))
  return found
}
const one = (schedules: readonly Schedule[]): boolean => schedules.length === 1

describe("R5: a rule with a schedule of its own", () => {
  test("comes due by the clock of its zone, and acts in its author's name", async () => {
    await fixture.rule("nightly", scheduled("nightly", { cron: "0 3 * * *", zone: "Asia/Tokyo" }))
    const [schedule] = await kept("nightly", one)
    expect(schedule).toMatchObject({ name: "nightly@rules", rule: "nightly", state: "active", zone: "Asia/Tokyo" })
    expect(schedule?.nextAt).toMatch(/T18:00:00/)
    expect(schedule?.call).toBeUndefined()
    fixture.clock.set(Date.parse(schedule?.nextAt ?? ""))
    const [run] = await fixture.runs("nightly", { count: 1, states: ["succeeded"] })
    expect(run).toMatchObject({ author: schedule?.author, trigger: { type: "schedule.fired" }, depth: 1 })
    const [firing] = await firingsOf("nightly@rules")
    expect(firing).toMatchObject({ outcome: "started", dueAt: schedule?.nextAt, started: run?.trigger.id })
    expect(run?.cause).toBe(firing?.id)
    const verdict = await fixture.call(fixture.admin, rulesExplain, { name: "nightly", event: firing?.started ?? "" })
    expect(verdict).toMatchObject({ outcome: "matched", event: firing?.started })
  })

  test("is tried like any other", async () => {
    const rule = { name: "draft", ...scheduled("draft", { every: "1h" }, { every: "2h" }) }
    const tried = (schedule: string) =>
      fixture.call(fixture.admin, rulesTest, { rule, event: { type: "schedule.fired", data: { schedule } } })
    expect(await tried("draft@rules")).toMatchObject({ outcome: "matched", effects: [{ operation: "groups.put" }] })
    expect(await tried("draft@rules.2")).toMatchObject({ outcome: "matched" })
    expect(await tried("another@rules")).toMatchObject({ outcome: "not-triggered" })
  })

  test("waits for its own schedule alone", async () => {
    await fixture.rule("mine", scheduled("mine", { every: "1h" }))
    await fixture.rule("theirs", scheduled("theirs", { every: "100d" }))
    await kept("mine", one)
    await kept("theirs", one)
    fixture.clock.advance(hour)
    await fixture.runs("mine", { count: 1, states: ["succeeded"] })
    expect(await fixture.runs("theirs", { count: 0 })).toEqual([])
    await fixture.removeRule("mine")
    await fixture.removeRule("theirs")
  })
})

describe("R5: the schedule of a rule is the rule's", () => {
  test("it can be looked at and fired by hand, and changed with the rule alone", async () => {
    const name = "locked@rules"
    await fixture.rule("locked", { description: "as the rule says", ...scheduled("locked", { every: "100d" }) })
    await kept("locked", one)
    const { admin } = fixture
    expect(await fixture.call(admin, schedulesGet, { name })).toMatchObject({ description: "as the rule says" })
    for (const operation of [schedulesPause, schedulesResume, schedulesRemove])
      expect(await fixture.refusal(admin, operation, { name })).toBe("calendars.schedule-of-rule")
    const own = { name, every: "1h", call: { input: { workflow: "any", targets: { all: true } } } } as const
    expect(await fixture.refusal(admin, schedulesApply, own)).toBe("request.invalid-input")
    const firing = await fixture.call(admin, schedulesFire, { name })
    expect(firing).toMatchObject({ manual: true, outcome: "started" })
    const [run] = await fixture.runs("locked", { count: 1, states: ["succeeded"] })
    expect(run?.trigger.id).toBe(firing.started)
    await fixture.removeRule("locked")
    await kept("locked", (all) => all.length === 0)
  })

  test("it follows the rule's versions, rests while the rule is disabled, and goes with it", async () => {
    const rule = (more: Partial<RuleInput>, ...schedules: Own[]) =>
      fixture.rule("changing", { ...scheduled("changing", ...schedules), ...more })
    await rule({}, { every: "10h" })
    const [first] = await kept("changing", one)
    fixture.clock.advance(minute)
    await rule({ description: "described" }, { every: "10h" })
    const [described] = await kept("changing", ([each]) => each?.description === "described")
    expect(described).toMatchObject({ id: first?.id, nextAt: first?.nextAt })
    await rule({}, { every: "20h" }, { cron: "0 0 1 1 *", zone: "UTC", catchUp: "latest" })
    const two = await kept("changing", (all) => all.length === 2)
    expect(two.map(({ name, catchUp }) => [name, catchUp])).toEqual([
      ["changing@rules", "skip"],
      ["changing@rules.2", "latest"],
    ])
    expect(two[0]?.nextAt).not.toBe(first?.nextAt)
    await rule({ enabled: false }, { every: "20h" })
    const [paused] = await kept("changing", (all) => one(all) && all[0]?.state === "paused")
    expect(paused?.reason).toBe("the rule is disabled")
    fixture.clock.advance(50 * hour)
    await rule({ enabled: true }, { every: "20h" })
    const [resumed] = await kept("changing", ([each]) => each?.state === "active")
    expect(Date.parse(resumed?.nextAt ?? "")).toBeGreaterThan(fixture.clock.now())
    // Fired by hand it shows that nothing else had set the rule going until then.
    await fixture.call(fixture.admin, schedulesFire, { name: "changing@rules" })
    await fixture.runs("changing", { count: 1, states: ["succeeded"] })
    expect(await fixture.runs("changing", { count: 1 })).toHaveLength(1)
    await fixture.rule("changing", { ...scheduled("changing"), on: [{ event: "some.thing" }] })
    await kept("changing", (all) => all.length === 0)
  })

  test("changes at once leave it as the last of them has it", async () => {
    const put = (every: string) => fixture.rule("racing", scheduled("racing", { every }))
    await Promise.all(["11h", "12h", "13h", "14h"].map(put))
    await fixture.removeRule("racing")
    await put("15h")
    await fixture.removeRule("racing")
    await put("16h")
    await kept("racing", (all) => one(all) && all[0]?.every === "PT16H")
    const { database } = fixture.server.test
    const jobs = () =>
      database.query("select 1 from graphile_worker.jobs where task_identifier = 'event:rules.schedules'")
    await untilTrue(async () => (await jobs()).length === 0)
    expect((await schedulesOf("racing")).map(({ every }) => every)).toEqual(["PT16H"])
    await fixture.removeRule("racing")
    await kept("racing", (all) => all.length === 0)
  })
})

describe("R5: a rule's schedule that can't be", () => {
  const issuesOf = async (...schedules: Own[]) => {
    const { body } = await fixture.server.call(
      fixture.admin,
      "PUT",
      "/v1/rules/wrong",
      scheduled("wrong", ...schedules),
    )
    return { code: body.code, issues: JSON.stringify(body["issues"]) }
  }
  const utc = { zone: "UTC" }

  test.each([
    {
      what: "a minute that isn't",
      schedule: { cron: "61 * * * *", ...utc },
      code: "rules.invalid-rule",
      words: "on.0.schedule",
    },
    {
      what: "a day that never comes",
      schedule: { cron: "0 0 30 2 *", ...utc },
      code: "rules.invalid-rule",
      words: "no instant",
    },
    { what: "too often", schedule: { every: "1s" }, code: "rules.invalid-rule", words: "10 seconds at least" },
    { what: "no zone", schedule: { cron: "0 3 * * *" }, code: "request.invalid-input", words: "needs a `zone`" },
    {
      what: "two timings",
      schedule: { cron: "0 3 * * *", ...utc, every: "1h" },
      code: "request.invalid-input",
      words: "`cron` or `every`",
    },
    {
      what: "a zone that isn't",
      schedule: { cron: "0 3 * * *", zone: "Europe/Atlantis" },
      code: "request.invalid-input",
      words: "IANA",
    },
  ])("$what", async ({ schedule, code, words }) => {
    const refused = await issuesOf(schedule)
    expect(refused.code).toBe(code)
    expect(refused.issues).toContain(words)
  })

  test("more of them than a rule may have", async () => {
    expect((await issuesOf(...Array.from({ length: 5 }, () => ({ every: "1h" })))).issues).toContain(
      "at most 4 schedules",
    )
  })
})

/** The last: it ends the first server. */
describe("R5: an outage", () => {
  test("between a rule and its schedule leaves the rest to another server, which makes up what the rule says", async () => {
    const held = await HeldPoint.onTable(fixture.server.test.connection, "schedules")
    const catching: Own = { every: "1h", startWithin: "5h", catchUp: "latest" }
    const skipping: Own = { every: "1h" }
    await fixture.rule("outage", scheduled("outage", catching))
    await held.untilReached("into schedules")
    // The server goes while it tells what the rule has: its statement is never carried out.
    const halting = fixture.server.halt()
    await held.cutOff()
    await halting
    await held.release()
    const another = await fixture.server.another()
    const there = fixture.on(another)
    const list = async () => (await there.call(fixture.admin, schedulesList, { limit: 100 })).items
    await untilTrue(async () => (await list()).some(({ name }) => name === "outage@rules"))
    await there.call(fixture.admin, rulesPut, { name: "skips", ...scheduled("skips", skipping) })
    await untilTrue(async () => (await list()).some(({ name }) => name === "skips@rules"))
    fixture.clock.advance(4.5 * hour)
    const outcomes = async (name: string) =>
      (await there.call(fixture.admin, schedulesFirings, { name })).items
        .map(({ outcome, instantsCount }) => `${outcome} ${instantsCount}`)
        .toSorted()
    await untilTrue(async () => (await outcomes("outage@rules")).length === 2)
    expect(await outcomes("outage@rules")).toEqual(["missed 3", "started 1"])
    await untilTrue(async () => (await outcomes("skips@rules")).length === 1)
    expect(await outcomes("skips@rules")).toEqual(["missed 4"])
  })
})
