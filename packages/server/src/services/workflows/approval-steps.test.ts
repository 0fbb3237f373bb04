import { approvalRequestsApprove, approvalRequestsDeny } from "@signalbox/contracts/approvals/answers"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import {
  approvalRequestsEdit,
  approvalRequestsGet,
  approvalRequestsList,
} from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { resourcesApply } from "@signalbox/contracts/fleet/operations"
import {
  executionsAbort,
  executionsCreate,
  executionsGet,
  executionsPlan,
  executionsRetry,
  executionsRollback,
  tasksGet,
  tasksList,
  workflowsApply,
} from "@signalbox/contracts/workflows/operations"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "../approvals/approvals.fixture.ts"

/** Steps of kind `approval` on a whole server; its targets have no agents, so the server runs their tasks. */
let fixture: ApprovalsFixture
let ada: Member
let ben: Member
let oscar: Member

beforeAll(async () => {
  fixture = await startApprovals()
  ada = await fixture.member("ada", ["operator"])
  ben = await fixture.member("ben", ["approver"])
  oscar = await fixture.member("oscar", ["operator"])
  const { admin } = fixture
  const members = [{ principal: ada.principal }, { principal: ben.principal }]
  await fixture.call(admin, approvalGroupsApply, { name: "operations", members })
  await fixture.call(admin, approvalGroupsApply, { name: "ben", members: [{ principal: ben.principal }] })
  await fixture.call(admin, approvalGroupsApply, { name: "oscar", members: [{ principal: oscar.principal }] })
  const level = { name: "only", group: "operations", strategy: { kind: "any" as const }, reject: { count: 1 } }
  await fixture.call(admin, templatesApply, { name: "one", levels: [level] })
  await fixture.call(admin, templatesApply, { name: "hasty", levels: [{ ...level, expiresAfter: "1h" }] })
  await fixture.call(admin, templatesApply, { name: "own", levels: [{ ...level, group: "oscar" }] })
  const pool = (number: number) => ({ name: `pool-${number}`, kind: "pool", tags: { tier: "web", n: String(number) } })
  for (let number = 1; number <= 50; number++) await fixture.call(admin, resourcesApply, pool(number))
}, 120_000)
afterAll(() => fixture.stop())

const approval = (more: object = {}, step: object = {}) => ({ approval: { template: "one", ...more }, ...step })
const documentOf = (steps: object[], more: object = {}) =>
  JSON.stringify({ kind: "Workflow", name: "careful", exclusive: false, ...more, steps })

async function run(steps: object[], more: { nodes?: string[]; all?: true; concurrency?: number; retry?: object } = {}) {
  const { nodes = ["pool-1"], all, concurrency = 50, retry } = more
  const targets = all ? { query: "tier=web" } : { nodes }
  const document = documentOf(steps, { concurrency, ...(retry ? { retry } : {}) })
  return (await fixture.call(oscar.key, executionsCreate, { document, targets })).id
}

const get = (execution: string) => fixture.call(fixture.admin, executionsGet, { execution })
const task = (execution: string, node = "pool-1") => fixture.call(fixture.admin, tasksGet, { execution, task: node })

async function ended(execution: string) {
  await untilTrue(async () => (await get(execution)).finishedAt !== undefined)
  return get(execution)
}

/** The requests that the execution waits for, once there are so many and they were asked. */
async function asked(execution: string, count = 1): Promise<string[]> {
  let requests: string[] = []
  await untilTrue(async () => {
    requests = ((await get(execution)).approvals ?? []).map(({ request }) => request)
    return requests.length === count
  })
  for (const request of requests) {
    await untilTrue(
      async () => (await fixture.server.call(fixture.admin, "GET", `/v1/approval-requests/${request}`)).status === 200,
    )
  }
  return requests
}

async function answer(by: Member, request: string, given: { choice?: "approve" | "deny"; comment?: string } = {}) {
  const { choice = "approve", comment } = given
  const { digest } = await fixture.call(fixture.admin, approvalRequestsGet, { request })
  const operation = choice === "approve" ? approvalRequestsApprove : approvalRequestsDeny
  await fixture.call(by.key, operation, { request, digest, ...(comment ? { comment } : {}) })
}

test("W2: fifty targets wait for one question, which names what they wait for, and all go on at one yes", async () => {
  const id = await run(
    [{ wait: "1ms" }, approval({ message: "Is the announcement out?" }, { name: "ask operations" }), { wait: "1ms" }],
    { all: true },
  )
  const [request = ""] = await asked(id)
  await untilTrue(async () => (await get(id)).inFlight === 50)
  const waiting = await get(id)
  expect(waiting.waitsFor).toMatchObject({ for: "approval", text: `waits for approval ${request} (ask operations)` })
  expect(waiting.counts.succeeded).toBe(0)
  const shown = await fixture.call(ada.key, approvalRequestsGet, { request })
  expect(shown).toMatchObject({
    type: "workflow-step",
    requester: { key: oscar.principal },
    attributes: { workflow: "careful" },
  })
  expect(shown.content).toMatchObject({
    execution: id,
    plan: expect.stringMatching(/^[0-9a-f]{64}$/),
    step: { number: 2, name: "ask operations" },
    targets: { count: 50, text: "tier=web", digest: waiting.targets.digest },
    message: "Is the announcement out?",
  })
  await answer(ada, request)
  expect((await ended(id)).state).toBe("succeeded")
  const { items } = await fixture.call(fixture.admin, approvalRequestsList, { limit: 100 })
  expect(items.filter(({ attributes }) => attributes.workflow === "careful")).toHaveLength(1)
  const steps = (await task(id, "pool-50")).outcome?.steps
  expect(steps?.[1]?.message).toBe(`approved by ada (${request})`)
})

test("W2: with scope task each target is asked for by itself, and only that one waits", async () => {
  const steps = [approval({ scope: "task", title: "Take ${{ node.name }} (${{ node.tags.n }}) out?" })]
  const id = await run(steps, { nodes: ["pool-1", "pool-2"] })
  const requests = await asked(id, 2)
  const all = await Promise.all(requests.map((request) => fixture.call(ada.key, approvalRequestsGet, { request })))
  expect(all.map(({ title }) => title).toSorted()).toEqual(["Take pool-1 (1) out?", "Take pool-2 (2) out?"])
  expect((await get(id)).approvals?.map(({ node }) => node).toSorted()).toEqual(["pool-1", "pool-2"])
  const second = all.find(({ title }) => title.includes("pool-2"))?.id ?? ""
  await answer(ada, second)
  await untilTrue(async () => (await task(id, "pool-2")).state === "succeeded")
  expect((await task(id, "pool-1")).state).toBe("running")
  const first = all.find(({ title }) => title.includes("pool-1"))?.id ?? ""
  await answer(ben, first, { choice: "deny", comment: "busy today" })
  await ended(id)
  const refused = await task(id, "pool-1")
  expect(refused).toMatchObject({ state: "failed", class: "denied" })
  expect(refused.message).toContain('denied by ben ("busy today")')
})

test("W2: a no is final: no further attempt asks again, and the failure has a class of its own", async () => {
  const id = await run([approval(), { wait: "1ms" }], { retry: { attempts: 3 } })
  const [request = ""] = await asked(id)
  await answer(ada, request, { choice: "deny" })
  const { classes } = await ended(id)
  expect(classes?.denied).toBe(1)
  expect(await task(id)).toMatchObject({ state: "failed", class: "denied", attempt: 1, rollback: "none" })
  const again = await fixture.call(oscar.key, executionsRetry, { execution: id, classes: ["denied"] })
  const [other = ""] = await asked(again.id)
  expect(other).not.toBe(request)
  await answer(ada, other)
  expect((await ended(again.id)).state).toBe("succeeded")
})

test("W2: what expires fails as denied", async () => {
  const id = await run([approval({ template: "hasty" })])
  const [request = ""] = await asked(id)
  fixture.clock.advance(3_600_001)
  await ended(id)
  expect(await task(id)).toMatchObject({ state: "failed", class: "denied" })
  expect((await task(id)).message).toContain("nobody said yes in time")
  expect((await fixture.call(ada.key, approvalRequestsGet, { request })).state).toBe("expired")
})

test.each(["finish", "kill"] as const)("W2: an abort (%s) withdraws the question and ends the run", async (mode) => {
  const id = await run([approval(), { wait: "1ms" }], { all: true })
  const [request = ""] = await asked(id)
  await fixture.call(oscar.key, executionsAbort, { execution: id, mode })
  expect((await ended(id)).state).toBe("aborted")
  await untilTrue(async () => (await fixture.call(ada.key, approvalRequestsGet, { request })).state === "cancelled")
  const { items } = await fixture.call(fixture.admin, tasksList, { execution: id, limit: 100 })
  expect(new Set(items.map(({ state }) => state)).has("succeeded")).toBe(false)
})

test("A16: who started the run can't answer, nor change what is asked", async () => {
  const id = await run([approval({ template: "own", groups: { only: "operations" } })])
  const [request = ""] = await asked(id)
  const { digest, revision } = await fixture.call(fixture.admin, approvalRequestsGet, { request })
  expect(await fixture.refusal(oscar.key, approvalRequestsApprove, { request, digest })).toBe("approvals.self-approval")
  const edit = { request, revision, content: { harmless: true } }
  expect(await fixture.refusal(oscar.key, approvalRequestsEdit, edit)).toBe("approvals.held-operation")
  await answer(ben, request)
  expect((await ended(id)).state).toBe("succeeded")
})

test("W12: a plan names who would be asked; what nobody could approve is refused before anything runs", async () => {
  const targets = { nodes: ["pool-1"] }
  const planOf = (steps: object[]) => fixture.call(oscar.key, executionsPlan, { document: documentOf(steps), targets })
  const plan = await planOf([approval({ groups: { only: "ben" } }, { name: "ask ben" })])
  expect(plan.approvals).toEqual([
    { step: "ask ben", template: "one", version: 1, scope: "execution", groups: { only: "ben" } },
  ])
  expect(plan.asked).toEqual([{ step: "ask ben", level: "only", strategy: "any", members: [{ name: "ben" }] }])
  expect(plan.steps).toEqual([{ name: "ask ben", kind: "approval", undo: "restored" }])
  const refusalOf = (more: object) =>
    fixture.refusal(oscar.key, executionsCreate, { document: documentOf([approval(more)]), targets })
  expect(await refusalOf({ template: "none" })).toBe("approvals.template-not-found")
  expect(await refusalOf({ groups: { only: "nobody" } })).toBe("approvals.group-not-found")
  expect(await refusalOf({ groups: { other: "ben" } })).toBe("approvals.unreachable")
  expect(await refusalOf({ template: "own" })).toBe("approvals.unreachable")
  const apply = { name: "careful", document: documentOf([approval({ template: "none" })]) }
  expect(await fixture.refusal(oscar.key, workflowsApply, apply)).toBe("approvals.template-not-found")
  // Somebody else may run it.
  const own = { name: "careful", document: documentOf([approval({ template: "own" })]) }
  expect(await fixture.refusal(oscar.key, workflowsApply, own)).toBe("accepted")
})

test("W6: there is nothing to undo in an approval", async () => {
  const id = await run([approval(), { http: { method: "POST", url: "http://127.0.0.1:1/" } }])
  const [request = ""] = await asked(id)
  await answer(ada, request)
  await ended(id)
  const rollback = await fixture.call(oscar.key, executionsRollback, { execution: id, include: "all" })
  await ended(rollback.id)
  const message = (await task(rollback.id)).message ?? ""
  expect(message).toContain("step 2")
  expect(message).not.toContain("step 1")
})

test("D14: a server that stops while people are asked is not needed for the answer", async () => {
  const other = await fixture.server.another()
  const id = await run([approval()], { all: true })
  const [request = ""] = await asked(id)
  await fixture.server.halt()
  const { call } = fixture.on(other)
  const { digest } = await call(ada.key, approvalRequestsGet, { request })
  await call(ada.key, approvalRequestsApprove, { request, digest })
  await untilTrue(async () => (await call(fixture.admin, executionsGet, { execution: id })).state === "succeeded")
  expect(await fixture.eventsOf(request)).toContain("approval-request.approved")
}, 90_000)
