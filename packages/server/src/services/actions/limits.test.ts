/** What bounds the runs of rules' actions, what is told where a bound is met, and what survives the loss of PostgreSQL. */
import { actionLimits, actionsList, actionsPerform, actionsStorms } from "@signalbox/contracts/actions/operations"
import { whyExplain } from "@signalbox/contracts/audit/operations"
import { rulesGet } from "@signalbox/contracts/rules/operations"
import { newId } from "@signalbox/kernel/id"
import { stormGroupsMax } from "@signalbox/rules/storm-control"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
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
const stormOf = async (rule: string) => (await fixture.call(fixture.admin, actionsStorms, { rule })).items[0]
const query = <Row>(text: string, values: unknown[] = []) =>
  fixture.server.test.database.query<Row & Record<string, unknown>>(text, values)
const droppedEvents = (rule: string) =>
  query<{ subject: string; data: object }>(
    "select subject, data from outbox where type = 'action.dropped' and data ->> 'rule' = $1 order by time",
    [rule],
  )
const decided = (rule: string, count: number) =>
  untilTrue(async () => {
    const storm = await stormOf(rule)
    return storm !== undefined && storm.fired + storm.suppressed + storm.dropped >= count
  })

describe("R13: what a rule drops is told", () => {
  test("over its budget: one event a window, in the story of the first event, and by the rule itself", async () => {
    const budget = { firings: 2, within: "1h" }
    await fixture.rule("spent", { on: [{ event: "spent.happened" }], budget, ...note })
    expect((await fixture.call(fixture.admin, rulesGet, { name: "spent" })).activity).toBeUndefined()
    await fixture.tell("spent.happened", ["spent-1", "spent-2", "spent-3", "spent-4", "spent-5"])
    await decided("spent", 5)
    const [first, ...more] = await droppedEvents("spent")
    expect(more).toEqual([])
    expect(first?.data).toMatchObject({ rule: "spent", version: 1, dropped: 3, limit: "budget" })
    // By the id of the run that it would have been, which a reply may have named.
    const { entries } = await fixture.call(fixture.admin, whyExplain, { id: first?.subject ?? "" })
    expect(entries.map(({ text }) => text).join("\n")).toContain(
      'the rule "spent" did not act 3 times: over its budget',
    )
    await fixture.tell("spent.happened", ["spent-6"])
    await decided("spent", 6)
    expect(await droppedEvents("spent")).toHaveLength(1)
    expect((await fixture.call(fixture.admin, rulesGet, { name: "spent" })).activity).toMatchObject({
      ...{ fired: 2, dropped: 4, lastDroppedReason: "budget" },
    })
    // In the next window both firings of the budget are there again, and what was not told yet is told.
    fixture.clock.advance(2 * 3_600_000)
    await fixture.tell("spent.happened", ["spent-7", "spent-8", "spent-9"])
    await decided("spent", 9)
    expect((await droppedEvents("spent")).map(({ data }) => data)).toMatchObject([{ dropped: 3 }, { dropped: 2 }])
  })

  test("over what may be queued: the runs that are there go on, and another rule has its own room", async () => {
    await fixture.rule("full", { on: [{ event: "full.happened" }], ...note })
    await fixture.rule("roomy", { on: [{ event: "full.happened" }], ...note })
    // As many but one wait for their next try.
    await query(
      `insert into action_runs (id, account, state, rule, rule_version, number, operation, targets, event, author,
         is_own_rule, cause, caused_by, depth, created_at, next_at)
       select 'act_full' || n, 'main', 'failed', 'full', 1, 0, 'groups.put', '{}', '{"id":"e","type":"t","subject":"s"}',
         'nobody', true, 'e', 'e', 1, now(), now() + interval '10 years'
       from generate_series(2, $1::int) as n`,
      [actionLimits.queuedPerRuleMax],
    )
    await fixture.tell("full.happened", ["full-1", "full-2", "full-3"])
    await decided("full", 3)
    expect(await stormOf("full")).toMatchObject({ fired: 1, dropped: 2, lastDroppedReason: "queue" })
    expect((await droppedEvents("full")).map(({ data }) => data)).toMatchObject([{ dropped: 2, limit: "queue" }])
    await fixture.runs("roomy", { count: 3, states: ["succeeded"] })
    await untilTrue(async () => {
      const { items } = await fixture.call(fixture.admin, actionsList, { rule: "full", state: "succeeded" })
      return items.length === 1
    })
    await query("delete from action_runs where id like 'act_full%'")
  })

  test("groups over what a rule may have: those that were quiet for longest are forgotten, and counted", async () => {
    await fixture.rule("crowded", {
      on: [{ event: "crowd.happened" }],
      limit: { onceWithin: "1d", by: ["event.data.name"] },
      ...note,
    })
    await fixture.tell("crowd.happened", ["crowd-first"])
    await decided("crowded", 1)
    await query(
      `insert into action_groups (rule_id, key, account, rule_version, state, expires_at, touched_at)
       select rule_id, 'other' || n, account, rule_version, state, expires_at, touched_at + interval '1 second'
       from action_groups, generate_series(2, $1::int) as n where rule_id = 'main/crowded'`,
      [stormGroupsMax],
    )
    await query("update action_rules set groups_count = $1 where id = 'main/crowded'", [stormGroupsMax])
    fixture.clock.advance(10_000)
    await fixture.tell("crowd.happened", ["crowd-second"])
    await decided("crowded", 2)
    expect(await stormOf("crowded")).toMatchObject({ fired: 2, groups: stormGroupsMax, evicted: 1 })
    // The first is known no more, so it counts anew; the second still is.
    await fixture.tell("crowd.happened", ["crowd-first", "crowd-second"])
    await decided("crowded", 4)
    expect(await stormOf("crowded")).toMatchObject({ fired: 3, suppressed: 1, evicted: 2 })
  })
})

describe("R11, D19: what another rules service asks for", () => {
  const asked = (id: string, rule = "foreign") => ({
    ...{ rule, operation: "groups.put", author: "", input: { name: id.toLowerCase(), query: "a=b" } },
    trigger: { id, type: "foreign.happened", subject: "one" },
  })
  const perform = (input: ReturnType<typeof asked>) =>
    fixture.server.composition.router.call(actionsPerform, input, {
      ...{ account: "main", service: "router", roles: ["performer"], cause: input.trigger.id, depth: 0 },
    })

  test("is queued once, however often it is asked for, and never by people", async () => {
    const { principal } = await fixture.member("foreign-author", ["admin"])
    const id = newId("event", systemClock, systemRandom)
    const message = { ...asked(id), author: principal }
    expect(await fixture.refusal(fixture.admin, actionsPerform, message)).toBe("identity.permission-denied")
    const [first, second] = [await perform(message), await perform(message)]
    expect(second.id).toBe(first.id)
    await fixture.runs("foreign", { count: 1, states: ["succeeded"] })
    expect((await perform(message)).state).toBe("succeeded")
    expect(await fixture.runs("foreign", { count: 1 })).toHaveLength(1)
    expect(await query("select 1 from audit where caused_by = $1", [first.id])).toHaveLength(1)
  })

  test("is refused where too much waits", async () => {
    await query(
      `insert into action_runs (id, account, state, rule, rule_version, number, operation, targets, event, author,
         is_own_rule, cause, caused_by, depth, created_at, next_at)
       select 'act_many' || n, 'main', 'failed', 'many', 1, 0, 'groups.put', '{}', '{"id":"e","type":"t","subject":"s"}',
         'nobody', false, 'e', 'e', 1, now(), now() + interval '10 years'
       from generate_series(1, $1::int) as n`,
      [actionLimits.queuedPerRuleMax],
    )
    const message = { ...asked(newId("event", systemClock, systemRandom), "many"), author: "key:x" }
    await expect(perform(message)).rejects.toMatchObject({ code: "actions.queue-full" })
    await query("delete from action_runs where id like 'act_many%'")
  })
})

describe("R7: a call that is repeated under its key", () => {
  test("is answered with the runs that the first one started", async () => {
    await fixture.rule("repeated", {
      on: [{ operation: "resources.apply", phase: "after" }],
      do: [{ operation: "groups.put", input: { name: "repeated", query: "a=b" } }],
    })
    const put = (key: string) =>
      fetch(`${fixture.server.url}/v1/resources/repeated`, {
        method: "PUT",
        headers: {
          ...{ authorization: `Bearer ${fixture.admin}`, "content-type": "application/json", "idempotency-key": key },
        },
        body: JSON.stringify({ kind: "queue" }),
      })
    const started = (answer: Response) => answer.headers.get("signalbox-started")
    const first = started(await put("key-of-one"))
    expect(first).toMatch(/^\/v1\/actions\/act_/)
    expect(started(await put("key-of-one"))).toBe(first)
    // What rules would say by now changes nothing.
    await fixture.removeRule("repeated")
    expect(started(await put("key-of-one"))).toBe(first)
    expect(started(await put("key-of-another"))).toBeNull()
  })
})

describe("R8: PostgreSQL goes while runs wait and are under way", () => {
  test("all of them run once it is back, each once", async () => {
    const count = 300
    const names = Array.from({ length: count }, (_, index) => `lost-${index}`)
    await fixture.rule("lost", {
      on: [{ event: "lost.happened" }],
      budget: { firings: count, within: "1h" },
      ...note,
    })
    await fixture.tell("lost.happened", names)
    const states = () =>
      query<{ state: string; count: number }>(
        "select state, count(*)::int as count from action_runs where rule = 'lost' group by state",
      ).catch(() => [])
    const countOf = async (state: string) => (await states()).find((row) => row.state === state)?.count ?? 0
    for (let done = 0; done < 3; done += 1) {
      await untilTrue(async () => (await countOf("succeeded")) > done * 20)
      // What a restart does to every connection, those of the job queue and of notices among them.
      await query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
      ).catch(() => [])
    }
    // Calls that were cut off: their pauses are over, and claims of ten seconds ago.
    await untilTrue(async () => {
      await query("update action_runs set next_at = now() where rule = 'lost' and state = 'failed'").catch(() => [])
      await query(
        `update action_runs set claimed_until = now()
         where rule = 'lost' and state = 'running' and claimed_until < now() + interval '50 seconds'`,
      ).catch(() => [])
      return (await countOf("succeeded")) === count
    })
    expect(await states()).toEqual([{ state: "succeeded", count }])
    const calls = await query<{ count: number }>(
      `select count(*)::int as count from audit a join action_runs r on r.id = a.caused_by
       where r.rule = 'lost' and a.outcome = 'done' group by a.caused_by having count(*) <> 1`,
    )
    expect(calls).toEqual([])
  })
})
