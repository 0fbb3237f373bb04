import { executionsCreate, executionsGet, tasksGet } from "@signalbox/contracts/workflows/operations"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { removeExecutions, removeOutputs } from "./retention.ts"
import { documentOf, eventually, makeNodes, openFixture } from "./workflows.fixture.ts"

describe("the retention of executions", () => {
  let test: TestDatabase
  beforeAll(async () => {
    test = await createTestDatabase()
  })
  afterAll(() => test.drop())

  it("X10: removes outputs, then whole executions, and never what still runs", async () => {
    const fixture = await openFixture({ database: test.database, nodes: makeNodes(12) })
    const run = { document: documentOf(), targets: { all: true }, concurrency: 12 } as const
    const { id } = await fixture.call(executionsCreate, run)
    await eventually(async () => (await fixture.call(executionsGet, { execution: id })).finishedAt !== undefined)
    fixture.executor.behaviour = () => "stall"
    const running = await fixture.call(executionsCreate, run)
    await eventually(async () => fixture.executor.inFlight === 12)
    const signal = new AbortController().signal
    const { database } = test

    const stores = { database, blobs: { unreference: async () => {} } }
    expect(await removeOutputs(stores, Date.now() - 60_000, signal)).toBe(0)
    expect(await removeOutputs(stores, Date.now() + 60_000, signal)).toBe(1)
    expect(await removeOutputs(stores, Date.now() + 60_000, signal)).toBe(0)
    const task = await fixture.call(tasksGet, { execution: id, task: "3" })
    expect(task.state).toBe("succeeded")
    expect(task.outcome).toBeUndefined()

    expect(await removeExecutions(stores, Date.now() + 60_000, signal)).toBe(1)
    await expect(fixture.call(executionsGet, { execution: id })).rejects.toMatchObject({ code: "executions.not-found" })
    for (const table of ["execution_tasks", "execution_targets", "execution_plans"])
      expect(await database.query(`select 1 from ${table} where execution_id = $1`, [id])).toEqual([])
    expect(await fixture.call(executionsGet, { execution: running.id })).toMatchObject({ state: "running" })
    await fixture.stop()
  })
})
