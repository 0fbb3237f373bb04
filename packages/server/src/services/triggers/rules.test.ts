/** What makes events meets the rules that wait for them: signals with their silences, hooks, triggers and schedules. */
import { afterAll, beforeAll, expect, test } from "vitest"
import { Meter, startTriggersFixture, type TriggersFixture } from "./triggers.fixture.ts"

let fixture: TriggersFixture
beforeAll(async () => {
  fixture = await startTriggersFixture()
}, 60_000)
afterAll(() => fixture.server.stop(), 60_000)

const waits = { timeout: 30_000, interval: 20 }

/** A rule whose action makes a group of this name. */
const making = (on: object, group: string) => ({
  on: [on],
  do: [{ operation: "groups.put", input: { name: group, query: "role=none" } }],
})

interface Run {
  readonly state: string
  readonly trigger: { readonly id: string; readonly type: string }
}

const runsOf = async (rule: string) =>
  (await fixture.get(`/v1/actions?rule=${rule}`))["items"] as unknown as readonly Run[]

const statesOf = async (rule: string) => (await runsOf(rule)).map(({ state }) => state)

const eventsOf = (signal: string) =>
  fixture.server.test.database.query<{ id: string; type: string; silenced: object | null }>(
    `select id, type, data -> 'silenced' as silenced from outbox
     where type in ('signal.raised', 'signal.cleared') and data ->> 'signal' = $1 order by subject_version`,
    [signal],
  )

async function explain(name: string, event: string) {
  const answer = await fixture.server.call(fixture.key, "POST", "/v1/operations/rules.explain", { name, event })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body
}

async function watched(name: string): Promise<Meter> {
  const meter = await Meter.connect(fixture.server, await fixture.machine(name, { role: name }))
  await fixture.put(`/v1/signals/${name}`, {
    ...{ metric: { disk: "/" }, raise: { above: 90 }, clear: { below: 80 }, nodes: `role=${name}` },
  })
  await meter.asked()
  return meter
}

test("R5: a figure of a node raises a signal, whose rule acts; clearing it is another trigger", async () => {
  const meter = await watched("filling")
  await fixture.put("/v1/rules/on-raised", making({ signal: "filling" }, "${{ event.data.node }}-is-full"))
  await fixture.put("/v1/rules/on-cleared", making({ signal: "filling", state: "cleared" }, "filling-is-well"))
  meter.say(95)
  await expect.poll(() => statesOf("on-raised"), waits).toEqual(["succeeded"])
  await fixture.get("/v1/groups/filling-is-full")
  expect(await runsOf("on-cleared")).toEqual([])
  meter.say(10)
  await expect.poll(() => statesOf("on-cleared"), waits).toEqual(["succeeded"])
  expect(await runsOf("on-raised")).toHaveLength(1)
  meter.session.end()
})

test("R16: a rule passes a silenced signal over, and acts on it once it is told again after the silence", async () => {
  const meter = await watched("hushed")
  await fixture.put("/v1/rules/on-hushed", making({ signal: "hushed" }, "hushed-is-full"))
  await fixture.put("/v1/rules/on-every", making({ event: "signal.raised" }, "some-is-full"))
  const until = new Date(Date.now() + 3_600_000).toISOString()
  await fixture.put("/v1/silences/move", { signals: ["hushed"], until, reason: "we move" })
  meter.say(95)
  await expect.poll(() => statesOf("on-every"), waits).toEqual(["succeeded"])
  const [quiet] = await eventsOf("hushed")
  expect(quiet?.silenced).toEqual({ by: "silence", name: "move" })
  const why = await explain("on-hushed", quiet?.id ?? "")
  expect(why).toMatchObject({ outcome: "not-triggered", effects: [] })
  expect(why["reason"]).toContain("is silenced")
  await fixture.remove("/v1/silences/move")
  await expect.poll(() => statesOf("on-hushed"), waits).toEqual(["succeeded"])
  const [, loud] = await eventsOf("hushed")
  expect(loud).toMatchObject({ type: "signal.raised", silenced: null })
  expect((await runsOf("on-hushed")).map(({ trigger }) => trigger.id)).toEqual([loud?.id])
  expect(await explain("on-hushed", loud?.id ?? "")).toMatchObject({ outcome: "matched" })
  meter.session.end()
})

test("R5: rules wait for a time by a schedule that fires their trigger", async () => {
  const schedule = { cron: "0 3 * * *", zone: "UTC" }
  await fixture.put("/v1/rules/nightly", making({ trigger: "nightly" }, "nightly-made"))
  await fixture.put("/v1/triggers/nightly", {})
  await fixture.put("/v1/triggers/weekly", {})
  const call = (name: string) => ({ operation: "triggers.fire", input: { name } })
  const fire = async (name: string) => {
    await fixture.put(`/v1/schedules/${name}`, { ...schedule, call: call(name) })
    expect((await fixture.server.call(fixture.key, "POST", `/v1/schedules/${name}:fire`, {})).status).toBe(200)
  }
  await fire("weekly")
  await expect.poll(() => fixture.events("trigger.fired"), waits).toMatchObject([{ data: { trigger: "weekly" } }])
  await fire("nightly")
  await expect.poll(() => statesOf("nightly"), waits).toEqual(["succeeded"])
  await fixture.get("/v1/groups/nightly-made")
  expect(await fixture.events("trigger.fired")).toHaveLength(2)
})

test("X4: why a node is as it is: its signals, raised ones first, and what rules did because of them", async () => {
  await fixture.put("/v1/rules/on-explained", making({ signal: "explained" }, "explained-is-full"))
  const meter = await watched("explained")
  const quiet = { metric: { load: true }, raise: { above: 1_000 }, nodes: "role=explained" }
  await fixture.put("/v1/signals/a-quiet-one", quiet)
  expect(await meter.asked()).toHaveLength(2)
  const nodeSignals = () => fixture.get("/v1/nodes/explained/signals")
  expect(await nodeSignals()).toMatchObject({
    items: [
      { signal: "a-quiet-one", state: "unknown", raise: { above: 1_000 } },
      { signal: "explained", state: "unknown", metric: { disk: "/" } },
    ],
  })
  meter.say(95)
  await expect.poll(() => statesOf("on-explained"), waits).toEqual(["succeeded"])
  const [run] = (await fixture.get("/v1/actions?rule=on-explained"))["items"] as unknown as ReadonlyArray<{
    readonly id: string
    readonly trigger: { readonly id: string }
  }>
  const ours = { id: run?.id, rule: "on-explained", operation: "groups.put", state: "succeeded" }
  const raised = {
    ...{ signal: "explained", state: "raised", value: 95, raise: { above: 90 }, latest: { value: 95 } },
    raised: {
      ...{ event: run?.trigger.id, value: 95 },
      runs: expect.arrayContaining([expect.objectContaining(ours)]) as unknown,
    },
  }
  for (const path of ["/v1/why/nodes/explained", "/v1/why/explained"])
    await expect
      .poll(async () => (await fixture.get(path))["signals"], waits)
      .toMatchObject([raised, { signal: "a-quiet-one", state: "clear" }])
  meter.fail("not available: /proc/loadavg can't be read")
  const problem = "not available: /proc/loadavg can't be read"
  await expect
    .poll(async () => (await fixture.get("/v1/why/nodes/explained"))["signals"], waits)
    .toMatchObject([{ signal: "explained", state: "raised", latest: { problem } }, { latest: { problem } }])
  expect((await fixture.server.call(fixture.key, "GET", "/v1/nodes/nobody/signals")).status).toBe(404)
})

test("R16: what a correlation has seen outlives the server that saw it", async () => {
  await fixture.put("/v1/rules/both", {
    correlate: {
      all: [
        { event: "trigger.fired", when: "event.data.trigger == 'left'" },
        { event: "trigger.fired", when: "event.data.trigger == 'right'" },
      ],
      within: "1h",
    },
    do: making({}, "both-made").do,
  })
  for (const name of ["left", "right"]) await fixture.put(`/v1/triggers/${name}`, {})
  expect((await fixture.server.call(fixture.key, "POST", "/v1/triggers/left:fire", {})).status).toBe(200)
  const groups = async () => (await fixture.get("/v1/actions:storms?rule=both"))["items"]
  await expect.poll(groups, waits).toMatchObject([{ groups: 1, fired: 0 }])
  await fixture.server.halt()
  const next = await fixture.server.another()
  expect((await next.call(fixture.key, "POST", "/v1/triggers/right:fire", {})).status).toBe(200)
  const states = async () => {
    const { body } = await next.call(fixture.key, "GET", "/v1/actions?rule=both")
    return (body["items"] as unknown as readonly Run[]).map(({ state }) => state)
  }
  await expect.poll(states, waits).toEqual(["succeeded"])
})
