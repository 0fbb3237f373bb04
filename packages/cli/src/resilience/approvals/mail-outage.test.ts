import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsSubmit } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { MailServer } from "@signalbox/server/services/notifications/mail-server.fixture"
import { afterAll, beforeAll, expect, test } from "vitest"
import { done, openApprovals, type ApprovalsInstallation } from "./approvals-installation.fixture.ts"

/**
 * A mail server that is down while the server is killed and started again. An hour of it, by the server's clock:
 * packages/server/src/services/approvals/mail-outage.test.ts.
 */
const addresses = ["ben@example.org", "cy@example.org"]
const mailServer = new MailServer()
let world: ApprovalsInstallation
const timeoutMilliseconds = 300_000

beforeAll(async () => {
  await mailServer.start()
  const from = ["--smtp-starttls", "never", "--smtp-from", "Signalbox <signalbox@example.org>"]
  world = await openApprovals(["--smtp-url", mailServer.url, ...from])
  const { client } = world.installation
  done(await client.call(approvalGroupsApply, { name: "outside", members: addresses.map((mail) => ({ mail })) }))
  const levels = [{ name: "only", group: "outside", strategy: { kind: "all" as const } }]
  done(await client.call(templatesApply, { name: "outside", levels }))
  done(await client.call(associationsApply, { name: "outside", template: "outside", selector: { type: "outside" } }))
}, timeoutMilliseconds)
afterAll(async () => {
  await world.stop()
  await mailServer.stop()
}, timeoutMilliseconds)

test(
  "A8: mails that could not leave before a kill -9 leave after it, once each",
  async () => {
    await mailServer.stop()
    const asked = { type: "outside", title: "200 chairs", content: {} }
    const { id } = done(await world.as("shop").call(approvalRequestsSubmit, asked))
    const waiting = async () =>
      await world.database.database.query<{ state: string; attempts: number; isClaimed: boolean }>(
        `select state, attempts, claimed_until is not null as "isClaimed" from deliveries where event->>'subject' = $1`,
        [id],
      )
    await world.installation.eventually("both mails to have failed", async () => {
      const rows = await waiting()
      return rows.length === 2 && rows.every(({ attempts, isClaimed }) => attempts > 0 && !isClaimed)
    })
    await world.installation.server.end("SIGKILL")
    await mailServer.start()
    await world.start()
    const delivered = async () => (await waiting()).every(({ state }) => state === "delivered")
    await world.installation.eventually("both mails", delivered, timeoutMilliseconds / 2)
    expect(mailServer.mails.flatMap(({ to }) => to).sort()).toEqual(addresses)
    expect(new Set(mailServer.mails.map(({ messageId }) => messageId)).size).toBe(2)
  },
  timeoutMilliseconds,
)
