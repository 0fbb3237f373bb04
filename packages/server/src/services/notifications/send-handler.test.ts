import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { channelsApply, deliveriesGet, deliveriesList } from "@signalbox/contracts/notifications/operations"
import { deliveriesSend } from "@signalbox/contracts/notifications/sending"
import { afterAll, beforeAll, expect, test } from "vitest"
import {
  eventually,
  HookReceiver,
  MailReceiver,
  startNotifications,
  type NotificationsFixture,
} from "./notifications.fixture.ts"

const hooks = new HookReceiver()
const mails = new MailReceiver()
let fixture: NotificationsFixture
let directory = ""

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox send "))
  await mails.start(directory)
  fixture = await startNotifications({
    mail: { url: mails.url, from: "signalbox@example.org", startTls: "require", caPem: mails.caPem },
  })
  await fixture.call(channelsApply, {
    name: "backend",
    via: "webhook",
    url: await hooks.start(),
    signingSecret: "hook-key",
  })
})

afterAll(async () => {
  await fixture.stop()
  await hooks.stop()
  await mails.stop()
  await rm(directory, { recursive: true })
})

const event = {
  id: "evt_1",
  type: "approval-request.approved",
  subject: "apr_1",
  subjectVersion: 4,
  time: "2026-11-22T08:00:00Z",
  data: { request: "apr_1", result: "approved" },
}

function send(to: { channel: string } | { mail: string }, dedupeKey: string, message: object = {}) {
  return fixture.send(deliveriesSend, { to, dedupeKey, event, message: { title: "Approved", ...message } })
}

test("A12: what a service sends to a webhook is the event, signed, once for each dedupe key", async () => {
  const first = await send({ channel: "backend" }, "result:apr_1")
  const second = await send({ channel: "backend" }, "result:apr_1")
  expect([first.isNew, second.isNew, second.delivery]).toEqual([true, false, first.delivery])
  await eventually(async () => {
    const { state } = await fixture.call(deliveriesGet, { delivery: first.delivery })
    return state === "delivered"
  })
  expect(hooks.calls).toHaveLength(1)
  expect(hooks.calls[0]?.headers["webhook-id"]).toBe(first.delivery)
  const { subjectVersion, ...rest } = event
  expect(JSON.parse(hooks.calls[0]?.body ?? "")).toMatchObject({
    ...rest,
    subjectversion: subjectVersion,
    time: "2026-11-22T08:00:00.000Z",
  })
})

test("A8: a mail goes to one address with its own text and HTML, and nobody else can read it", async () => {
  const message = { text: "open https://x/l/secret-link", html: "<a href='https://x/l/secret-link'>x</a>" }
  const sent = await send({ mail: "ada@example.org" }, "mail:apr_1:ada", { ...message, confidential: true })
  const mail = await eventually(() => mails.mails[0])
  expect(mail.to).toEqual(["ada@example.org"])
  expect(mail.text).toContain("secret-link")
  const details = await fixture.call(deliveriesGet, { delivery: sent.delivery })
  expect(details).toMatchObject({ channel: "mailto:ada@example.org", via: "mail" })
  expect(JSON.stringify(details)).not.toContain("secret-link")
  const rows = await fixture.test.database.query("select * from deliveries")
  expect(JSON.stringify(rows)).not.toContain("secret-link")
  const { items } = await fixture.call(deliveriesList, { channel: "backend" })
  expect(items).toHaveLength(1)
})

test("a channel that doesn't exist is refused; operators can't send in a service's name", async () => {
  await expect(send({ channel: "nowhere" }, "result:apr_2")).rejects.toMatchObject({
    code: "notifications.channel-not-found",
  })
  await expect(
    fixture.call(deliveriesSend, {
      to: { channel: "backend" },
      dedupeKey: "result:apr_3",
      event,
      message: { title: "x" },
    }),
  ).rejects.toMatchObject({ code: "identity.permission-denied" })
})
