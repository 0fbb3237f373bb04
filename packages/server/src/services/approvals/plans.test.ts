import { approvalRequestsList } from "@signalbox/contracts/approvals/requests"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startApprovals, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

/** With many open requests, neither the timers nor what waits for one member look through all of them. */
const openRequests = 5_000
let fixture: ApprovalsFixture
let ada: Member

beforeAll(async () => {
  fixture = await startApprovals()
  ada = await fixture.member("ada", ["approver"])
  const backend = await fixture.member("shop", ["backend"])
  await fixture.call(fixture.admin, approvalGroupsApply, { name: "leads", members: [{ principal: ada.principal }] })
  const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
  await fixture.call(fixture.admin, templatesApply, { name: "one", levels })
  await fixture.call(fixture.admin, associationsApply, { name: "one", template: "one", selector: { type: "purchase" } })
  const { id } = await fixture.submit(backend.key, { type: "purchase", title: "chairs", content: 1 })
  const { database } = fixture.server.test
  await database.query(
    `insert into approval_requests
     select made.* from approval_requests one, generate_series(1, $2::int) n,
       jsonb_populate_record(one, jsonb_build_object('id', 'apr_0' || lpad(n::text, 8, '0'),
         'next_timer_at', now() + interval '1 year')) made
     where one.id = $1`,
    [id, openRequests],
  )
  await database.query(
    `insert into approval_waits (request_id, member_key, account, level, since)
     select id, case when right(id, 1) = '0' then $1 else 'somebody' end, account, 1, now() from approval_requests
     where id like 'apr_0%'`,
    [ada.principal],
  )
  await database.query("analyze approval_requests, approval_waits")
}, 120_000)

afterAll(() => fixture.stop())

interface PlanNode {
  readonly "Actual Rows": number
  readonly "Actual Loops": number
  readonly "Index Name"?: string
  readonly "Rows Removed by Filter"?: number
  readonly Plans?: readonly PlanNode[]
}

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)]

async function explain(text: string, values: readonly unknown[]): Promise<PlanNode[]> {
  const [row] = await fixture.server.test.database.query<{ "QUERY PLAN": Array<{ Plan: PlanNode }> }>(
    `explain (analyze, format json) ${text}`,
    values,
  )
  const plan = row?.["QUERY PLAN"][0]?.Plan
  return plan ? nodesOf(plan) : []
}

const rowsRead = (nodes: readonly PlanNode[]): number =>
  nodes.reduce(
    (sum, node) => sum + (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)) * node["Actual Loops"],
    0,
  )

test("A10: a look for due timers reads only what is due", async () => {
  const nodes = await explain(
    `select id from approval_requests where next_timer_at <= to_timestamp($1::float8 / 1000)
     order by next_timer_at limit 200`,
    [fixture.clock.now()],
  )
  expect(nodes.map((node) => node["Index Name"])).toContain("approval_requests_due")
  expect(rowsRead(nodes)).toBe(0)
})

test("A9: what waits for one member is read by member, a page of it", async () => {
  const nodes = await explain(
    `select r.id from approval_requests r where r.id in (
       select request_id from approval_waits
       where account = $1 and member_key = $2 and ($3::text is null or request_id < $3)
       order by request_id desc limit $4)
     order by r.id desc`,
    ["main", ada.principal, null, 101],
  )
  expect(nodes.map((node) => node["Index Name"])).toContain("approval_waits_of_member")
  expect(rowsRead(nodes)).toBeLessThan(800)
  const seen = new Set<string>()
  let cursor: string | undefined
  do {
    const page: { items: Array<{ id: string }>; nextCursor?: string | undefined } = await fixture.call(
      ada.key,
      approvalRequestsList,
      { mine: "true", limit: 1_000, ...(cursor === undefined ? {} : { cursor }) },
    )
    for (const { id } of page.items) seen.add(id)
    cursor = page.nextCursor
  } while (cursor !== undefined)
  expect(seen.size).toBe(openRequests / 10 + 1)
}, 60_000)
