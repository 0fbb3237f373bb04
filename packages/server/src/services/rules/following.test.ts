/** Rules after operations: what is written with a call that they follow, and where nothing is. */
import { rulesExplain, rulesPut, rulesReplay, rulesTest } from "@signalbox/contracts/rules/operations"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startApprovals, type ApprovalsFixture } from "../approvals/approvals.fixture.ts"

let fixture: ApprovalsFixture
beforeAll(async () => {
  fixture = await startApprovals()
}, 60_000)
afterAll(() => fixture.stop())

interface Done {
  readonly id: string
  readonly data: { readonly operation: string; readonly firings: ReadonlyArray<{ readonly rule: string }> }
}

const told = (): Promise<Done[]> =>
  fixture.server.test.database.query<Done>(
    "select id, data from outbox where type = 'operation.done' order by data ->> 'operation'",
  )

const follow = (operation: string) => ({
  on: [{ operation, phase: "after" as const }],
  do: [{ operation: "windows.remove", input: { name: operation === "windows.list" ? "none" : "${{ input.name }}" } }],
})

const spec = { cron: "0 3 * * *", zone: "UTC", duration: "2h" }

test("R7, R14: one event for a call that rules follow, with what the reply told of; none for others", async () => {
  const { server, admin } = fixture
  await fixture.call(admin, rulesPut, {
    name: "after-window",
    ...follow("windows.apply"),
    when: "output.version == 1 && input.name == 'followed'",
  })
  await fixture.call(admin, rulesPut, { name: "after-list", ...follow("windows.list") })
  expect((await server.call(admin, "PUT", "/v1/windows/followed", spec)).status).toBe(200)
  expect((await server.call(admin, "PUT", "/v1/windows/other", spec)).status).toBe(200)
  expect((await server.call(admin, "GET", "/v1/windows")).status).toBe(200)
  const events = await told()
  expect(events.map(({ data }) => `${data.operation} ${data.firings.map(({ rule }) => rule).join()}`)).toEqual([
    "windows.apply after-window",
    "windows.list after-list",
  ])
  const event = events[0]?.id ?? ""
  const matched = await fixture.call(admin, rulesExplain, { name: "after-window", event })
  expect(matched).toMatchObject({
    outcome: "matched",
    effects: [{ operation: "windows.remove", input: { name: "followed" } }],
  })
  const elsewhere = await fixture.call(admin, rulesExplain, { name: "after-list", event })
  expect(elsewhere).toMatchObject({ outcome: "not-triggered", effects: [] })
  const draft = { name: "draft", ...follow("windows.apply"), when: "input.name == 'nobody' || output.version > 7" }
  const denied = await fixture.call(admin, rulesTest, { rule: draft, eventId: event })
  expect(denied.outcome).toBe("not-matched")
  expect(denied.conditions.length).toBeGreaterThan(2)
  // A page of events ends before those whose place isn't settled yet.
  const replayed = () => fixture.call(admin, rulesReplay, { rule: { ...draft, when: "input.name == 'followed'" } })
  await expect.poll(replayed, { timeout: 60_000 }).toMatchObject({ matched: 1, failed: 0, items: [{ event }] })
})
