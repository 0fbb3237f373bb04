import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { resourcesApply } from "@signalbox/contracts/fleet/operations"
import { executionsGet, workflowsApply } from "@signalbox/contracts/workflows/operations"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startApprovals, untilTrue, type ApprovalsFixture } from "./approvals.fixture.ts"

/** Runs that are held by their workflow. */
let fixture: ApprovalsFixture
const documentOf = (name: string) => JSON.stringify({ kind: "Workflow", name, steps: [{ wait: "1ms" }] })

beforeAll(async () => {
  fixture = await startApprovals()
  const { admin } = fixture
  await fixture.call(admin, resourcesApply, { name: "pool-1", kind: "pool" })
  await fixture.call(admin, workflowsApply, { name: "stored", document: documentOf("stored") })
  await fixture.call(admin, approvalGroupsApply, { name: "leads", members: [{ mail: "ada@example.org" }] })
  const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
  await fixture.call(admin, templatesApply, { name: "one", levels })
}, 120_000)
afterAll(() => fixture.stop())

async function post(path: string, body: object): Promise<{ status: number; id: string }> {
  const { status, body: reply } = await fixture.server.call(fixture.admin, "POST", `/v1/executions${path}`, body)
  return { status, id: String(reply["id"]) }
}

const run = (what: object) => post("", { ...what, targets: { nodes: ["pool-1"] } })

async function ended(execution: string): Promise<void> {
  const isEnded = async () => (await fixture.call(fixture.admin, executionsGet, { execution })).finishedAt !== undefined
  await untilTrue(isEnded)
}

test("A5: an association with the workflow `inline` holds runs that bring their own document, and what follows on them", async () => {
  const [inline, stored] = [await run({ document: documentOf("stored") }), await run({ workflow: "stored" })]
  await Promise.all([ended(inline.id), ended(stored.id)])
  const hold = (name: string, workflow: string) =>
    fixture.call(fixture.admin, associationsApply, { name, template: "one", selector: { workflow } })
  await hold("inline", "inline")
  // Named like a stored one or not.
  expect((await run({ document: documentOf("stored") })).status).toBe(202)
  expect((await run({ document: documentOf("other") })).status).toBe(202)
  expect((await run({ workflow: "stored" })).status).toBe(200)
  const retry = { states: ["failed", "never-started"] }
  expect((await post(`/${inline.id}:retry`, retry)).status).toBe(202)
  expect((await post(`/${inline.id}:rollback`, {})).status).toBe(202)
  expect((await post(`/${stored.id}:retry`, retry)).status).toBe(400)
  await hold("stored", "stored")
  expect((await run({ workflow: "stored" })).status).toBe(202)
  expect((await post(`/${stored.id}:retry`, retry)).status).toBe(202)
})
