/** Rules and actions on two servers over one database: what is in force, and what bounds rules, is the same on both. */
import { actionsList, actionsStorms } from "@signalbox/contracts/actions/operations"
import { resourcesApply } from "@signalbox/contracts/fleet/operations"
import { rulesPut, rulesRemove } from "@signalbox/contracts/rules/operations"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { ServerFixture } from "../../http/edge.fixture.ts"
import { untilTrue } from "../approvals/approvals.fixture.ts"
import { startActions, type ActionsFixture } from "./actions.fixture.ts"

let fixture: ActionsFixture
let another: ServerFixture
beforeAll(async () => {
  fixture = await startActions()
  another = await fixture.server.another()
}, 120_000)
afterAll(() => fixture.stop())

describe("R5: a rule that is put on one server", () => {
  test("is in force on the other, and so is its removal", async () => {
    const there = fixture.on(another)
    const rule = {
      name: "closed",
      on: [{ operation: "groups.put", phase: "before" as const }],
      when: 'input.name == "closed"',
      do: [{ deny: { reason: "closed" } }],
    }
    const codes = async () => {
      const put = (server: ServerFixture) =>
        server.call(fixture.admin, "PUT", "/v1/groups/closed", { query: "role=web" })
      return [(await put(fixture.server)).body.code, (await put(another)).body.code]
    }
    await fixture.call(fixture.admin, rulesPut, rule)
    // At once where it was put, in a moment there.
    expect((await codes())[0]).toBe("rules.denied")
    await untilTrue(async () => (await codes())[1] === "rules.denied")
    await there.call(fixture.admin, rulesRemove, { name: "closed" })
    expect((await codes())[1]).toBeUndefined()
    await untilTrue(async () => (await codes())[0] === undefined)
  })
})

/** Every server has the rules of an account all together, so one that was put later tells of those before. */
async function untilKnownThere(marker: string): Promise<void> {
  await fixture.rule(marker, {
    on: [{ operation: "groups.get", phase: "before" }],
    when: `input.name == "${marker}"`,
    do: [{ deny: { reason: "known" } }],
  })
  const asked = () => another.call(fixture.admin, "GET", `/v1/groups/${marker}`)
  await untilTrue(async () => (await asked()).body.code === "rules.denied")
}

describe("R13: two servers that handle the same rule's events", () => {
  test("spend its budget once", async () => {
    await fixture.rule("frugal", {
      on: [{ event: "frugal.happened" }],
      budget: { firings: 40, within: "1h" },
      do: [{ operation: "groups.put", input: { name: "${{ event.data.name }}", query: "a=b" } }],
    })
    await untilKnownThere("frugal-known")
    // Many transactions make many jobs, which both servers take.
    await Promise.all(
      Array.from({ length: 30 }, (_, batch) =>
        fixture.tell(
          "frugal.happened",
          Array.from({ length: 10 }, (_each, index) => `frugal-${batch}-${index}`),
        ),
      ),
    )
    const storm = async () => (await fixture.call(fixture.admin, actionsStorms, { rule: "frugal" })).items[0]
    await untilTrue(async () => {
      const seen = await storm()
      return seen !== undefined && seen.fired + seen.dropped >= 300
    })
    expect(await storm()).toMatchObject({ fired: 40, dropped: 260 })
    expect(await fixture.runs("frugal", { count: 40, states: ["succeeded"] })).toHaveLength(40)
  })

  test("stop two rules that set each other going, at the same depth as one server does", async () => {
    const touch = (name: string) => ({
      operation: "resources.apply",
      input: { name, kind: "pool", tags: { n: "x${{ event.depth }}" } },
    })
    const when = (name: string) => ({
      on: [{ event: "node.*" }, { event: "resource.*" }],
      when: `has(event.data.name) && event.data.name == "${name}"`,
    })
    await fixture.rule("ping", { ...when("table-a"), do: [touch("table-b")] })
    await fixture.rule("pong", { ...when("table-b"), do: [touch("table-a")] })
    await untilKnownThere("table-known")
    await fixture.call(fixture.admin, resourcesApply, { name: "table-a", kind: "pool" })
    await untilTrue(async () => {
      const { items } = await fixture.call(fixture.admin, actionsList, { state: "stopped" })
      return items.length > 0
    })
    const { items } = await fixture.call(fixture.admin, actionsList, { state: "stopped" })
    expect(items[0]?.error?.code).toBe("actions.loop-stopped")
    const { items: story } = await fixture.call(fixture.admin, actionsList, {
      cause: items[0]?.cause ?? "",
      limit: 100,
    })
    expect(Math.max(...story.map(({ depth }) => depth))).toBeLessThanOrEqual(9)
    expect(story.filter(({ depth, state }) => depth > 8 && state !== "stopped")).toEqual([])
  })
})
