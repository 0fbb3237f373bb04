import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, expect, test } from "vitest"
import { bufferLimits } from "../../storage/buffered-rows.ts"
import type { Sql } from "../../storage/database.ts"
import { BufferedUses } from "./use-recorder.ts"

let made: TestDatabase
beforeAll(async () => {
  made = await createTestDatabase()
})
afterAll(() => made.drop())

const caller = { account: "main", principal: "key:k", kind: "key", roles: [], permissions: new Set<never>() } as const
const use = (requestId: string, operation = "ext.billing.read") => ({ operation, caller, requestId, now: 1_000 })
const ids = async (like: string): Promise<string[]> =>
  (await made.database.query<{ id: string }>("select id from uses where id like $1 order by id", [like])).map(
    ({ id }) => id,
  )
const silent = { warn: () => undefined }

test("D21: uses are written in batches, those that wait at the stop, and each once", async () => {
  const uses = new BufferedUses(made.database, silent)
  for (let n = 0; n < bufferLimits.batchMax * 2 + 7; n++) uses.record(use(`a_${n}`))
  uses.record(use("a_0"))
  uses.record(use("a_own", "nodes.list"))
  await uses.stop()
  expect(await ids("a_%")).toHaveLength(bufferLimits.batchMax * 2 + 7)
})

test("uses wait while the database can't be reached, and are lost only beyond the bound", async () => {
  let isDown = true
  const sql: Sql = {
    query: (...statement: Parameters<Sql["query"]>) =>
      isDown ? Promise.reject(new Error("down")) : made.database.query(...statement),
  } as Sql
  const uses = new BufferedUses(sql, silent)
  for (let n = 0; n < bufferLimits.bufferedMax + 5; n++) uses.record(use(`b_${n}`))
  isDown = false
  await uses.stop()
  expect(await ids("b_%")).toHaveLength(bufferLimits.bufferedMax)
})

test("each use has its own caller, operation and time", async () => {
  const uses = new BufferedUses(made.database, silent)
  const expected = Array.from({ length: 60 }, (_, n) => ({
    id: `c_${String(n).padStart(2, "0")}`,
    account: n % 5 === 0 ? "other" : "main",
    operation: n % 2 === 0 ? "ext.billing.read" : "ext.billing.pay",
    principal: n % 3 === 0 ? "service-account:billing" : "key:k",
    time: 1_790_000_000_000 + n * 7,
  }))
  for (const { id: requestId, account, operation, principal, time: now } of expected)
    uses.record({ operation, caller: { ...caller, account, principal }, requestId, now })
  await uses.stop()
  const found = await made.database.query(
    `select id, account, operation, principal, (extract(epoch from used_at) * 1000)::float8 as time
     from uses where id like 'c_%' order by id`,
  )
  expect(found).toEqual(expected)
})
