import { actionsGet, actionsList, actionsStorms } from "@signalbox/contracts/actions/operations"
import { approvalRequestsApprove, approvalRequestsDeny } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { resourcesApply } from "@signalbox/contracts/fleet/operations"
import { rulesGet } from "@signalbox/contracts/rules/operations"
import { newId } from "@signalbox/kernel/id"
import { createHash } from "node:crypto"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { actionRunId } from "../../router/action-run-id.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { systemClock, systemRandom } from "../../system.ts"
import { untilTrue } from "../approvals/approvals.fixture.ts"
import { startActions, type ActionsFixture } from "./actions.fixture.ts"

let fixture: ActionsFixture
beforeAll(async () => {
  fixture = await startActions()
}, 120_000)
afterAll(() => fixture.stop())

const note = {
  do: [{ operation: "groups.put", input: { name: "${{ event.data.name }}", query: "a=${{ event.type }}" } }],
}
/** Further than the database's clock, which events have, can be ahead of the test's. */
const longAfter = () => fixture.clock.advance(3_600_000)

const tell: ActionsFixture["tell"] = (...event) => fixture.tell(...event)

const stormOf = async (rule: string) => (await fixture.call(fixture.admin, actionsStorms, { rule })).items[0]
const countOf = async (rule: string) =>
  (await fixture.call(fixture.admin, actionsList, { rule, limit: 1_000 })).items.length
/** Events are decided in the order of their commits, but for those of other jobs: the last of all says when. */
const decided = (rule: string, count: number) =>
  untilTrue(async () => {
    const storm = await stormOf(rule)
    return storm !== undefined && storm.fired + storm.suppressed + storm.dropped >= count
  })

/** By hand a whole storm: `STORM_EVENTS=100000`. */
const stormEvents = Number(process.env["STORM_EVENTS"] ?? 5_000)

/** The most that the heap had, in MB, before and until the call of what is given. */
function watchMemory(): () => { readonly heapBefore: number; readonly heapPeak: number } {
  const megabytes = () => Math.round(process.memoryUsage().heapUsed / 1_000_000)
  const heapBefore = megabytes()
  let heapPeak = heapBefore
  const timer = setInterval(() => (heapPeak = Math.max(heapPeak, megabytes())), 50)
  return () => {
    clearInterval(timer)
    return { heapBefore, heapPeak }
  }
}

describe("R13: a storm of events", () => {
  test(
    "lets a rule fire once within its time for each group, and takes nothing from other rules",
    async () => {
      await fixture.rule("once", {
        on: [{ event: "storm.happened" }],
        limit: { onceWithin: "1d", by: ["event.data.name"] },
        budget: { firings: 1_000, within: "1h" },
        ...note,
      })
      await fixture.rule("other", { on: [{ event: "storm.happened" }], when: 'event.data.name == "storm-7"', ...note })
      await fixture.rule("rare", { on: [{ event: "storm.happened" }], when: 'event.data.name == "calm"', ...note })
      const watched = watchMemory()
      const beganAt = performance.now()
      for (let told = 0; told < stormEvents; told += 1_000)
        await tell(
          "storm.happened",
          Array.from({ length: 1_000 }, (_, index) => (index === 500 && told === 0 ? "calm" : `storm-${index % 10}`)),
        )
      for (let count = 1_000; count <= stormEvents; count += 1_000) await decided("once", count)
      const seconds = (performance.now() - beganAt) / 1_000
      expect(await stormOf("once")).toMatchObject({ fired: 11, suppressed: stormEvents - 11, dropped: 0, groups: 11 })
      expect(await countOf("once")).toBe(11)
      // Its own budget of a hundred firings bounds it; none was lost.
      await decided("other", stormEvents / 10)
      expect(await stormOf("other")).toMatchObject({ fired: 100, dropped: stormEvents / 10 - 100 })
      expect(await countOf("other")).toBe(100)
      const [rare] = await fixture.runs("rare", { count: 1, states: ["succeeded"] })
      expect(rare?.trigger.subject).toBe("calm")
      const peak = watched()
      if (process.env["STORM_EVENTS"] !== undefined)
        process.stdout.write(`${JSON.stringify({ stormEvents, seconds, ...peak })}\n`)
    },
    60_000 + stormEvents * 20,
  )

  test("a condition without a result is counted once for each event, though other rules take that too", async () => {
    await fixture.rule("faulty", { on: [{ event: "fault.happened" }], when: "event.data.count > 1", ...note })
    await fixture.rule("sound", { on: [{ event: "fault.happened" }], ...note })
    await tell("fault.happened", ["fault-1", "fault-2", "fault-3"])
    await fixture.runs("sound", { count: 3, states: ["succeeded"] })
    const faults = async () => (await fixture.call(fixture.admin, rulesGet, { name: "faulty" })).lastFault?.count ?? 0
    await untilTrue(async () => (await faults()) >= 3)
    expect(await faults()).toBe(3)
  })

  test("an event that comes again is not counted again, and starts nothing", async () => {
    await fixture.rule("again", {
      on: [{ event: "again.happened" }],
      limit: { threshold: { count: 3, within: "1h" } },
      ...note,
    })
    await fixture.rule("plain", { on: [{ event: "again.happened" }], ...note })
    await tell("again.happened", ["again-1", "again-2"])
    await fixture.runs("plain", { count: 2, states: ["succeeded"] })
    const { database } = fixture.server.test
    const seen = () => database.query("select event_id from action_inbox where rule_id = 'main/again'")
    await untilTrue(async () => (await seen()).length === 2)
    // The reader of events begins anew, and meets everything once more.
    await database.query("delete from graphile_worker._private_jobs")
    await database.query("update consumer set cursor = null where name = 'actions.events'")
    await tell("again.happened", ["again-3"])
    const [run] = await fixture.runs("again", { count: 1, states: ["succeeded"] })
    expect(run?.trigger.subject).toBe("again-3")
    await fixture.runs("plain", { count: 3, states: ["succeeded"] })
    expect([await countOf("again"), await countOf("plain")]).toEqual([1, 3])
  })
})

describe("R16: several events together", () => {
  test("all of them within the time, by group, whichever comes first", async () => {
    await fixture.rule("both", {
      correlate: {
        all: [{ event: "left.happened" }, { event: "right.happened" }],
        within: "1h",
        by: ["event.data.name"],
      },
      ...note,
    })
    await tell("left.happened", ["both-1", "both-2"])
    await tell("right.happened", ["both-2", "both-3"])
    const [run] = await fixture.runs("both", { count: 1, states: ["succeeded"] })
    expect(run?.trigger.subject).toBe("both-2")
    await untilTrue(async () => (await stormOf("both"))?.groups === 2)
    expect(await countOf("both")).toBe(1)
  })

  test("none of them within the time: a silence fires, an answer does not", async () => {
    await fixture.rule("silence", {
      correlate: {
        ...{ after: [{ event: "asked.happened" }], none: [{ event: "answered.happened" }] },
        ...{ within: "10m", by: ["event.data.name"] },
      },
      ...note,
    })
    await tell("asked.happened", ["silence-1", "silence-2"])
    await tell("answered.happened", ["silence-2"])
    const { database } = fixture.server.test
    const states = async () => {
      const rows = await database.query<{ kind: string }>(
        "select state->>'kind' as kind from action_groups where rule_id = 'main/silence' order by 1",
      )
      return rows.map(({ kind }) => kind)
    }
    await untilTrue(async () => (await states()).join() === "awaiting,satisfied")
    longAfter()
    const [run] = await fixture.runs("silence", { count: 1, states: ["succeeded"] })
    expect(run?.trigger).toMatchObject({ type: "asked.happened", subject: "silence-1" })
    expect(await countOf("silence")).toBe(1)
  })
})

describe("R8: a run that can't be carried out at once", () => {
  test("is tried again under the same key while its call is in flight elsewhere, and carried out once", async () => {
    await fixture.rule("busy", { on: [{ event: "busy.happened" }], ...note })
    const { database } = fixture.server.test
    const id = newId("event", systemClock, systemRandom)
    const run = actionRunId(id, { rule: "busy", number: 0 })
    const key = createHash("sha256").update(`main\0rule:busy\0${run}`).digest("hex")
    await database.transaction(async (tx) => {
      await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [key])
      const about = {
        account: "main",
        aggregateId: "busy-1",
        type: "busy.happened",
        subject: "busy-1",
        subjectVersion: 1,
      }
      const event = {
        ...about,
        id,
        cause: id,
        causedBy: id,
        depth: 0,
        principal: "system:test",
        data: { name: "busy-1" },
      }
      await database.transaction((other) => appendEvents(other, [event]))
      const [failed] = await fixture.runs("busy", { count: 1, states: ["failed"] })
      expect(failed?.error?.code).toBe("request.idempotency-in-flight")
    })
    longAfter()
    const [done] = await fixture.runs("busy", { count: 1, states: ["succeeded"] })
    expect(done).toMatchObject({ id: run, attempts: 2 })
    expect(await database.query("select 1 from audit where caused_by = $1", [run])).toHaveLength(1)
    expect(await database.query("select 1 from idempotency where id = $1", [key])).toHaveLength(1)
  })

  test("a run whose server died after its call is known to have been carried out", async () => {
    await fixture.rule("known", { on: [{ event: "known.happened" }], ...note })
    await tell("known.happened", ["known-1"])
    const [first] = await fixture.runs("known", { count: 1, states: ["succeeded"] })
    const { database } = fixture.server.test
    await database.query(
      `update action_runs set state = 'running', finished_at = null, next_at = created_at, started = null,
         claimed_until = now() - interval '1 second' where id = $1`,
      [first?.id],
    )
    await database.query("delete from idempotency")
    const [again] = await fixture.runs("known", { count: 1, states: ["succeeded"] })
    expect(again).toMatchObject({ attempts: 2, started: first?.started })
    expect(await database.query("select 1 from audit where caused_by = $1", [first?.id])).toHaveLength(1)
  })

  test("waits for the approval that its call needs, and ends with it", async () => {
    const { admin } = fixture
    const member = await fixture.member("approver-of-actions", ["approver"])
    const members = [{ principal: member.principal }]
    await fixture.call(admin, approvalGroupsApply, { name: "leads", members })
    const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
    await fixture.call(admin, templatesApply, { name: "one", levels })
    const selector = { operation: resourcesApply.name }
    await fixture.call(admin, associationsApply, { name: "resources", template: "one", selector })
    await fixture.rule("held", {
      on: [{ event: "held.happened" }],
      do: [{ operation: "resources.apply", input: { name: "${{ event.data.name }}", kind: "pool" } }],
    })
    await tell("held.happened", ["held-yes", "held-no"])
    const runs = await fixture.runs("held", { count: 2, states: ["held"] })
    for (const run of runs) {
      const request = run.requestUrl?.split("/").at(-1) ?? ""
      const { digest } = await fixture.call(member.key, approvalRequestsGet, { request })
      const answer = run.trigger.subject === "held-yes" ? approvalRequestsApprove : approvalRequestsDeny
      await fixture.call(member.key, answer, { request, digest })
    }
    const ends = async () => await Promise.all(runs.map(({ id }) => fixture.call(admin, actionsGet, { action: id })))
    await untilTrue(async () => (await ends()).every(({ state }) => state !== "held"))
    const byName = new Map((await ends()).map((run) => [run.trigger.subject, run]))
    expect(byName.get("held-yes")).toMatchObject({
      state: "succeeded",
      started: expect.stringMatching(/^nod_/) as string,
    })
    expect(byName.get("held-no")).toMatchObject({ state: "cancelled", error: { code: "actions.not-approved" } })
  })
})

/** The last: it ends the first server. */
describe("R13: a quiet that outlives its server", () => {
  test("once after quiet fires as the last event, on another server after this one has gone", async () => {
    await fixture.rule("quiet", { on: [{ event: "quiet.happened" }], limit: { onceAfter: "1m" }, ...note })
    for (const name of ["quiet-1", "quiet-2", "quiet-3"]) await tell("quiet.happened", [name])
    const { database } = fixture.server.test
    const waits = () =>
      database.query<{ name: string }>(
        "select event->'data'->>'name' as name from action_groups where rule_id = 'main/quiet'",
      )
    await untilTrue(async () => (await waits())[0]?.name === "quiet-3")
    expect(await countOf("quiet")).toBe(0)
    const another = await fixture.server.another()
    await fixture.server.halt()
    longAfter()
    const list = async () => (await fixture.on(another).call(fixture.admin, actionsList, { rule: "quiet" })).items
    await untilTrue(async () => (await list())[0]?.state === "succeeded")
    expect((await list()).map(({ trigger }) => trigger.subject)).toEqual(["quiet-3"])
  })
})
