import { createHash } from "node:crypto"
import {
  executionsCreate,
  executionsGet,
  tasksGet,
  tasksList,
  workflowsApply,
} from "@signalbox/contracts/workflows/operations"
import { taskId } from "@signalbox/kernel/id"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { readEvents, type OutboxEvent } from "../../storage/outbox.ts"
import { documentOf, eventually, failed, makeNodes, openFixture, succeeded, type Fixture } from "./workflows.fixture.ts"

describe("executions", () => {
  let test: TestDatabase
  let fixture: Fixture
  beforeAll(async () => {
    test = await createTestDatabase()
  })
  afterAll(() => test.drop())
  afterEach(() => fixture.stop())

  const open = async (nodes: number): Promise<void> => {
    fixture = await openFixture({ database: test.database, nodes: makeNodes(nodes) })
  }
  const end = (id: string): Promise<Awaited<ReturnType<typeof get>>> =>
    eventually(async () => {
      const found = await get(id)
      return found.finishedAt !== undefined && found
    })
  const get = (id: string) => fixture.call(executionsGet, { execution: id })

  it("W1, W7: runs a stored workflow over its targets and keeps a result for each", async () => {
    await open(30)
    await fixture.call(workflowsApply, { name: "noop", document: documentOf() })
    const created = await fixture.call(executionsCreate, {
      workflow: "noop",
      targets: { query: "role=web" },
      concurrency: 4,
    })
    expect(created).toMatchObject({ state: "planning", width: 4, targets: { count: 30, text: "role=web" } })
    const ended = await end(created.id)
    expect(ended).toMatchObject({ state: "succeeded", counts: { succeeded: 30, queued: 0, failed: 0 }, inFlight: 0 })
    expect(fixture.executor.inFlightMax).toBeLessThanOrEqual(4)
    const digest = createHash("sha256")
      .update(fixture.fleet.nodes.map(({ id }) => `${id}\n`).join(""))
      .digest("hex")
    expect(ended.targets.digest).toBe(digest)
    const page = await fixture.call(tasksList, { execution: created.id, limit: 20 })
    expect(page.items).toHaveLength(20)
    const rest = await fixture.call(tasksList, { execution: created.id, limit: 20, cursor: page.nextCursor })
    expect(rest.items.map((task) => task.state)).toEqual(Array.from({ length: 10 }, () => "succeeded"))
    expect(await fixture.call(tasksGet, { execution: created.id, task: "web-0000003" })).toMatchObject({
      ordinal: 3,
      outcome: succeeded,
    })
  })

  it("W5, W7: stops by itself over the error limit; the rest is never started", async () => {
    await open(20)
    fixture.executor.behaviour = () => failed
    const created = await fixture.call(executionsCreate, {
      document: documentOf(),
      targets: { all: true },
      concurrency: 2,
      errorLimit: 1,
    })
    const ended = await end(created.id)
    expect(ended.state).toBe("failed")
    expect(ended.reason).toContain("stopped by itself")
    expect(ended.counts.failed).toBeGreaterThanOrEqual(2)
    expect(ended.counts.failed).toBeLessThanOrEqual(3)
    expect(ended.counts.neverStarted).toBe(20 - ended.counts.failed)
    const never = await fixture.call(tasksList, { execution: created.id, state: "never-started" })
    expect(never.items).toHaveLength(ended.counts.neverStarted)
    expect(fixture.executor.runs.size).toBe(ended.counts.failed)
  })

  it("W6: puts a failed node back, keeps what it said, and ends incomplete within the limit", async () => {
    await open(6)
    fixture.executor.startsFirst = true
    fixture.executor.behaviour = ({ nodeId }) =>
      nodeId.endsWith("2") ? { ...failed, message: "half\u0000 a pair \ud83d" } : succeeded
    const document = documentOf({ save: ["etc/web.conf"] })
    const created = await fixture.call(executionsCreate, {
      document,
      targets: { all: true },
      concurrency: "50%",
      errorLimit: 2,
    })
    const ended = await end(created.id)
    expect(ended).toMatchObject({ state: "incomplete", counts: { succeeded: 5, failed: 1, rolledBack: 1 }, width: 3 })
    const task = await fixture.call(tasksGet, { execution: created.id, task: "2" })
    expect(task).toMatchObject({
      state: "failed",
      class: "command",
      rollback: "rolled-back",
      message: "half\ufffd a pair \ufffd",
      outcome: { state: "failed" },
      rollbackOutcome: { state: "rolled-back" },
    })
    expect(await fixture.call(tasksGet, { execution: created.id, task: task.id })).toEqual(task)
    expect(fixture.executor.acknowledged).toContain(`${created.id}/2/1 rollback`)
  })

  it("tries a failed task again as the workflow says, and copies of reports change nothing", async () => {
    await open(5)
    fixture.executor.copies = 3
    fixture.executor.behaviour = ({ key }) => (key.endsWith("/1/1") ? failed : succeeded)
    const document = documentOf({ retry: { attempts: 2 } })
    const created = await fixture.call(executionsCreate, { document, targets: { all: true }, concurrency: 5 })
    expect(await end(created.id)).toMatchObject({ state: "succeeded", counts: { succeeded: 5, failed: 0 } })
    expect(await fixture.call(tasksGet, { execution: created.id, task: "1" })).toMatchObject({ attempt: 2 })
    expect([...fixture.executor.runs.values()].every((runs) => runs === 1)).toBe(true)
  })

  it("W3, D16: refuses unknown targets, empty sets, and more nodes than allowed without asking", async () => {
    await open(150)
    const document = documentOf()
    const create = (targets: object, more: object = {}) =>
      fixture.call(executionsCreate, { document, targets, ...more } as never)
    await expect(create({ nodes: ["web-0000001", "gone"] })).rejects.toMatchObject({
      code: "executions.unknown-target",
    })
    await expect(create({ query: "role=db" })).rejects.toMatchObject({ code: "executions.no-targets" })
    await expect(create({ all: true })).rejects.toMatchObject({ code: "executions.blast-radius" })
    await expect(create({ all: true }, { targetsMax: 149 })).rejects.toMatchObject({ code: "executions.blast-radius" })
    await expect(create({ group: "nope" })).rejects.toMatchObject({ code: "fleet.group-not-found" })
    const tagged = documentOf({ steps: [{ run: "echo ${{ node.tags.rack }}" }] })
    await expect(
      fixture.call(executionsCreate, { document: tagged, targets: { nodes: ["web-0000001"] } }),
    ).rejects.toMatchObject({ code: "workflows.invalid-template" })
    const wide = await create({ all: true }, { targetsMax: 150 })
    // W11: 150 targets run 12 at once (8 %), 10 errors are tolerated.
    expect(wide).toMatchObject({ width: 12, errorsMax: 10, concurrency: "automatic" })
    expect(await end(wide.id)).toMatchObject({ state: "succeeded" })
  })

  it("D13: a node that was removed after the plan is skipped", async () => {
    await open(1_000)
    const [first] = fixture.fleet.nodes
    fixture.executor.behaviour = ({ nodeId }) => {
      if (nodeId === first?.id) fixture.fleet.nodes = fixture.fleet.nodes.slice(0, -3)
      return succeeded
    }
    fixture.executor.isRemoved = (nodeId) => !fixture.fleet.nodes.some((node) => node.id === nodeId)
    const run = { document: documentOf(), targets: { all: true }, concurrency: 20, targetsMax: 1_000 } as const
    const ended = await end((await fixture.call(executionsCreate, run)).id)
    expect(ended).toMatchObject({ state: "succeeded", counts: { skipped: 3, succeeded: 997 } })
  })

  it("a report for a task that its node was never given is dropped, a late one acknowledged", async () => {
    await open(4)
    fixture.executor.behaviour = ({ key }) => (key.includes("/0/") ? "stall" : succeeded)
    const run = { document: documentOf(), targets: { all: true }, concurrency: 1, errorLimit: 9 } as const
    const { id } = await fixture.call(executionsCreate, run)
    await eventually(async () => fixture.executor.runs.has(`${id}/0/1`))
    const lie = (nodeId: string, ordinal: number): void =>
      fixture.executor.report({ type: "task-finished", nodeId, key: `${id}/${ordinal}/1`, outcome: succeeded })
    lie("nod_0000001", 0)
    lie("nod_0000003", 3)
    lie("nod_0000001", 7)
    expect(fixture.workflows.owner.foreignCount).toBe(3)
    expect(await get(id)).toMatchObject({ counts: { succeeded: 0 } })
    lie("nod_0000000", 0)
    await end(id)
    const before = fixture.executor.acknowledged.length
    lie("nod_0000002", 2)
    await eventually(async () => fixture.executor.acknowledged.length > before)
    expect(await get(id)).toMatchObject({ counts: { succeeded: 4 } })
  })

  it("D9: events tell of the execution and of each task, with versions that grow by one", async () => {
    await open(40)
    fixture.executor.behaviour = ({ key }) => (/\/1\/[12]$/.test(key) ? failed : succeeded)
    const document = documentOf({ save: ["x"], retry: { attempts: 2 } })
    const run = { document, targets: { all: true }, concurrency: 3 } as const
    const { id } = await fixture.call(executionsCreate, run)
    await end(id)
    const expanders = new Map((fixture.workflows.service.expanders ?? []).map((expander) => [expander.type, expander]))
    const events = await eventually(async () => {
      const found: OutboxEvent[] = []
      for (let after: string | undefined; ;) {
        const page = await readEvents(test.database, { limit: 1000, after, expanders })
        found.push(...page.events.filter((event) => event.aggregateId === id))
        after = page.cursor
        if (!page.more) return found.some((event) => event.type === "execution.incomplete") && found
      }
    })
    const bySubject = Map.groupBy(events, (event) => event.subject)
    for (const [subject, list] of bySubject) {
      if (subject !== id) expect(list.map((event) => event.subjectVersion)).toEqual(list.map((_, index) => index + 1))
    }
    expect(bySubject.get(taskId(id, 0))?.map((event) => event.type)).toEqual(["task.started", "task.finished"])
    expect(bySubject.get(taskId(id, 1))?.map((event) => event.type)).toEqual([
      "task.started",
      "task.started",
      "task.finished",
      "task.rolled-back",
    ])
    expect(bySubject.get(id)?.map((event) => event.type)).toEqual([
      "execution.created",
      "execution.started",
      "execution.incomplete",
    ])
    expect(bySubject.size).toBe(41)
  })
})
