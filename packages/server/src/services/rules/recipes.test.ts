/** Every recipe in examples/rules can be stored as it stands. */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import type { CallInputOf } from "@signalbox/contracts/operation"
import { rulesPut, rulesTest } from "@signalbox/contracts/rules/operations"
import { afterAll, beforeAll, expect, test } from "vitest"
import { parse } from "yaml"
import { startApprovals, type ApprovalsFixture } from "../approvals/approvals.fixture.ts"

type Recipe = CallInputOf<typeof rulesPut> & { readonly kind: string }

const directory = fileURLToPath(new URL("../../../../../examples/rules/", import.meta.url))
const files = readdirSync(directory).filter((name) => name.endsWith(".yaml"))

let fixture: ApprovalsFixture
beforeAll(async () => {
  fixture = await startApprovals()
  const { principal } = await fixture.member("ada", ["approver"])
  await fixture.call(fixture.admin, approvalGroupsApply, { name: "leads", members: [{ principal }] })
  const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
  await fixture.call(fixture.admin, templatesApply, { name: "two-eyes", levels })
}, 60_000)
afterAll(() => fixture.stop())

function read(file: string): CallInputOf<typeof rulesPut> {
  const { kind, ...rule } = parse(readFileSync(`${directory}${file}`, "utf8")) as Recipe
  expect(kind).toBe("Rule")
  return rule
}

test("there are ten", () => {
  expect(files).toHaveLength(10)
})

test.each(files)("R5: the recipe %s is stored as it stands", async (file) => {
  const rule = { ...read(file), enabled: false }
  expect(rule.name).toBe(file.replace(".yaml", ""))
  expect(await fixture.call(fixture.admin, rulesPut, rule)).toMatchObject({ version: 1, changed: true })
  expect(await fixture.call(fixture.admin, rulesPut, rule)).toMatchObject({ version: 1, changed: false })
})

test.each([
  ["clean-full-disks.yaml", { type: "signal.raised", data: { signal: "disk-full", node: "web-3", value: 93.5 } }],
  [
    "deploy-on-push.yaml",
    { type: "webhook.received", data: { webhook: "github", body: { ref: "refs/heads/main", after: "v7" } } },
  ],
  ["tag-new-nodes.yaml", { type: "node.enrolled", subject: "nod_1" }],
  ["nightly-report.yaml", { type: "schedule.fired", data: { schedule: "nightly-report@rules" } }],
])("R14: %s matches what it is for, and its input can be filled", async (file, event) => {
  const verdict = await fixture.call(fixture.admin, rulesTest, { rule: read(file), event })
  expect(verdict).toMatchObject({ outcome: "matched" })
  expect(verdict.effects).toHaveLength(1)
  expect(verdict.effects[0]?.fault).toBeUndefined()
})
