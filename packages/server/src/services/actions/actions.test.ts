import {
  actionsCancel,
  actionsGet,
  actionsList,
  actionsRedrive,
  actionsStorms,
} from "@signalbox/contracts/actions/operations"
import { whyExplain } from "@signalbox/contracts/audit/operations"
import { groupsGet, groupsPut, nodesGet, resourcesApply } from "@signalbox/contracts/fleet/operations"
import { keysCreate, keysRevoke } from "@signalbox/contracts/identity/operations"
import { serviceAccountsCreate, serviceAccountsUpdate } from "@signalbox/contracts/identity/people"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { untilTrue } from "../approvals/approvals.fixture.ts"
import { startActions, type ActionsFixture } from "./actions.fixture.ts"

let fixture: ActionsFixture
beforeAll(async () => {
  fixture = await startActions()
}, 120_000)
afterAll(() => fixture.stop())

const register = (name: string, tags: Record<string, string> = {}) =>
  fixture.call(fixture.admin, resourcesApply, { name, kind: "pool", tags })
const group = (name: string) => fixture.call(fixture.admin, groupsGet, { name })
const on = (name: string) => ({ on: [{ event: "resource.registered" }], when: `event.data.name.startsWith("${name}")` })
const makeGroup = {
  do: [{ operation: "groups.put", input: { name: "${{ event.data.name }}-group", query: "role=web" } }],
}

const byDepth = <Run extends { readonly depth: number }>(runs: readonly Run[]): Run[] =>
  runs.toSorted((a, b) => a.depth - b.depth)

describe("R6, R8: a rule's action is performed", () => {
  test("in the name of the rule's author, from a template, once, and on record with its cause", async () => {
    await fixture.rule("first", { ...on("first"), ...makeGroup })
    const { id: node } = await register("first-1")
    const [run] = await fixture.runs("first", { count: 1, states: ["succeeded"] })
    expect(await group("first-1-group")).toMatchObject({ query: "role=web" })
    expect(run).toMatchObject({
      ...{ state: "succeeded", rule: "first", operation: "groups.put", attempts: 1, depth: 1, number: 0 },
      trigger: { type: "resource.registered", subject: node },
      started: expect.stringMatching(/^grp_/) as string,
    })
    const shown = await fixture.call(fixture.admin, actionsGet, { action: run?.id ?? "" })
    expect(shown.input).toEqual({ name: "first-1-group", query: "role=web" })
    expect(shown.tries).toHaveLength(1)
    const calls = await fixture.server.test.database.query<{ principal: string; cause: string }>(
      "select principal, cause from audit where caused_by = $1",
      [run?.id],
    )
    expect(calls).toEqual([{ principal: "rule:first", cause: run?.cause }])
    expect(await fixture.eventsOf(run?.id ?? "")).toEqual(["action.started", "action.finished"])
  })

  test("the story of the event tells rule, action and what it started", async () => {
    await fixture.rule("told", { ...on("told"), ...makeGroup })
    await register("told-1")
    const [run] = await fixture.runs("told", { count: 1, states: ["succeeded"] })
    await untilTrue(async () => {
      const { entries } = await fixture.call(fixture.admin, whyExplain, { id: run?.id ?? "" })
      const texts = entries.map(({ text }) => text).join("\n")
      return [
        "resource told-1 registered",
        'the rule "told" acts on resource.registered: groups.put',
        "group told-1-group created",
        'the action groups.put of the rule "told" succeeded: grp_',
      ].every((part) => texts.includes(part))
    })
  })

  test("a call that needs something that isn't there is given up with its reason, and redriven when it is", async () => {
    await fixture.rule("later", {
      ...on("later"),
      do: [{ operation: "groups.put", input: { name: "later-group", nodes: ["later-missing"] } }],
    })
    await register("later-1")
    const [dead] = await fixture.runs("later", { count: 1, states: ["dead"] })
    expect(dead?.error?.code).toBe("fleet.node-not-found")
    await register("later-missing")
    const ofFirst = { action: dead?.id ?? "" }
    await fixture.call(fixture.admin, actionsRedrive, ofFirst)
    await untilTrue(async () => (await fixture.call(fixture.admin, actionsGet, ofFirst)).state === "succeeded")
    expect(await fixture.eventsOf(ofFirst.action)).toEqual([
      ...["action.started", "action.dead", "action.redriven", "action.started", "action.finished"],
    ])
    expect(await fixture.refusal(fixture.admin, actionsRedrive, ofFirst)).toBe("actions.wrong-state")
    expect(await fixture.refusal(fixture.admin, actionsCancel, ofFirst)).toBe("actions.wrong-state")
  })

  test("an input that can't be made of the event is given up at once", async () => {
    await fixture.rule("broken", {
      ...on("broken"),
      do: [{ operation: "groups.put", input: { name: "${{ event.data.nothing }}", query: "a=b" } }],
    })
    await register("broken-1")
    const [run] = await fixture.runs("broken", { count: 1, states: ["dead"] })
    expect(run?.error?.code).toBe("expressions.evaluation-failed")
  })

  test("the author's authority is that of the time: one who may not is refused, one who was revoked acts no more", async () => {
    const { admin } = fixture
    const { id: serviceAccount } = await fixture.call(admin, serviceAccountsCreate, {
      ...{ name: "demoted", displayName: "Demoted", roles: ["admin"] },
    })
    const { key } = await fixture.call(admin, keysCreate, { name: "demoted", roles: ["admin"], owner: serviceAccount })
    await fixture.rule("powerless", { ...on("powerless"), ...makeGroup }, key)
    await fixture.call(admin, serviceAccountsUpdate, { serviceAccount, roles: ["viewer"] })
    await register("powerless-1")
    const [refused] = await fixture.runs("powerless", { count: 1, states: ["dead"] })
    expect(refused?.error?.code).toBe("identity.permission-denied")

    const leaver = await fixture.key("leaves", ["admin"])
    await fixture.rule("orphan", { ...on("orphan"), ...makeGroup }, leaver.key)
    await fixture.call(fixture.admin, keysRevoke, { key: leaver.principal.slice(4) })
    await register("orphan-1")
    const [orphan] = await fixture.runs("orphan", { count: 1, states: ["dead"] })
    expect(orphan?.error?.code).toBe("actions.author-refused")
  })

  test("rules of one account see and touch nothing of another", async () => {
    await fixture.rule("mine", { ...on("shared"), ...makeGroup })
    const other = await fixture.key("other-admin", ["admin"], "other")
    await fixture.rule("theirs", { ...on("shared"), ...makeGroup }, other.key)
    await fixture.call(other.key, resourcesApply, { name: "shared-1", kind: "pool", tags: {} })
    await untilTrue(async () => (await fixture.call(other.key, actionsList, {})).items[0]?.state === "succeeded")
    expect((await fixture.call(fixture.admin, actionsList, { rule: "mine" })).items).toEqual([])
    const [theirs] = (await fixture.call(other.key, actionsList, {})).items
    expect(await fixture.refusal(fixture.admin, actionsGet, { action: theirs?.id ?? "" })).toBe("actions.not-found")
    expect(await fixture.refusal(fixture.admin, groupsGet, { name: "shared-1-group" })).toBe("fleet.group-not-found")
  })
})

describe("R7: the reply of an ordinary operation names the runs that it started", () => {
  test("by the ids that they have, in a header, and in no other reply", async () => {
    await fixture.rule("follows", {
      on: [{ operation: "resources.apply", phase: "after" }],
      do: [
        { operation: "groups.put", input: { name: "follows-1", query: "a=${{ input.kind }}" } },
        { operation: "groups.put", input: { name: "follows-2", query: "a=${{ output.name }}" } },
      ],
    })
    const answer = await fixture.server.call(fixture.admin, "PUT", "/v1/resources/announced", { kind: "queue" })
    const header = answer.headers.get("signalbox-started")
    expect(header?.split(", ")).toHaveLength(2)
    for (const [index, path] of (header?.split(", ") ?? []).entries()) {
      await untilTrue(async () => (await fixture.server.call(fixture.admin, "GET", path)).status === 200)
      const { body } = await fixture.server.call(fixture.admin, "GET", path)
      expect(body).toMatchObject({ rule: "follows", number: index, trigger: { type: "operation.done" } })
    }
    await fixture.removeRule("follows")
    const next = await fixture.server.call(fixture.admin, "PUT", "/v1/resources/unannounced", { kind: "queue" })
    expect(next.headers.get("signalbox-started")).toBeNull()
  })

  test("an input reckons with what the call gave", async () => {
    await fixture.rule("typed", {
      on: [{ operation: "windows.apply", phase: "after" }],
      do: [{ operation: "groups.put", input: { name: "typed", query: "a=v${{ output.version + 1 }}" } }],
    })
    const spec = { cron: "0 3 * * *", zone: "UTC", duration: "2h" }
    expect((await fixture.server.call(fixture.admin, "PUT", "/v1/windows/typed", spec)).status).toBe(200)
    const [run] = await fixture.runs("typed", { count: 1, states: ["succeeded", "dead"] })
    expect(run?.error).toBeUndefined()
    expect(await group("typed")).toMatchObject({ query: "a=v2" })
  })
})

describe("R13: the guard against loops", () => {
  test("two rules that set each other going stop at depth 8, and say so", async () => {
    await fixture.call(fixture.admin, groupsPut, { name: "loop", query: "n=0" })
    await fixture.rule("ping", {
      on: [{ event: "group.changed" }],
      when: 'event.data.name == "loop"',
      do: [{ operation: "resources.apply", input: { name: "loop", kind: "pool", tags: { n: "x${{ event.depth }}" } } }],
    })
    await fixture.rule("pong", {
      on: [{ event: "resource.registered" }, { event: "resource.changed" }],
      when: 'event.data.name == "loop"',
      do: [{ operation: "groups.put", input: { name: "loop", query: "n=x${{ event.depth }}" } }],
    })
    await fixture.call(fixture.admin, groupsPut, { name: "loop", query: "n=start" })
    const stopped = byDepth(await fixture.runs("ping", { count: 1, states: ["stopped"] }))
    const pongs = byDepth(await fixture.runs("pong", { count: 4, states: ["succeeded"] }))
    expect(stopped.map(({ state, depth }) => `${state} ${depth}`)).toEqual([
      ...["succeeded 1", "succeeded 3", "succeeded 5", "succeeded 7", "stopped 9"],
    ])
    expect(pongs.map(({ depth }) => depth)).toEqual([2, 4, 6, 8])
    expect(stopped.at(-1)?.error).toMatchObject({ code: "actions.loop-stopped" })
    expect(await fixture.eventsOf(stopped.at(-1)?.id ?? "")).toEqual(["action.stopped"])
    await fixture.removeRule("ping")
    await fixture.removeRule("pong")
  })

  test("a rule that sets itself going stops at its fifth depth of one story", async () => {
    await fixture.rule("self", {
      on: [{ event: "resource.registered" }],
      when: 'event.data.name.startsWith("self")',
      do: [{ operation: "resources.apply", input: { name: "${{ event.data.name }}x", kind: "pool" } }],
    })
    await register("self")
    const runs = byDepth(await fixture.runs("self", { count: 1, states: ["stopped"] }))
    expect(runs.map(({ state }) => state)).toEqual([...Array.from({ length: 4 }, () => "succeeded"), "stopped"])
    expect(await fixture.refusal(fixture.admin, nodesGet, { node: "selfxxxxx" })).toBe("fleet.node-not-found")
  })

  test("a rule that follows what becomes of runs is not followed for ever", async () => {
    await fixture.rule("watcher", {
      on: [{ event: "action.*" }],
      when: 'event.data.rule == "watched" || event.data.rule == "watcher"',
      do: [{ operation: "groups.put", input: { name: "watched", query: "a=${{ event.type }}" } }],
    })
    await fixture.rule("watched", { ...on("watched"), ...makeGroup })
    await register("watched-1")
    await fixture.runs("watcher", { count: 2, states: ["stopped"] })
    let before = -1
    await untilTrue(async () => {
      const { items } = await fixture.call(fixture.admin, actionsList, { rule: "watcher", limit: 1_000 })
      const isQuiet =
        items.length === before && items.every(({ state }) => state === "succeeded" || state === "stopped")
      before = items.length
      return isQuiet
    })
    await fixture.removeRule("watcher")
    expect(before).toBeLessThan(100)
  })
})

describe("R8: queued runs outlive what they came from", () => {
  test("a rule that was removed acts no more, one that was changed acts as it was when it fired", async () => {
    const late = { operation: "groups.put", input: { name: "changed", query: "version=one" } }
    await fixture.rule("changed", { ...on("changed"), limit: { onceAfter: "1m" }, do: [late] })
    const leaving = { ...on("changed"), limit: { onceAfter: "1m" }, do: [late] }
    await fixture.rule("removed", leaving)
    await fixture.rule("disabled", leaving)
    const waits = async (rule: string, groups: number) =>
      untilTrue(async () => (await fixture.call(fixture.admin, actionsStorms, { rule })).items[0]?.groups === groups)
    await register("changed-1")
    for (const rule of ["changed", "removed", "disabled"]) await waits(rule, 1)
    await fixture.rule("changed", {
      ...on("nothing"),
      do: [{ ...late, input: { ...late.input, query: "version=two" } }],
    })
    await fixture.removeRule("removed")
    await fixture.rule("disabled", { ...leaving, enabled: false })
    // Events have the database's time, which is ahead of the test's clock by how long the test has run.
    fixture.clock.advance(3_600_000)
    const [run] = await fixture.runs("changed", { count: 1, states: ["succeeded"] })
    expect(run?.operation).toBe("groups.put")
    expect(await group("changed")).toMatchObject({ query: "version=one" })
    for (const rule of ["removed", "disabled"]) {
      await waits(rule, 0)
      expect((await fixture.call(fixture.admin, actionsList, { rule })).items).toEqual([])
    }
  })

  test("a run that waits is cancelled when its turn comes and its rule was disabled or removed", async () => {
    const gone = {
      ...on("gone"),
      do: [{ operation: "groups.put", input: { name: "gone-group", nodes: ["gone-missing"] } }],
    }
    await fixture.rule("gone", gone)
    await register("gone-1")
    await register("gone-2")
    const [first, second] = await fixture.runs("gone", { count: 2, states: ["dead"] })
    const cancelled = async (action = "") => {
      await fixture.call(fixture.admin, actionsRedrive, { action })
      const show = () => fixture.call(fixture.admin, actionsGet, { action })
      await untilTrue(async () => (await show()).state === "cancelled")
      expect((await show()).error?.code).toBe("actions.rule-removed")
    }
    await fixture.rule("gone", { ...gone, enabled: false })
    await cancelled(first?.id)
    await fixture.removeRule("gone")
    await cancelled(second?.id)
  })
})
