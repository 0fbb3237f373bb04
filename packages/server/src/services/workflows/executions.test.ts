import { createHash } from "node:crypto"
import {
  executionsCreate,
  executionsGet,
  tasksGet,
  tasksList,
  workflowsApply,
} from "@signalbox/contracts/workflows/operations"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
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
})
