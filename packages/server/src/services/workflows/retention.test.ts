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

    await database.query(
      `insert into execution_step_calls (execution_id, ordinal, attempt, phase, step, try, account, performer)
       select $1, 3, 1, 'task', step, 1, 'main', 'p' from generate_series(0, 1) as step`,
      [id],
    )
    const grown = await database.query<{ name: string }>(
      `select c.relname as name from pg_class c where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace
         and obj_description(c.oid, 'pg_class') = 'aggregate: execution_id'`,
    )
    expect(grown.length).toBeGreaterThanOrEqual(4)
    const stores = { database, blobs: { unreference: async () => {} } }
    expect(await removeOutputs(stores, Date.now() - 60_000, signal)).toBe(0)
    expect(await removeOutputs(stores, Date.now() + 60_000, signal)).toBe(1)
    expect(await removeOutputs(stores, Date.now() + 60_000, signal)).toBe(0)
    const task = await fixture.call(tasksGet, { execution: id, task: "3" })
    expect(task.state).toBe("succeeded")
    expect(task.outcome).toBeUndefined()

    expect(await removeExecutions(stores, Date.now() + 60_000, signal)).toBe(1)
    await expect(fixture.call(executionsGet, { execution: id })).rejects.toMatchObject({ code: "executions.not-found" })
    for (const { name } of grown)
      expect(await database.query(`select 1 from ${name} where execution_id = $1`, [id]), name).toEqual([])
    expect(await fixture.call(executionsGet, { execution: running.id })).toMatchObject({ state: "running" })
    await fixture.stop()
  })
})
