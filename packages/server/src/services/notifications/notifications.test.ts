import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  channelsApply,
  channelsGet,
  channelsList,
  channelsRemove,
  channelsTest,
  deliveriesGet,
  deliveriesList,
  deliveriesRedeliver,
  notificationLimits,
  subscriptionsApply,
  subscriptionsGet,
  subscriptionsList,
} from "@signalbox/contracts/notifications/operations"
import { secretsPut } from "@signalbox/contracts/secrets/operations"
import type { CallInputOf } from "@signalbox/contracts/operation"
import { settleOutbox } from "@signalbox/testkit/settle-outbox"
import { Webhook } from "standardwebhooks"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { progressExpander } from "../workflows/progress-event.ts"
import { removeOldDeliveries } from "./delivery-store.ts"
import { deliveryLimits } from "./notification-limits.ts"
import {
  eventually,
  HookReceiver,
  MailReceiver,
  signingKey,
  startNotifications,
  type NotificationsFixture,
  type ReceivedCall,
} from "./notifications.fixture.ts"

let directory: string
let mail: MailReceiver
let hooks: HookReceiver
let hookUrl: string
let fixture: NotificationsFixture

const slackUrl = "/services/T000/B000/very-secret-part"

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox mail "))
  mail = new MailReceiver()
  hooks = new HookReceiver()
  await mail.start(directory)
  hookUrl = await hooks.start()
  fixture = await startNotifications({
    mail: { url: mail.url, from: "Signalbox <signalbox@example.org>", startTls: "require", caPem: mail.caPem },
    expanders: new Map([[progressExpander.type, progressExpander]]),
  })
  await fixture.call(secretsPut, { name: "slack-url", value: `${hookUrl}${slackUrl}` })
})

afterAll(async () => {
  await fixture.stop()
  await hooks.stop()
  await mail.stop()
  await rm(directory, { recursive: true })
})

beforeEach(async () => {
  hooks.answer = () => ({ status: 204 })
  hooks.calls.length = 0
  mail.mails.length = 0
  const { database } = fixture.test
  await database.query("update subscriptions set enabled = false")
})

let count = 0

interface Subscribed {
  readonly name: string
  /** What came in at the channel's own path. */
  calls(): ReceivedCall[]
  deliveries(): Promise<Array<{ id: string; state: string; title: string; attempts: number }>>
}

/** A channel of its own for a test, a webhook unless told, and the subscription to it. */
async function subscribe(
  subscription: Omit<CallInputOf<typeof subscriptionsApply>, "name" | "channel">,
  channel?: Omit<CallInputOf<typeof channelsApply>, "name">,
): Promise<Subscribed> {
  count += 1
  const name = `test-${count}`
  const webhook = { via: "webhook", url: `${hookUrl}/${name}`, signingSecret: "hook-key" } as const
  await fixture.call(channelsApply, { name, ...(channel ?? webhook) })
  await fixture.call(subscriptionsApply, { name, channel: name, ...subscription })
  return {
    name,
    calls: () => hooks.calls.filter(({ path }) => path === `/${name}`),
    deliveries: async () => (await fixture.call(deliveriesList, { subscription: name })).items,
  }
}

const wholeRun = {
  id: "exe_night",
  state: "failed" as const,
  reason: "stopped by itself: 4 of 40 targets failed, 3 tolerated",
  workflow: { name: "web-config", version: 3 },
  targets: { text: "role=web", count: 40 },
  createdBy: "key:key_operator",
  counts: { succeeded: 10, failed: 3, unreachable: 1, rolledBack: 2, rollbackFailed: 1, neverStarted: 26 },
}

describe("X9: an event notifies", () => {
  it("by mail, encrypted: an execution that trips says what ran, why it stopped, the counts, who, and where to look", async () => {
    fixture.executions.set("exe_night", wholeRun as never)
    await subscribe({ events: ["execution.tripped"] }, { via: "mail", to: ["night@example.org", "boss@example.org"] })
    await fixture.emit("execution.tripped", { subject: "exe_night", data: { execution: "running" } })
    const received = await eventually(() => mail.mails[0])
    expect(received).toMatchObject({
      from: "signalbox@example.org",
      to: ["night@example.org", "boss@example.org"],
      isEncrypted: true,
      user: "signalbox",
    })
    const text = received.text.replaceAll("=\r\n", "")
    expect(text).toMatch(/Subject: \[Signalbox\] web-config tripped: stopped by itself: 4 of/)
    expect(text).toContain("multipart/alternative")
    expect(text).toContain("text/html")
    for (const said of [
      /Why: +stopped by itself: 4 of 40 targets failed, 3 tolerated/,
      /Targets: +10 of 40 ok/,
      /Failed: +3 failed, 1 unreachable/,
      /Put back: +2 rolled back, 1 could not be rolled back/,
      /Never started: +26/,
      /Started by: +key:key_operator/,
      /signalbox why exe_night/,
      /https:\/\/signalbox\.test\/v1\/executions\/exe_night/,
      /Auto-Submitted: auto-generated/i,
    ])
      expect(text).toMatch(said)
  })

  it("by webhook: the CloudEvent, signed by Standard Webhooks", async () => {
    const { calls, deliveries } = await subscribe({ events: ["node.*"] })
    const id = await fixture.emit("node.enrolled", { subject: "nod_1", data: { name: "web-1" } })
    const call = await eventually(() => calls()[0])
    expect(new Webhook(signingKey).verify(call.body, call.headers)).toMatchObject({
      specversion: "1.0",
      id,
      type: "node.enrolled",
      source: "/accounts/main",
      subject: "nod_1",
      cause: "req_1",
      data: { name: "web-1" },
    })
    expect(() => new Webhook(signingKey).verify(call.body.replace("web-1", "web-2"), call.headers)).toThrow(
      /signature/i,
    )
    expect(call.headers["content-type"]).toBe("application/cloudevents+json")
    const [delivery] = await eventually(async () => {
      const found = await deliveries()
      return found[0]?.state === "delivered" && found
    })
    expect(delivery).toMatchObject({ title: "node.enrolled: nod_1", attempts: 1 })
    const details = await fixture.call(deliveriesGet, { delivery: delivery?.id ?? "" })
    expect(details.tries).toEqual([expect.objectContaining({ answer: "HTTP 204", failed: false })])
    expect(details.text).toContain("web-1")
  })

  it("by Slack and Teams, in their formats, with what people wrote taken as text", async () => {
    fixture.executions.set("exe_chat", { ...wholeRun, id: "exe_chat", reason: "<!channel> & more" } as never)
    const events = ["execution.failed"]
    await subscribe({ events }, { via: "slack", urlSecret: "slack-url" })
    await subscribe({ events }, { via: "teams", urlSecret: "slack-url" })
    await fixture.emit("execution.failed", { subject: "exe_chat" })
    const posted = () => hooks.calls.filter(({ path }) => path === slackUrl)
    await eventually(() => posted().length === 2)
    const bodies = posted().map(({ body }) => JSON.parse(body) as Record<string, unknown>)
    const slack = bodies.find((body) => "blocks" in body)
    expect(slack?.["text"]).toBe(":rotating_light: web-config failed: &lt;!channel&gt; &amp; more")
    expect(JSON.stringify(slack)).toContain("*Never started*\\n26")
    const teams = bodies.find((body) => "attachments" in body)
    expect(teams).toMatchObject({
      type: "message",
      attachments: [
        {
          contentType: "application/vnd.microsoft.card.adaptive",
          content: {
            type: "AdaptiveCard",
            body: [
              { text: "web-config failed: <!channel> & more", color: "Attention" },
              { type: "FactSet", facts: expect.arrayContaining([{ title: "Never started", value: "26" }]) },
              { text: "signalbox why exe_chat" },
            ],
            actions: [{ url: "https://signalbox.test/v1/executions/exe_chat" }],
          },
        },
      ],
    })
  })

  it("each event of a batch, and no job is made for what nobody takes", async () => {
    const { deliveries } = await subscribe({ events: ["task.finished"], when: "event.data.state == 'failed'" })
    const change = { attempt: 1, rollback: "none", class: "command" }
    await fixture.emit("execution.progressed", {
      subject: "exe_00000000000000000000000000",
      data: {
        batch: {
          started: [0, 3],
          changes: [
            { ...change, state: "failed", ordinals: [0, 2] },
            { ...change, state: "succeeded", class: null, ordinals: [1] },
          ],
        },
      },
    })
    await eventually(async () => (await deliveries()).length === 2)
    const subjects = (await fixture.call(deliveriesList, {})).items.slice(0, 2).map((item) => item.event.subject)
    expect(subjects.toSorted()).toEqual(["tsk_00000000000000000000000000_0", "tsk_00000000000000000000000000_2"])
  })
})

describe("a subscription", () => {
  it("takes only events of its patterns for which its condition holds, from its making on, of its account", async () => {
    const early = await fixture.emit("workflow.applied", { subject: "early" })
    await settleOutbox(fixture.test.database)
    const when = "has(event.data.name) && event.data.name.startsWith('web-') && event.depth == 1"
    const { calls, deliveries } = await subscribe({ events: ["workflow.*", "group.put"], when })
    await fixture.emit("workflow.applied", { subject: "no", data: { name: "db-1" } })
    await fixture.emit("workflow.applied", { subject: "none" })
    await fixture.emit("key.created", { subject: "other type", data: { name: "web-1" } })
    await fixture.emit("workflow.applied", { subject: "other account", data: { name: "web-1" }, account: "other" })
    await fixture.emit("workflow.applied", { subject: "yes", data: { name: "web-1" } })
    await fixture.emit("group.put", { subject: "last", data: { name: "web-2" } })
    await eventually(() => calls().length >= 2)
    const subjects = calls().map(({ body }) => (JSON.parse(body) as { subject: string }).subject)
    expect(subjects.toSorted()).toEqual(["last", "yes"])
    expect(JSON.stringify(await deliveries())).not.toContain(early)
    expect((await fixture.call(deliveriesList, {}, "other")).items).toEqual([])
  })

  it("whose condition fails on an event delivers nothing, and shows why", async () => {
    const { name, calls } = await subscribe({ events: ["key.*"], when: "event.data.count > 3" })
    await fixture.emit("key.created", { subject: "key_1", data: { name: "x" } })
    const shown = await eventually(async () => {
      const found = await fixture.call(subscriptionsGet, { name })
      return found.lastError !== undefined && found
    })
    expect(shown.lastError).toMatch(/key\.created.*no field "count"; guard it with has/)
    expect(calls()).toEqual([])
  })

  it("is refused with a bad condition, an unknown channel, or a throttle's group without a throttle", async () => {
    await fixture.call(channelsApply, { name: "some", via: "webhook", url: hookUrl, signingSecret: "hook-key" })
    const apply = (more: object) =>
      fixture.call(subscriptionsApply, { name: "bad", channel: "some", events: ["*"], ...more })
    await expect(apply({ when: "evnt.type == 'x'" })).rejects.toMatchObject({
      code: "expressions.invalid",
      message: expect.stringContaining("did you mean event?"),
      issues: [{ path: "when", line: 1, column: 1 }],
    })
    await expect(apply({ when: "event.type" })).rejects.toMatchObject({ code: "expressions.invalid" })
    await expect(apply({ throttleBy: "event.subject" })).rejects.toMatchObject({ code: "request.invalid-input" })
    await expect(apply({ throttle: "30d" })).rejects.toMatchObject({ code: "request.invalid-input" })
    await expect(apply({ channel: "nowhere" })).rejects.toMatchObject({ code: "notifications.channel-not-found" })
  })

  it("with a throttle delivers one of a group, and says with the next how many it held back", async () => {
    const { name, deliveries } = await subscribe({
      events: ["secret.put"],
      throttle: "1h",
      throttleBy: "event.subject",
    })
    for (let round = 0; round < 3; round++) {
      await fixture.emit("secret.put", { subject: "a" })
      await fixture.emit("secret.put", { subject: "b" })
    }
    const heldBack = "select sum(held_back)::int as held from deliveries where subscription = $1"
    const { database } = fixture.test
    await eventually(async () => (await database.query<{ held: number }>(heldBack, [name]))[0]?.held === 4)
    expect(await deliveries()).toHaveLength(2)
    await database.query("update deliveries set created_at = created_at - interval '2 hours' where subscription = $1", [
      name,
    ])
    await fixture.emit("secret.put", { subject: "a" })
    await eventually(async () => (await deliveries()).length === 3)
    const [newest] = (await fixture.call(deliveriesList, { subscription: name })).items
    expect(newest).toMatchObject({ event: { subject: "a" }, suppressed: 2 })
    const { text } = await fixture.call(deliveriesGet, { delivery: newest?.id ?? "" })
    expect(text).toContain("2 more events were held back")
  })

  it("keeps to no throttle that a clock which was wrong has put into the future", async () => {
    const { name, deliveries } = await subscribe({ events: ["group.removed"], throttle: "1h" })
    await fixture.emit("group.removed")
    await eventually(async () => (await deliveries()).length === 1)
    await fixture.test.database.query(
      "update deliveries set created_at = created_at + interval '1 year' where subscription = $1",
      [name],
    )
    await fixture.emit("group.removed")
    await eventually(async () => (await deliveries()).length === 2)
    await fixture.test.database.query("update deliveries set created_at = now() where subscription = $1", [name])
  })

  it("is told from its making on by the clock that stamps events, whatever the server's says", async () => {
    let ahead = 0
    const clock = { now: () => Date.now() + ahead }
    const wrong = await startNotifications({ clock })
    try {
      ahead = 3_600_000
      await wrong.call(channelsApply, { name: "c", via: "webhook", url: hookUrl, signingSecret: "hook-key" })
      await wrong.call(subscriptionsApply, { name: "s", channel: "c", events: ["node.enrolled"] })
      await wrong.emit("node.enrolled")
      await eventually(async () => (await wrong.call(deliveriesList, {})).items.length === 1)
    } finally {
      await wrong.stop()
    }
  })

  it("the same applied again changes nothing", async () => {
    const { name } = await subscribe({ events: ["group.*"], throttle: "90s", description: "who cares" })
    const same = { name, channel: name, events: ["group.*"], throttle: "PT90S", description: "who cares" }
    expect(await fixture.call(subscriptionsApply, same)).toMatchObject({ changed: false, version: 1 })
    expect(await fixture.call(subscriptionsApply, { ...same, enabled: false })).toMatchObject({ version: 2 })
  })
})

describe("a delivery", () => {
  it("that fails is tried again until the receiver has recovered, with the same webhook-id", async () => {
    const { calls, deliveries } = await subscribe({ events: ["node.removed"] })
    hooks.answer = () => ({ status: calls().length < 3 ? 503 : 200 })
    await fixture.emit("node.removed", { subject: "nod_9" })
    await eventually(async () => (await deliveries())[0]?.state === "delivered")
    expect(new Set(calls().map(({ headers }) => headers["webhook-id"])).size).toBe(1)
    const [{ id } = { id: "" }] = await deliveries()
    const { tries, attempts } = await fixture.call(deliveriesGet, { delivery: id })
    expect([attempts, tries.map(({ answer }) => answer)]).toEqual([3, ["HTTP 503", "HTTP 503", "HTTP 200"]])
  })

  it("that fails too often is dead, which is an event; sent again by hand it is a new one", async () => {
    const dead = await subscribe({ events: ["node.held"] })
    const told = await subscribe({ events: ["delivery.dead"] })
    hooks.answer = ({ path }) => ({ status: path === `/${dead.name}` ? 500 : 200 })
    await fixture.emit("node.held", { subject: "nod_dead" })
    const [gone] = await eventually(async () => {
      const found = (await fixture.call(deliveriesList, { subscription: dead.name, state: "dead" })).items
      return found.length > 0 && found
    })
    expect(gone).toMatchObject({ state: "dead", attempts: 4, lastError: "HTTP 500" })
    await eventually(async () => (await told.deliveries())[0]?.state === "delivered")

    hooks.answer = () => ({ status: 200 })
    const again = await fixture.call(deliveriesRedeliver, { delivery: gone?.id ?? "" })
    expect(again).toMatchObject({ state: "pending", redeliveryOf: gone?.id, attempts: 0 })
    const sent = await eventually(async () => {
      const found = await fixture.call(deliveriesGet, { delivery: again.id })
      return found.state === "delivered" && found
    })
    expect(sent.event).toEqual(gone?.event)
    const ids = dead.calls().map(({ headers }) => headers["webhook-id"])
    expect([ids.length, new Set(ids).size]).toEqual([5, 1])
    expect((await fixture.call(deliveriesGet, { delivery: gone?.id ?? "" })).state).toBe("dead")
  })

  it("ends at once where no further try can help: a receiver that is gone, a mailbox that doesn't exist", async () => {
    hooks.answer = () => ({ status: 410 })
    mail.refused = new Set(["nobody@example.org"])
    const gone = await subscribe({ events: ["window.created"] })
    const unknown = await subscribe({ events: ["window.created"] }, { via: "mail", to: ["nobody@example.org"] })
    const inside = await subscribe(
      { events: ["window.created"] },
      { via: "webhook", url: "http://169.254.169.254/latest", signingSecret: "hook-key" },
    )
    await fixture.emit("window.created", { subject: "win_1" })
    for (const { deliveries } of [gone, unknown, inside])
      expect(await eventually(async () => (await deliveries()).find(({ state }) => state === "dead"))).toMatchObject({
        attempts: 1,
      })
  })

  it("is made once for an event that is handled twice", async () => {
    const { calls, deliveries } = await subscribe({ events: ["schedule.paused"] })
    const event = await fixture.emit("schedule.paused", { subject: "sch_1" })
    await eventually(async () => (await deliveries())[0]?.state === "delivered")
    const { database } = fixture.test
    await database.query("update consumer set cursor = null where name = 'notifications.events'")
    await fixture.emit("schedule.paused", { subject: "sch_2" })
    await eventually(async () => (await deliveries()).length === 2)
    expect(calls().filter(({ body }) => body.includes(event))).toHaveLength(1)
  })

  it("is tried by nobody while another server has it, and again once that one's time is over", async () => {
    const { name, calls, deliveries } = await subscribe({ events: ["schedule.resumed"] })
    await fixture.emit("schedule.resumed", { subject: "sch_3" })
    await eventually(async () => (await deliveries())[0]?.state === "delivered")
    const { database } = fixture.test
    await database.query(
      `update deliveries set state = 'pending', finished_at = null, next_at = now() - interval '5 minutes',
         claimed_until = now() + interval '1 minute' where subscription = $1`,
      [name],
    )
    const after = await subscribe({ events: ["schedule.removed"] })
    await fixture.emit("schedule.removed", { subject: "sch_4" })
    await eventually(() => after.calls().length === 1)
    expect(calls()).toHaveLength(1)
    await database.query("update deliveries set claimed_until = now() - interval '1 second' where subscription = $1", [
      name,
    ])
    await eventually(() => calls().length === 2)
  })

  it("waits for its channel: a receiver that hangs gets its share and no more, and holds up nobody, however many wait", async () => {
    const hanging = await subscribe({ events: ["schedule.fired"] })
    const quick = await subscribe({ events: ["schedule.created"] })
    let answer = (): void => undefined
    const answered = new Promise<void>((resolve) => (answer = resolve))
    hooks.answer = ({ path }) =>
      path === `/${hanging.name}` ? answered.then(() => ({ status: 204 })) : { status: 204 }
    const { database } = fixture.test
    const waiting = 2 * deliveryLimits.windowMax
    await database.query(
      `insert into deliveries (id, account, state, channel, via, subscription, message_id, event, message, cause, depth,
         created_at, next_at)
       select 'dlv_hung_' || n, 'main', 'pending', $1, 'webhook', $1, 'm' || n, '{"id": "e", "type": "t", "subject": "s"}',
         '{"title": "t", "severity": "notice", "facts": [["a", "b"]]}', 'c', 0, now(), now() - interval '5 minutes'
       from generate_series(1, $2::int) n`,
      [hanging.name, waiting],
    )
    await eventually(() => hanging.calls().length >= deliveryLimits.channelSendsMax)
    await fixture.emit("schedule.created", { subject: "sch_5" })
    await eventually(() => quick.calls().length === 1)
    expect(hanging.calls()).toHaveLength(deliveryLimits.channelSendsMax)
    await database.query(
      "delete from deliveries where id like 'dlv_hung_%' and claimed_until is null and id > 'dlv_hung_3'",
    )
    answer()
    const left = "select count(*)::int as count from deliveries where subscription = $1 and state <> 'delivered'"
    await eventually(async () => (await database.query<{ count: number }>(left, [hanging.name]))[0]?.count === 0)
  })

  it("is dropped and counted where too many of its channel wait", async () => {
    const { name, deliveries } = await subscribe({ events: ["account.created"] })
    await fixture.test.database.query(
      `insert into deliveries (id, account, state, channel, via, message_id, event, message, cause, depth, created_at)
       select 'dlv_full_' || n, 'main', 'pending', $1, 'webhook', 'm', '{}', '{}', 'c', 0, now()
       from generate_series(1, $2::int) n`,
      [name, notificationLimits.pendingMax],
    )
    await fixture.emit("account.created", { subject: "acc_1" })
    await eventually(async () => (await fixture.call(channelsGet, { name })).dropped === 1)
    expect(await deliveries()).toEqual([])
    await fixture.test.database.query("delete from deliveries where id like 'dlv_full_%'")
  })

  it("is removed after its retention", async () => {
    const { database } = fixture.test
    const before = Date.now() + 60_000
    expect(await removeOldDeliveries(database, { before: 0, limit: 10 })).toBe(0)
    while ((await removeOldDeliveries(database, { before, limit: 10 })) > 0);
    expect((await fixture.call(deliveriesList, { state: "delivered" })).items).toEqual([])
  })
})

describe("a channel", () => {
  it("is tested by a message of its own", async () => {
    await fixture.call(channelsApply, { name: "hello", via: "mail", to: ["me@example.org"] })
    const { id, state } = await fixture.call(channelsTest, { name: "hello" })
    expect(state).toBe("pending")
    const received = await eventually(() => mail.mails[0])
    expect(received.text).toContain("Test of the channel hello")
    await eventually(async () => (await fixture.call(deliveriesGet, { delivery: id })).state === "delivered")
  })

  it("names its secrets; no list, no delivery, no error and no row shows one", async () => {
    const { name, deliveries } = await subscribe({ events: ["task.started"] }, { via: "slack", urlSecret: "slack-url" })
    hooks.answer = () => ({ status: 403 })
    await fixture.emit("task.started", { subject: "tsk_1" })
    const [dead] = await eventually(async () => {
      const found = await deliveries()
      return found[0]?.state === "dead" && found
    })
    const shown = [
      await fixture.call(channelsList, {}),
      await fixture.call(channelsGet, { name }),
      await fixture.call(subscriptionsList, {}),
      await fixture.call(deliveriesGet, { delivery: dead?.id ?? "" }),
    ]
    const { database } = fixture.test
    for (const table of ["channels", "subscriptions", "deliveries", "outbox"])
      shown.push((await database.query(`select * from ${table}`)) as never)
    const text = JSON.stringify(shown)
    expect(text).toContain("slack-url")
    expect(text).not.toContain("very-secret-part")
    expect(text).not.toContain(signingKey.slice(6, 20))
  })

  it.each([
    [{ via: "mail" }, "to", "a mail channel needs it"],
    [{ via: "webhook", url: "https://example.org" }, "signingSecret", "a webhook channel needs it"],
    [{ via: "webhook", signingSecret: "hook-key" }, "url", "give url or urlSecret"],
    [{ via: "slack", url: "https://hooks.slack.test/x", urlSecret: "slack-url" }, "url", "whoever knows it can post"],
    [{ via: "teams", urlSecret: "nothing" }, "urlSecret", 'there is no secret "nothing"'],
    [{ via: "teams", urlSecret: "hook-key" }, "urlSecret", 'the secret "hook-key" is no URL'],
    [
      { via: "webhook", url: "https://example.org", signingSecret: "slack-url" },
      "signingSecret",
      'the secret "slack-url" is no key: whsec_ and 24 to 64 bytes in base64',
    ],
    [{ via: "slack", urlSecret: "slack-url", to: ["a@example.org"] }, "to", "a slack channel has no such field"],
  ] as const)("is refused where its fields don't fit: %j", async (spec, path, message) => {
    const channel = { name: "unfit", ...spec, ...("to" in spec ? { to: [...spec.to] } : {}) }
    await expect(fixture.call(channelsApply, channel as CallInputOf<typeof channelsApply>)).rejects.toMatchObject({
      code: "notifications.invalid-channel",
      issues: expect.arrayContaining([expect.objectContaining({ path, message: expect.stringContaining(message) })]),
    })
  })

  it("stays while a subscription uses it", async () => {
    const { name } = await subscribe({ events: ["*"] })
    await expect(fixture.call(channelsRemove, { name })).rejects.toMatchObject({
      code: "notifications.channel-in-use",
    })
  })
})

describe("mail", () => {
  it("goes to no server that can't encrypt, unless the setting lets it", async () => {
    const plain = new MailReceiver()
    await plain.start(directory, { startTls: false })
    const settings = { url: plain.url.replace(/\/\/.*@/, "//"), from: "signalbox@example.org" }
    for (const [startTls, state] of [
      ["require", "dead"],
      ["try", "delivered"],
    ] as const) {
      const other = await startNotifications({ mail: { ...settings, startTls } })
      try {
        await other.call(channelsApply, { name: "plain", via: "mail", to: ["me@example.org"] })
        const { id } = await other.call(channelsTest, { name: "plain" })
        await eventually(async () => (await other.call(deliveriesGet, { delivery: id })).state === state)
      } finally {
        await other.stop()
      }
    }
    expect(plain.mails.map(({ isEncrypted }) => isEncrypted)).toEqual([false])
    await plain.stop()
  })
})
