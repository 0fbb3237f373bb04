import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, expect, test } from "vitest"

let opened: TestDatabase

beforeAll(async () => {
  opened = await createTestDatabase()
})

afterAll(() => opened.drop())

/** PostgreSQL looks at 300 rows for each of the largest target; one column that has none makes it 30,000. */
const targetMax = 10

test("every column of a run's tables says how many rows its statistics are taken of, since they are taken while it runs", async () => {
  const columns = await opened.database.query<{ column: string; target: number }>(
    `select c.relname || '.' || a.attname as column, coalesce(a.attstattarget, -1)::int as target
     from pg_attribute a join pg_class c on c.oid = a.attrelid
     where c.oid in ('execution_targets'::regclass, 'execution_tasks'::regclass) and a.attnum > 0 and not a.attisdropped`,
  )
  expect(columns.length).toBeGreaterThan(20)
  expect(columns.filter(({ target }) => target < 0 || target > targetMax)).toEqual([])
})
