import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { afterAll, beforeAll, expect, test } from "vitest"
import { listDue, listWaiting, waitingStatement } from "./request-lists.ts"

/** 20,000 open requests that wait for Ada, one of which waits for Ben, too. */
const requests = 20_000
let fixture: TestDatabase

beforeAll(async () => {
  fixture = await createTestDatabase()
  const { database } = fixture
  await database.query("insert into accounts (account, title) values ('main', 'main') on conflict do nothing")
  await database.query(
    `insert into approval_requests (id, account, state, type, title, revision, digest, attributes, content, state_data,
       next_timer_at, requester, submitter, unmatched, version, cause, depth, submitted_at)
     select 'apr_' || lpad(n::text, 26, '0'), 'main', 'open', 'purchase', 'chairs', 1, 'd', '{}', 'null', '{}',
       now() + interval '1 year', 'key:b', 'key:b', 'refuse', 1, 'req_1', 0, now()
     from generate_series(1, $1::int) n`,
    [requests],
  )
  await database.query(
    `insert into approval_waits (request_id, member_key, account, level, since)
     select id, 'key:ada', 'main', 1, now() from approval_requests
     union all select min(id), 'key:ben', 'main', 1, now() from approval_requests`,
  )
  await database.query("analyze approval_requests, approval_waits")
}, 120_000)

afterAll(() => fixture.drop())

interface Plan {
  readonly "Node Type": string
  readonly "Actual Rows": number
  readonly "Actual Loops": number
  readonly "Rows Removed by Filter"?: number
  readonly "Index Name"?: string
  readonly Plans?: readonly Plan[]
}

const rowsRead = (plan: Plan): number =>
  (plan["Actual Rows"] + (plan["Rows Removed by Filter"] ?? 0)) * plan["Actual Loops"] +
  (plan.Plans ?? []).reduce((sum, each) => sum + rowsRead(each), 0)

const indexesOf = (plan: Plan): string[] => [
  ...(plan["Index Name"] === undefined ? [] : [plan["Index Name"]]),
  ...(plan.Plans ?? []).flatMap(indexesOf),
]

test.each(["force_generic_plan", "force_custom_plan"])(
  "D17: what waits for a member is read by the member's own index, whoever else has more, under %s",
  async (mode) => {
    const { database } = fixture
    for (const [key, rows] of [
      ["key:ada", 101],
      ["key:ben", 1],
      ["key:nobody", 0],
    ] as const) {
      const plan = await database.transaction(async (tx) => {
        await tx.query(`set local plan_cache_mode = ${mode}`)
        await tx.query(`prepare waiting (text, text, text, int) as ${waitingStatement}`)
        const [row] = await tx.query<{ "QUERY PLAN": Array<{ Plan: Plan }> }>(
          `explain (analyze, format json) execute waiting ('main', '${key}', null, 101)`,
        )
        await tx.query("deallocate waiting")
        return row?.["QUERY PLAN"][0]?.Plan
      })
      if (!plan) throw new Error("no plan")
      expect(indexesOf(plan)).toEqual(["approval_waits_of_member", "approval_requests_pkey"])
      expect(JSON.stringify(plan)).not.toMatch(/"Sort"|Seq Scan/)
      expect(rowsRead(plan)).toBeLessThanOrEqual(7 * rows)
    }
  },
)

test("the newest first, page after page, each one's own", async () => {
  const { database } = fixture
  const ids = (await listWaiting(database, "main", { key: "key:ada", limit: 3 })).map(({ id }) => Number(id.slice(4)))
  expect(ids).toEqual([requests, requests - 1, requests - 2])
  const before = `apr_${String(3).padStart(26, "0")}`
  const last = await listWaiting(database, "main", { key: "key:ada", before, limit: 10 })
  expect(last.map(({ id }) => Number(id.slice(4)))).toEqual([2, 1])
  expect(await listWaiting(database, "main", { key: "key:ben", limit: 10 })).toHaveLength(1)
  expect(await listWaiting(database, "other", { key: "key:ada", limit: 10 })).toEqual([])
  expect(await listDue(database, Date.now(), 10)).toEqual([])
})
