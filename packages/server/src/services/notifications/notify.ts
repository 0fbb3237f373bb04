/**
 * Turns events into deliveries: for each subscription that takes the event, one row. The row's id is made
 * of event and subscription, so an event that is handled twice is delivered once. Called by the job queue alone.
 */
import { createHash } from "node:crypto"
import { notificationLimits } from "@signalbox/contracts/notifications/operations"
import { executionsGet } from "@signalbox/contracts/workflows/operations"
import { isAppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { encodeBase32, idPrefixes } from "@signalbox/kernel/id"
import type { Sql, Tx } from "../../storage/database.ts"
import type { Consumer } from "../../storage/dispatcher.ts"
import type { DeliveredEvent } from "../../storage/outbox.ts"
import { countPending, findLastOfGroup, holdBack, insertDelivery, lockThrottleGroup } from "./delivery-store.ts"
import { describeEvent, describeExecution, isSubscribed, type Message, type NotifiedEvent } from "./model.ts"
import type { NotificationsContext, NotificationsOptions } from "./options.ts"
import { countDropped, findChannel, listEnabledSubscriptions, listWantedTypes, noteExpressionError } from "./store.ts"
import type { ChannelRow, SubscriptionRow } from "./store.ts"
import { evaluate } from "./subscription-check.ts"

/** Reads only the events that some subscription takes, so that a rollout of a million nodes makes no job for nothing. */
export function eventConsumer(options: NotificationsContext): Consumer {
  return {
    name: "notifications.events",
    types: (sql) => listWantedTypes(sql),
    eventsPerJobMax: 20,
    async handle(delivered, { database }) {
      const event = toNotifiedEvent(delivered)
      const { account } = delivered
      let message: Message | undefined
      for (const subscription of await listEnabledSubscriptions(database, account)) {
        if (delivered.time < subscription.since || !isSubscribed(subscription.events, event.type)) continue
        const group = await decide(options, database, { subscription, event })
        if (group === undefined) continue
        const channel = await findChannel(database, account, subscription.channel)
        if (!channel) continue
        message ??= await describe(options, { account, event })
        const deliver = {
          subscription,
          channel,
          event,
          message,
          group,
          id: deliveryId(event, subscription, delivered.time),
        }
        await database.transaction((tx) => addDelivery(options, tx, deliver))
        options.sender.wake()
      }
    },
  }
}

/** The group of an event that is to be delivered; a condition that fails delivers nothing and is shown. */
async function decide(
  options: NotificationsOptions,
  sql: Sql,
  { subscription, event }: { subscription: SubscriptionRow; event: NotifiedEvent },
): Promise<string | undefined> {
  const { condition, throttleBy } = subscription
  try {
    if (condition !== null && evaluate(condition, "bool", event) !== true) return undefined
    return throttleBy === null ? "" : (evaluate(throttleBy, "string", event) as string)
  } catch (error) {
    if (!isAppError(error)) throw error
    const message = `event ${event.id} (${event.type}): ${error.message}`.slice(0, 1000)
    await noteExpressionError(sql, subscription, { message, now: options.clock.now() })
    return undefined
  }
}

interface Delivering {
  readonly id: string
  readonly subscription: SubscriptionRow
  readonly channel: ChannelRow
  readonly event: NotifiedEvent
  readonly message: Message
  readonly group: string
}

async function addDelivery(options: NotificationsOptions, tx: Tx, delivering: Delivering): Promise<void> {
  const { id, subscription, channel, event, message } = delivering
  const { account } = subscription
  const now = options.clock.now()
  const throttled = await throttle(tx, delivering, now)
  if (throttled === "held-back") return
  const max = notificationLimits.pendingMax
  if ((await countPending(tx, account, { channel: channel.name, max })) >= max) {
    await countDropped(tx, account, channel.name)
    return
  }
  await insertDelivery(tx, {
    id,
    account,
    channel: channel.name,
    via: channel.via,
    subscription: subscription.name,
    messageId: id,
    event,
    message,
    cause: event.cause,
    depth: event.depth + 1,
    throttleGroup: throttled.group,
    suppressed: throttled.suppressed,
    redeliveryOf: null,
    createdAt: now,
  })
}

/** The throttle's state is the group's last delivery: when it was, and how many events came too soon after it. */
async function throttle(
  tx: Tx,
  { subscription, group, id }: Delivering,
  now: number,
): Promise<"held-back" | { readonly group: string | null; readonly suppressed: number }> {
  const { account, name, throttleMs } = subscription
  if (throttleMs === null) return { group: null, suppressed: 0 }
  const key = createHash("sha256").update(group).digest("base64url")
  await lockThrottleGroup(tx, [account, name, key])
  const last = await findLastOfGroup(tx, account, { subscription: name, group: key })
  // Also one that lies ahead: a clock that was wrong for a moment must not keep a group silent until then.
  if (last === undefined || last.id === id || Math.abs(now - last.createdAt) >= throttleMs)
    return { group: key, suppressed: last?.heldBack ?? 0 }
  await holdBack(tx, account, last.id)
  return "held-back"
}

/** Sorts by the event's time as other ids do, and is the same each time the event is handled. */
function deliveryId(event: NotifiedEvent, subscription: SubscriptionRow, time: number): string {
  const digest = createHash("sha256").update(`${event.id} ${subscription.id}`).digest()
  const bytes = new Uint8Array(16)
  for (let index = 5, rest = time; index >= 0; index--, rest = Math.floor(rest / 256)) bytes[index] = rest % 256
  bytes.set(digest.subarray(0, 10), 6)
  return `${idPrefixes.delivery}_${encodeBase32(bytes)}`
}

/** What happened in words; of executions with what the workflows service knows of them by now. */
async function describe(
  { operations, publicUrl }: NotificationsOptions,
  { account, event }: { account: string; event: NotifiedEvent },
): Promise<Message> {
  if (!event.type.startsWith("execution.")) return describeEvent(event, { publicUrl })
  const { cause, depth } = event
  const as = { account, service: "notifications", roles: ["viewer"], cause, causedBy: event.id, depth } as const
  try {
    const found = await operations.call(executionsGet, { execution: event.subject }, as)
    const { id, state, reason, counts, targets, createdBy, workflow } = found
    const about = { ...(reason === undefined ? {} : { reason }), startedBy: createdBy, targetsCount: targets.count }
    return describeExecution(event, { id, workflow: workflow.name, state, counts, ...about }, { publicUrl })
  } catch (error) {
    if (!isAppError(error) || error.code !== "executions.not-found") throw error
    return describeEvent(event, { publicUrl })
  }
}

function toNotifiedEvent(event: DeliveredEvent): NotifiedEvent {
  return {
    specversion: "1.0",
    id: event.id,
    source: `/accounts/${event.account}`,
    type: event.type,
    subject: event.subject,
    subjectversion: event.subjectVersion,
    time: toInstant(event.time),
    cause: event.cause,
    causedby: event.causedBy,
    depth: event.depth,
    principal: event.principal,
    data: event.data as Record<string, unknown>,
  }
}
