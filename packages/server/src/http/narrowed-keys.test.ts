import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { nodesGet, nodesUpdate, resourcesApply } from "@signalbox/contracts/fleet/operations"
import { keysCreate } from "@signalbox/contracts/identity/operations"
import { operations } from "@signalbox/contracts/operations"
import { executionsCreate, executionsGet, tasksGet } from "@signalbox/contracts/workflows/operations"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { startApprovals, untilTrue, type ApprovalsFixture } from "../services/approvals/approvals.fixture.ts"

/** Keys that are narrowed to `env=staging`: what they may call, and what they see and touch of nodes and runs. */
let fixture: ApprovalsFixture
/** With every permission that an account has. */
let narrow: string
/** Of runs on a node of production and on one of staging, both ended. */
let prodRun: string
let stagingRun: string
const document = JSON.stringify({ kind: "Workflow", name: "look", exclusive: false, steps: [{ wait: "1ms" }] })

beforeAll(async () => {
  fixture = await startApprovals()
  const { admin } = fixture
  await fixture.call(admin, resourcesApply, { name: "web-1", kind: "pool", tags: { env: "staging" } })
  await fixture.call(admin, resourcesApply, { name: "db-1", kind: "pool", tags: { env: "prod" } })
  narrow = await narrowKey("narrow", "env=staging")
  prodRun = await ended(admin, await run(admin, { nodes: ["db-1"] }))
  stagingRun = await ended(admin, await run(narrow, { nodes: ["web-1"] }))
}, 120_000)
afterEach(() => retag("web-1", "staging"))
afterAll(() => fixture.stop())

async function narrowKey(name: string, nodes: string, owner?: string): Promise<string> {
  const roles = ["admin" as const]
  const made = await fixture.call(fixture.admin, keysCreate, { name, roles, nodes, ...(owner ? { owner } : {}) })
  expect(made.nodes).toBe(nodes)
  await untilTrue(async () => (await fixture.server.call(made.key, "GET", "/v1/auth/whoami")).status === 200)
  return made.key
}

const retag = (node: string, env: string) => fixture.call(fixture.admin, nodesUpdate, { node, tags: { env } })

async function run(key: string, targets: object, steps?: object[]): Promise<string> {
  const text = steps ? JSON.stringify({ kind: "Workflow", name: "look", exclusive: false, steps }) : document
  return (await fixture.call(key, executionsCreate, { document: text, targets })).id
}

async function ended(key: string, execution: string): Promise<string> {
  await untilTrue(async () => (await fixture.call(key, executionsGet, { execution })).finishedAt !== undefined)
  return execution
}

const byName = (name: string, input: object, key = narrow) =>
  fixture.server.call(key, "POST", `/v1/operations/${name}`, input)

describe("X2: a narrowed key may call only what keeps to nodes, or is about none", () => {
  const called = operations.filter(({ anonymous, effect }) => anonymous !== true && effect !== "session")
  test("every operation is refused that isn't declared so", async () => {
    const wrong: string[] = []
    const wide = await fixture.key("wide", ["admin"])
    for (const { name, nodeScope } of called) {
      const { code } = (await byName(name, { "no such": 1 })).body
      const usual = (await byName(name, { "no such": 1 }, wide.key)).body.code
      const expected = usual === "request.invalid-input" && nodeScope === undefined ? "identity.narrowed" : usual
      if (code !== expected) wrong.push(`${name}: ${String(code)}, not ${String(expected)}`)
    }
    expect(wrong).toEqual([])
  })

  /** What is outside is not there; where the caller would touch it, it is refused by name. */
  const outside: Record<string, { input: () => object; status: number; code: string }> = {
    ...Object.fromEntries(
      ["nodes.get", "nodes.inventory", "nodes.package-changes", "nodes.update", "nodes.remove"].map((name) => [
        name,
        { input: () => ({ node: "db-1" }), status: 404, code: "fleet.node-not-found" },
      ]),
    ),
    ...Object.fromEntries(
      ["get", "watch", "retry", "rollback", "pause", "resume", "abort"].map((verb) => [
        `executions.${verb}`,
        { input: () => ({ execution: prodRun }), status: 404, code: "executions.not-found" },
      ]),
    ),
    "executions.resize": {
      input: () => ({ execution: prodRun, concurrency: 2 }),
      status: 404,
      code: "executions.not-found",
    },
    "tasks.list": { input: () => ({ execution: prodRun }), status: 404, code: "executions.not-found" },
    "tasks.get": { input: () => ({ execution: prodRun, task: "db-1" }), status: 404, code: "executions.not-found" },
    "tasks.output": { input: () => ({ execution: prodRun, task: "db-1" }), status: 404, code: "executions.not-found" },
    "executions.create": {
      input: () => ({ document, targets: { all: true } }),
      status: 403,
      code: "executions.outside-scope",
    },
    "executions.plan": {
      input: () => ({ document, targets: { nodes: ["web-1", "db-1"] } }),
      status: 403,
      code: "executions.outside-scope",
    },
  }
  /** Lists leave out what is outside. */
  const lists: Record<string, { input: object; shown: () => string[] }> = {
    "nodes.list": { input: {}, shown: () => ["web-1"] },
    "nodes.resolve": { input: { all: true }, shown: () => ["web-1"] },
    "executions.list": { input: {}, shown: () => [stagingRun] },
  }

  const honoured = operations.filter(({ nodeScope }) => nodeScope === "honoured").map(({ name }) => name)
  test.each(honoured)("%s keeps to the nodes", async (name) => {
    const list = lists[name]
    if (list) {
      const { items } = (await byName(name, list.input)).body as unknown as {
        items: Array<{ name?: string; id: string }>
      }
      return expect(items.map((item) => item.name ?? item.id)).toEqual(list.shown())
    }
    const refused = outside[name]
    if (!refused) throw new Error(`the table of what is outside has no row for ${name}`)
    const answer = await byName(name, refused.input())
    expect([answer.status, answer.body.code]).toEqual([refused.status, refused.code])
    if (refused.status === 403) expect(answer.body).toMatchObject({ details: { nodes: ["db-1"] } })
  })

  test("what is within is there", async () => {
    expect((await byName("nodes.get", { node: "web-1" })).status).toBe(200)
    expect((await byName("tasks.list", { execution: stagingRun })).status).toBe(200)
    expect((await byName("executions.plan", { document, targets: { query: "env=staging" } })).status).toBe(200)
  })
})

test("X2: it can't tag a node out of its nodes; a node that others tag out is gone at once, with its output", async () => {
  expect(await fixture.refusal(narrow, nodesUpdate, { node: "web-1", tags: { env: "prod" } })).toBe(
    "fleet.outside-scope",
  )
  expect(await fixture.refusal(narrow, nodesUpdate, { node: "web-1", tags: { more: "yes" } })).toBe("accepted")
  await retag("web-1", "prod")
  expect(await fixture.refusal(narrow, nodesGet, { node: "web-1" })).toBe("fleet.node-not-found")
  expect(await fixture.refusal(narrow, tasksGet, { execution: stagingRun, task: "web-1" })).toBe("executions.not-found")
})

test("X2: it can't make a key, however narrow", async () => {
  const made = fixture.refusal(narrow, keysCreate, { name: "more", roles: ["viewer"], nodes: "env=staging" })
  expect(await made).toBe("identity.narrowed")
  const refusals = await fixture.server.test.database.query(
    "select from audit where operation = 'keys.create' and outcome = 'identity.narrowed'",
  )
  expect(refusals).not.toHaveLength(0)
})

test("X2: a key of somebody who is not narrowed narrows what that one does by it, steps that call operations included", async () => {
  const owner = await fixture.member("olga", ["admin"])
  const key = await narrowKey("olga-staging", "env=staging", owner.principal)
  const steps = [{ operation: { name: "nodes.update", input: { node: "db-1", tags: { taken: "yes" } } } }]
  const execution = await ended(fixture.admin, await run(key, { nodes: ["web-1"] }, steps))
  const { message } = await fixture.call(fixture.admin, tasksGet, { execution, task: "web-1" })
  expect(message).toContain("fleet.node-not-found")
  const wide = await ended(fixture.admin, await run(owner.key, { nodes: ["web-1"] }, steps))
  expect((await fixture.call(fixture.admin, executionsGet, { execution: wide })).state).toBe("succeeded")
})

test("X2: a node that leaves while the targets are frozen ends the run before anything starts", async () => {
  const { database } = fixture.server.test
  await database.query(
    `create function leave() returns trigger language plpgsql as $$ begin
       update nodes set tags = '{"env":"prod"}' where name = 'web-1'; return null; end $$`,
  )
  await database.query("create trigger leave after insert on executions execute function leave()")
  try {
    const execution = await ended(fixture.admin, await run(narrow, { nodes: ["web-1"] }))
    const { state, reason } = await fixture.call(fixture.admin, executionsGet, { execution })
    expect([state, reason]).toEqual(["failed", expect.stringContaining("outside of the nodes env=staging: web-1")])
  } finally {
    await database.query("drop trigger leave on executions")
  }
})

test("X2: a held call is checked again, with the nodes of the key that made it", async () => {
  const { admin } = fixture
  const ben = await fixture.member("ben", ["approver"])
  await fixture.call(admin, approvalGroupsApply, { name: "ben", members: [{ principal: ben.principal }] })
  const levels = [{ name: "only", group: "ben", strategy: { kind: "any" as const } }]
  await fixture.call(admin, templatesApply, { name: "one", levels })
  const selector = { operation: "executions.create" }
  await fixture.call(admin, associationsApply, { name: "runs", template: "one", selector })
  const owner = await fixture.member("otto", ["admin"])
  const key = await narrowKey("otto-staging", "env=staging", owner.principal)
  const reply = await fixture.server.call(key, "POST", "/v1/executions", { document, targets: { nodes: ["web-1"] } })
  expect(reply.status, JSON.stringify(reply.body)).toBe(202)
  await retag("web-1", "prod")
  const request = String(reply.body["requestUrl"]).replace(/^.*\//, "")
  const { digest } = await fixture.call(ben.key, approvalRequestsGet, { request })
  await fixture.call(ben.key, approvalRequestsApprove, { request, digest })
  await untilTrue(async () => (await fixture.call(admin, heldOperationsGet, { request })).state === "failed")
  expect((await fixture.call(admin, heldOperationsGet, { request })).error?.code).toBe("executions.outside-scope")
})
