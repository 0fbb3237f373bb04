import type {
  channelsGet,
  deliveriesGet,
  deliveriesList,
  subscriptionsGet,
} from "@signalbox/contracts/notifications/operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { toInstant } from "@signalbox/kernel/clock"
import { toIsoDuration } from "@signalbox/kernel/duration"
import type { DeliveryRow } from "./delivery-store.ts"
import { messageText } from "./model.ts"
import type { ChannelRow, SubscriptionRow } from "./store.ts"

/** Rows as the operations give them. */
export type Channel = OutputOf<typeof channelsGet>
export type Subscription = OutputOf<typeof subscriptionsGet>
export type Delivery = OutputOf<typeof deliveriesList>["items"][number]

export function toChannel(row: ChannelRow): Channel {
  const { to, ...spec } = row.spec
  return {
    id: row.id,
    name: row.name,
    via: row.via as Channel["via"],
    ...(row.description === null ? {} : { description: row.description }),
    ...(to === undefined ? {} : { to: [...to] }),
    ...spec,
    version: row.version,
    dropped: row.dropped,
    createdAt: toInstant(row.createdAt),
    changedAt: toInstant(row.changedAt),
    changedBy: row.changedBy,
  }
}

export function toSubscription(row: SubscriptionRow): Subscription {
  return {
    id: row.id,
    name: row.name,
    ...(row.description === null ? {} : { description: row.description }),
    channel: row.channel,
    events: [...row.events],
    ...(row.condition === null ? {} : { when: row.condition }),
    ...(row.throttleMs === null ? {} : { throttle: toIsoDuration(row.throttleMs) }),
    ...(row.throttleBy === null ? {} : { throttleBy: row.throttleBy }),
    enabled: row.enabled,
    version: row.version,
    ...(row.lastError === null ? {} : { lastError: row.lastError }),
    ...(row.lastErrorAt === null ? {} : { lastErrorAt: toInstant(row.lastErrorAt) }),
    createdAt: toInstant(row.createdAt),
    changedAt: toInstant(row.changedAt),
    changedBy: row.changedBy,
  }
}

export function toDelivery(row: DeliveryRow): Delivery {
  const { id, type, subject } = row.event
  return {
    id: row.id,
    state: row.state as Delivery["state"],
    channel: row.channel,
    via: row.via as Delivery["via"],
    ...(row.subscription === null ? {} : { subscription: row.subscription }),
    event: { id, type, subject },
    title: row.message.title,
    attempts: row.attempts,
    ...(row.state !== "pending" || row.nextAt === null ? {} : { nextAttemptAt: toInstant(row.nextAt) }),
    ...(row.lastError === null ? {} : { lastError: row.lastError }),
    ...(row.redeliveryOf === null ? {} : { redeliveryOf: row.redeliveryOf }),
    suppressed: row.suppressed,
    cause: row.cause,
    createdAt: toInstant(row.createdAt),
    ...(row.finishedAt === null ? {} : { finishedAt: toInstant(row.finishedAt) }),
  }
}

const keptFromView = "(only the recipient may read this message)"

export function toDeliveryDetails(row: DeliveryRow): OutputOf<typeof deliveriesGet> {
  return {
    ...toDelivery(row),
    text: row.message.confidential === true ? keptFromView : messageText(row.message, row.suppressed),
    tries: row.tries.map((each) => ({ ...each, at: toInstant(each.at) })),
  }
}
