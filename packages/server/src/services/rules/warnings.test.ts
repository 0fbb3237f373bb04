/** What a rule names and isn't there is told, and is no reason to refuse it. */
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { templatesApply, templatesRemove } from "@signalbox/contracts/approvals/templates"
import { servicesPut } from "@signalbox/contracts/gateway/operations"
import { rulesGet, rulesList, rulesPut, rulesTest } from "@signalbox/contracts/rules/operations"
import { hooksPut } from "@signalbox/contracts/triggers/hooks"
import { triggersPut } from "@signalbox/contracts/triggers/named-triggers"
import { signalsPut, signalsRemove } from "@signalbox/contracts/triggers/signals"
import { workflowsApply } from "@signalbox/contracts/workflows/operations"
import { afterAll, beforeAll, expect, test } from "vitest"
import { makeNameFinders } from "../../composition/name-finders.ts"
import type { RoutingMap } from "../../router/routing-map.ts"
import { startApprovals, type ApprovalsFixture } from "../approvals/approvals.fixture.ts"
import { documentOfThings } from "../gateway/gateway.fixture.ts"
import type { RoutingTable } from "../routing/service.ts"
import { findWarnings } from "./find-warnings.ts"
import { namedKinds, referencesOf } from "./rule-warnings.ts"

let fixture: ApprovalsFixture
let admin: string

beforeAll(async () => {
  fixture = await startApprovals()
  admin = fixture.admin
  const ada = await fixture.member("ada", ["approver"])
  await fixture.call(admin, approvalGroupsApply, { name: "leads", members: [{ principal: ada.principal }] })
  const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
  await fixture.call(admin, templatesApply, { name: "two-eyes", levels })
}, 60_000)
afterAll(() => fixture.stop())

const rule = {
  name: "names-much",
  on: [
    { signal: "disk-full" },
    { webhook: "shop" },
    { trigger: "nightly" },
    { operation: "ext.things.*", phase: "after" as const },
  ],
  do: [
    { operation: "executions.create", input: { workflow: "clean-up", targets: { all: true } } },
    { operation: "triggers.fire", input: { name: "nightly" } },
    { operation: "triggers.fire", input: { name: "${{ event.data.name }}" } },
  ],
}

const gate = {
  name: "gates",
  on: [{ operation: "windows.apply", phase: "before" as const }],
  do: [{ requireApproval: { template: "two-eyes" } }],
}

interface Warning {
  readonly code: string
  readonly path: string
}

const shown = (warnings: readonly Warning[] | undefined): string[] | undefined =>
  warnings?.map(({ code, path }) => `${path} ${code}`)

const warningsOfRule = async (name: string) => shown((await fixture.call(admin, rulesGet, { name })).warnings)

test("a rule is stored, and says what it names that isn't there, until it is there", async () => {
  const put = await fixture.call(admin, rulesPut, rule)
  const all = [
    "on.0.signal triggers.signal-not-found",
    "on.1.webhook triggers.hook-not-found",
    "on.2.trigger triggers.trigger-not-found",
    "on.3.operation gateway.service-not-found",
    "do.0.input.workflow workflows.not-found",
    "do.1.input.name triggers.trigger-not-found",
  ]
  expect(shown(put.warnings)).toEqual(all)
  expect(put.warnings?.[0]?.message).toBe(
    'there is no signal "disk-full": nothing sets the rule going here until it is made (signalbox apply -f) or the name is corrected',
  )
  const { items } = await fixture.call(admin, rulesList, {})
  expect(items.map(({ name, warnings }) => [name, shown(warnings)])).toEqual([["names-much", all]])
  const event = { type: "signal.raised", data: { signal: "disk-full" } }
  const { name: _, ...draft } = rule
  for (const which of [{ name: rule.name }, { rule: { ...draft, name: "draft" } }])
    expect(shown((await fixture.call(admin, rulesTest, { ...which, event })).warnings)).toEqual(all)
})

test("each warning goes when the thing is made, and comes back when it is removed", async () => {
  await fixture.call(admin, rulesPut, rule)
  const signal = { name: "disk-full", metric: { disk: "/" }, raise: { above: 90 } }
  await fixture.call(admin, signalsPut, signal)
  expect(await warningsOfRule(rule.name)).not.toContain("on.0.signal triggers.signal-not-found")
  await fixture.call(admin, hooksPut, { name: "shop", verify: "standard" })
  await fixture.call(admin, triggersPut, { name: "nightly" })
  expect(await warningsOfRule(rule.name)).toEqual([
    "on.3.operation gateway.service-not-found",
    "do.0.input.workflow workflows.not-found",
  ])
  const document = "kind: Workflow\nname: clean-up\nsteps:\n  - run: date\n"
  await fixture.call(admin, workflowsApply, { name: "clean-up", document })
  await fixture.call(admin, servicesPut, {
    name: "things",
    upstreams: [{ url: "https://things.example" }],
    document: documentOfThings,
  })
  expect(await warningsOfRule(rule.name)).toBeUndefined()
  expect((await fixture.call(admin, rulesPut, rule)).warnings).toBeUndefined()
  await fixture.call(admin, signalsRemove, { name: "disk-full" })
  expect(await warningsOfRule(rule.name)).toEqual(["on.0.signal triggers.signal-not-found"])
})

test("a gate whose approvers' template is gone says that it refuses", async () => {
  await fixture.call(admin, rulesPut, gate)
  expect(await warningsOfRule(gate.name)).toBeUndefined()
  await fixture.call(admin, templatesRemove, { name: "two-eyes" })
  const { warnings } = await fixture.call(admin, rulesGet, { name: gate.name })
  expect(shown(warnings)).toEqual(["do.0.requireApproval.template approvals.template-not-found"])
  expect(warnings?.[0]?.message).toContain("calls that it matches are refused until")
})

test("one query for each kind of thing, whatever the number of rules; none for what nobody names", async () => {
  const asked: string[] = []
  const existing = Object.fromEntries(
    namedKinds.map((kind) => [
      kind,
      (_sql: unknown, _account: string, names: readonly string[]) => {
        asked.push(`${kind} ${names.length}`)
        return Promise.resolve(names.filter((name) => name !== "s7"))
      },
    ]),
  ) as unknown as Parameters<typeof findWarnings>[0]["existing"]
  const definitions = Array.from({ length: 100 }, (_, index) => ({
    on: [{ signal: `s${index}` }, { signal: "s7" }],
    budget: { firings: 1, within: "1h" },
    do: [{ operation: "triggers.fire", input: { name: "one" } }],
  }))
  const external = { find: () => undefined, list: () => [], findOperation: () => undefined }
  const found = await findWarnings(
    { existing, external },
    { sql: fixture.server.test.database, account: "a" },
    definitions,
  )
  expect(asked).toEqual(["signal 100", "trigger 1"])
  expect(found.map((warnings) => warnings.length)).toEqual(definitions.map((_, index) => (index === 7 ? 2 : 1)))
})

test("what another installation keeps counts as there", async () => {
  const { database } = fixture.server.test
  const names = (hasOwnState: boolean) => {
    const to = { name: "north", url: "https://north.example", ...(hasOwnState && { hasOwnState }) }
    const map = { remote: new Map([["signals.get", { targets: [to] }]]) } as unknown as RoutingMap
    return makeNameFinders({ current: () => map } as RoutingTable).signal(database, "default", ["nowhere"])
  }
  expect(await names(false)).toEqual([])
  expect(await names(true)).toEqual(["nowhere"])
})

test("patterns over all services and texts with expressions name nothing", () => {
  const budget = { firings: 1, within: "1h" }
  const operations = ["*", "ext.*", "executions.*"]
  const on = operations.map((operation) => ({ operation, phase: "after" as const }))
  const input = { workflow: "${{ event.data.workflow }}" }
  expect(referencesOf({ on, budget, do: [{ operation: "executions.create", input }] })).toEqual([])
})
