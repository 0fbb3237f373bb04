/** A mail server that is away, for an hour of the server's clock and across a restart of the server, on a whole server. */
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import type { ServerFixture } from "../../http/edge.fixture.ts"
import { MailServer } from "../notifications/mail-server.fixture.ts"
import { startApprovals, untilTrue, type ApprovalsFixture, type Member } from "./approvals.fixture.ts"

const minute = 60_000
const addresses = ["ada@example.org", "ben@example.org", "cy@example.org"]
const mailServer = new MailServer()
let fixture: ApprovalsFixture
let backend: Member
let running: ServerFixture

beforeAll(async () => {
  await mailServer.start()
  fixture = await startApprovals({
    mail: { url: mailServer.url, from: "Signalbox <signalbox@example.org>", startTls: "never" },
  })
  running = fixture.server
  backend = await fixture.member("shop", ["backend"])
  const { admin } = fixture
  await fixture.call(admin, approvalGroupsApply, { name: "leads", members: addresses.map((mail) => ({ mail })) })
  const level = { name: "only", group: "leads", strategy: { kind: "all" as const }, expiresAfter: "30d" }
  await fixture.call(admin, templatesApply, { name: "one", levels: [level] })
  await fixture.call(admin, associationsApply, { name: "one", template: "one", selector: { type: "purchase" } })
}, 60_000)
beforeEach(() => {
  mailServer.mails.length = 0
})
afterAll(async () => {
  await fixture.stop()
  await mailServer.stop()
})

interface Waiting {
  readonly attempts: number
  readonly isDue: boolean
  readonly state: string
}

async function deliveriesOf(request: string): Promise<Waiting[]> {
  return await fixture.server.test.database.query<Waiting>(
    `select attempts, state, claimed_until is not null or next_at <= to_timestamp($2::float8 / 1000) as "isDue"
     from deliveries where event->>'subject' = $1 order by id`,
    [request, fixture.clock.now()],
  )
}

/** Lets time go by, a minute at a time, and what is due be tried each time. */
async function pass(minutes: number, request: string): Promise<void> {
  for (let passed = 0; passed < minutes; passed++) {
    fixture.clock.advance(minute)
    await untilTrue(async () =>
      (await deliveriesOf(request)).every(({ isDue, state }) => !isDue || state !== "pending"),
    )
  }
}

const submit = () => fixture.submit(backend.key, { type: "purchase", title: "200 chairs", content: { chairs: 200 } })
const answeredMails = (request: string) =>
  mailServer.mails.filter(
    ({ text, isAnswered }) => isAnswered && text.replaceAll("=\n", "").includes(`show ${request}`),
  )

async function untilDelivered(request: string): Promise<void> {
  await untilTrue(async () => {
    const deliveries = await deliveriesOf(request)
    if (!deliveries.every(({ state }) => state === "delivered")) fixture.clock.advance(minute)
    return deliveries.length > 0 && deliveries.every(({ state }) => state === "delivered")
  })
}

test("A8: a mail server that dies after it has a mail, before it says so, gets that mail again under the same id", async () => {
  mailServer.diesAfterData = true
  const { id } = await submit()
  await untilTrue(async () => {
    const deliveries = await deliveriesOf(id)
    return deliveries.length === addresses.length && deliveries.every(({ attempts, isDue }) => attempts === 1 && !isDue)
  })
  expect(mailServer.mails.flatMap(({ to }) => to).sort()).toEqual(addresses)
  mailServer.diesAfterData = false
  await untilDelivered(id)
  expect(
    answeredMails(id)
      .flatMap(({ to }) => to)
      .sort(),
  ).toEqual(addresses)
  const idsOf = (isAnswered: boolean) =>
    mailServer.mails
      .filter((mail) => mail.isAnswered === isAnswered)
      .map(({ messageId }) => messageId)
      .sort()
  expect(idsOf(true)).toEqual(idsOf(false))
}, 180_000)

test("A8, A12: away for an hour and across a restart: each mail arrives afterwards, once", async () => {
  await mailServer.stop()
  const { id } = await submit()
  await untilTrue(async () => {
    const deliveries = await deliveriesOf(id)
    return deliveries.length === addresses.length && deliveries.every(({ attempts, isDue }) => attempts === 1 && !isDue)
  })
  await pass(40, id)
  await running.halt()
  const next = await fixture.server.another()
  running = next
  await pass(25, id)
  const tried = await deliveriesOf(id)
  expect(tried.map(({ state }) => state)).toEqual(addresses.map(() => "pending"))
  for (const { attempts } of tried) expect(attempts).toBeGreaterThanOrEqual(5)
  expect(mailServer.mails).toEqual([])
  await mailServer.start()
  await untilDelivered(id)
  const mails = answeredMails(id)
  expect(mails.flatMap(({ to }) => to).sort()).toEqual(addresses)
  expect(new Set(mails.map(({ messageId }) => messageId)).size).toBe(addresses.length)
  // Nothing is left that could come later.
  await pass(3, id)
  expect(mailServer.mails).toHaveLength(addresses.length)
}, 180_000)
