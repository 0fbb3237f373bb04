/** Calls while a change calendar is closed: refused, held for the freeze's own approvers, or past the broken glass. */
import { breakGlassReviewsList } from "@signalbox/contracts/calendars/break-glass-reviews"
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

let approvals: ApprovalsFixture
let regular: Member
let board: Member
let sequence = 0

beforeAll(async () => {
  approvals = await startApprovals()
  regular = await approvals.key("regular", ["approver"])
  board = await approvals.key("board", ["approver"])
  for (const [name, { principal }] of Object.entries({ regular, board })) {
    await apply("approval-groups", name, { members: [{ principal }] })
    await apply("approval-templates", name, { levels: [{ name: "one", group: name, strategy: { kind: "any" } }] })
  }
})
afterAll(() => approvals.stop())

async function apply(kind: string, name: string, body: object): Promise<void> {
  const answer = await approvals.server.call(approvals.admin, "PUT", `/v1/${kind}/${name}`, body)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
}

/** Closed for a day around the fixture's clock. */
async function closeCalendar(freezeTemplate?: string): Promise<void> {
  const stamp = (at: number) => new Date(at).toISOString().replaceAll(/[-:]|\.\d+/g, "")
  const now = approvals.clock.now()
  const document = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//test//EN",
    "BEGIN:VEVENT",
    "UID:freeze@example.org",
    `DTSTAMP:${stamp(now)}`,
    `DTSTART:${stamp(now - 3_600_000)}`,
    `DTEND:${stamp(now + 86_400_000)}`,
    "SUMMARY:year end",
    "END:VEVENT",
    "END:VCALENDAR",
    "",
  ].join("\r\n")
  await apply("calendars", "freeze", {
    document,
    holds: [{ operations: ["windows.*"] }],
    ...(freezeTemplate === undefined ? {} : { freezeTemplate }),
  })
}

async function change(
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${approvals.server.url}/v1/windows/window-${++sequence}`, {
    method: "PUT",
    headers: {
      ...{ authorization: `Bearer ${approvals.admin}`, "content-type": "application/json" },
      ...{ "idempotency-key": `frozen-${sequence}`, ...headers },
    },
    body: JSON.stringify({ cron: "0 3 * * *", zone: "UTC", duration: "2h" }),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

const idOf = ({ body }: { body: Record<string, unknown> }) => String(body["requestUrl"]).replace(/^.*\//, "")

async function approve(by: Member, request: string): Promise<void> {
  const { digest } = await approvals.call(approvals.admin, approvalRequestsGet, { request })
  await approvals.call(by.key, approvalRequestsApprove, { request, digest })
}

async function heldState(request: string): Promise<unknown> {
  return (await approvals.server.call(approvals.admin, "GET", `/v1/held-operations/${request}`)).body["state"]
}

async function reviewsCount(): Promise<number> {
  return (await approvals.call(approvals.admin, breakGlassReviewsList, {})).items.length
}

describe("A15: a closed change calendar", () => {
  test("without approvers of its own refuses what it holds, and says until when", async () => {
    await closeCalendar()
    const refused = await change()
    expect(refused).toMatchObject({ status: 409, body: { code: "calendars.closed" } })
    expect(String(refused.body["detail"])).toContain("year end")
  })

  test("holds a call for its own approvers, beside the regular ones", async () => {
    await closeCalendar("board")
    const alone = await change()
    expect(alone.status).toBe(202)
    await approve(board, idOf(alone))
    await untilTrue(async () => (await heldState(idOf(alone))) === "done")

    await apply("associations", "windows", { template: "regular", selector: { operation: "windows.*" } })
    const both = await change()
    await approve(regular, idOf(both))
    expect(await heldState(idOf(both))).toBe("waiting")
    await approve(board, idOf(both))
    await untilTrue(async () => (await heldState(idOf(both))) === "done")
  })

  test("is passed by with a reason, never without the regular approvers, and looked at afterwards", async () => {
    await closeCalendar("board")
    await approvals.server.call(approvals.admin, "DELETE", "/v1/associations/windows")
    const before = await reviewsCount()
    expect((await change({ "signalbox-break-glass": "the site is down" })).status).toBe(200)
    expect(await reviewsCount()).toBe(before + 1)
    await apply("associations", "windows", { template: "regular", selector: { operation: "windows.*" } })
    const held = await change({ "signalbox-break-glass": "the site is down again" })
    expect(held.status).toBe(202)
    expect(await reviewsCount()).toBe(before + 2)
    await approve(regular, idOf(held))
    await untilTrue(async () => (await heldState(idOf(held))) === "done")
  })

  test("that closes between approval and run keeps the call until it opens", async () => {
    await approvals.server.call(approvals.admin, "DELETE", "/v1/calendars/freeze")
    await apply("associations", "windows", { template: "regular", selector: { operation: "windows.*" } })
    const held = await change()
    expect(held.status).toBe(202)
    await closeCalendar("board")
    await approve(regular, idOf(held))
    await untilTrue(async () => (await heldState(idOf(held))) === "approved")
    expect((await approvals.server.call(approvals.admin, "GET", `/v1/windows/window-${sequence}`)).status).toBe(404)
  })
})
