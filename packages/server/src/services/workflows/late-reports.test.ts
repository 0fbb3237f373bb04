import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, expect, it } from "vitest"
import { eventually, makeNodes, openFixture, succeeded } from "./workflows.fixture.ts"

let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())

it("X6: a report of a run that is not on record, as after a restore, is acknowledged: no owner ever would", async () => {
  const fixture = await openFixture({ database: test.database, nodes: makeNodes(1) })
  const key = `exe_${"0".repeat(26)}/0/1`
  const report = { type: "task-finished", nodeId: "nod_0000000", key, outcome: succeeded } as const
  fixture.executor.report(report)
  await eventually(async () => fixture.executor.acknowledged.includes(`${key} task`))
  expect(fixture.workflows.owner.foreignCount).toBe(0)
  await fixture.stop()
})
