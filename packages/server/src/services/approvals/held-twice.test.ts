/** A held call that two workers have at once, one of which is refused: what they record is what happened. */
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { windowsGet } from "@signalbox/contracts/calendars/windows"
import { HeldPoint } from "@signalbox/testkit/held-point"
import { afterAll, beforeAll, expect, test } from "vitest"
import { addJob } from "../../storage/background-queue.ts"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

let fixture: ApprovalsFixture
let ada: Member
let caller: Member
const points: HeldPoint[] = []

beforeAll(async () => {
  fixture = await startApprovals()
  ada = await fixture.member("ada", ["approver"])
  caller = await fixture.member("caller", ["admin"])
  const { admin } = fixture
  await fixture.call(admin, approvalGroupsApply, { name: "leads", members: [{ principal: ada.principal }] })
  const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
  await fixture.call(admin, templatesApply, { name: "one", levels })
  const selector = { operation: "windows.apply" }
  await fixture.call(admin, associationsApply, { name: "windows", template: "one", selector })
}, 60_000)
afterAll(async () => {
  for (const point of points) await point.release()
  await fixture.stop()
})

test("A7: whoever is refused waits for who is at it, and records that it ran", async () => {
  const { server, admin } = fixture
  const { connection, database } = server.test
  const spec = { cron: "0 3 * * *", zone: "UTC", duration: "2h" }
  let held = await server.call(caller.key, "PUT", "/v1/windows/night", spec)
  expect(held.status, JSON.stringify(held.body)).toBe(202)
  const request = String(held.body["requestUrl"]).replace(/^.*\//, "")
  const { digest } = await fixture.call(admin, approvalRequestsGet, { request })
  const windows = await HeldPoint.onTable(connection, "maintenance_windows")
  points.push(windows)
  await fixture.call(ada.key, approvalRequestsApprove, { request, digest })
  await windows.untilReached("maintenance_windows")
  // Its caller goes while the call is under way, and the queue asks for it a second time.
  held = await server.call(admin, "POST", `/v1/service-accounts/${caller.principal}:disable`, {})
  expect(held.status, JSON.stringify(held.body)).toBe(200)
  await untilTrue(async () => (await server.call(caller.key, "GET", "/v1/auth/whoami")).status === 401)
  await addJob(database, { task: "approvals.run-held", key: request, payload: { account: "main", requestId: request } })
  await windows.untilReached("from held_operations")
  expect((await fixture.call(admin, heldOperationsGet, { request })).state).toBe("approved")
  points.pop()
  await windows.release()
  await untilTrue(async () => (await fixture.call(admin, heldOperationsGet, { request })).state !== "approved")
  expect(await fixture.call(admin, heldOperationsGet, { request })).toMatchObject({
    state: "done",
    result: { name: "night", version: 1 },
  })
  expect(await fixture.call(admin, windowsGet, { name: "night" })).toMatchObject({ version: 1 })
  const events = await fixture.eventsOf(request)
  expect(events.filter((type) => /\.(?:ran|run-failed)$/.test(type))).toEqual(["approval-request.ran"])
}, 120_000)
