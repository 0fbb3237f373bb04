import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { duration, instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { deliveriesSend } from "./sending.ts"

export const notificationLimits = {
  channelsMax: 200,
  subscriptionsMax: 500,
  recipientsMax: 50,
  eventPatternsMax: 20,
  expressionLengthMax: 4096,
  /** Deliveries of one channel that wait; events beyond are counted, not delivered. */
  pendingMax: 1000,
  attemptsMax: 10,
} as const

export const channelKinds = ["mail", "webhook", "slack", "teams"] as const
export const deliveryStates = ["pending", "delivered", "dead"] as const

/** What a person writes of a channel. */
export const channelFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  via: z.enum(channelKinds).describe("How it reaches them"),
  to: z.array(z.email().max(254)).min(1).max(notificationLimits.recipientsMax).optional().describe("mail: who gets it"),
  url: z
    .url({ protocol: /^https?$/ })
    .max(2000)
    .optional()
    .describe("webhook: where events are sent"),
  urlSecret: resourceName.optional().describe("slack, teams and webhook: the secret that holds the URL"),
  signingSecret: resourceName
    .optional()
    .describe("webhook: the secret that holds the signing key, whsec_ and 24 to 64 bytes in base64"),
}

export const channel = z
  .object({
    id: z.string(),
    ...channelFields,
    version: z.int(),
    dropped: z.int().describe("Events that were not delivered because too many waited"),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("A way to reach somebody. Secrets are named, never held")

export const channelsApply = defineOperation({
  name: "channels.apply",
  service: "notifications",
  summary: "Create or change a channel: mail, webhook, Slack or Teams",
  method: "PUT",
  path: "/v1/channels/{name}",
  effect: "change",
  permission: "notifications.write",
  input: z.strictObject(channelFields),
  output: channel.extend({ changed: z.boolean() }),
  errors: ["notifications.invalid-channel", "notifications.too-many"],
})

export const channelsList = defineOperation({
  name: "channels.list",
  service: "notifications",
  summary: "List channels",
  method: "GET",
  path: "/v1/channels",
  effect: "read",
  permission: "notifications.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(channel),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "via", "to", "url", "urlSecret", "signingSecret", "changedAt"] },
})

export const channelsGet = defineOperation({
  name: "channels.get",
  service: "notifications",
  summary: "Show a channel",
  method: "GET",
  path: "/v1/channels/{name}",
  effect: "read",
  permission: "notifications.read",
  input: z.strictObject({ name: resourceName }),
  output: channel,
  errors: ["notifications.channel-not-found"],
})

export const channelsRemove = defineOperation({
  name: "channels.remove",
  service: "notifications",
  summary: "Remove a channel that no subscription uses",
  method: "DELETE",
  path: "/v1/channels/{name}",
  effect: "change",
  permission: "notifications.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["notifications.channel-not-found", "notifications.channel-in-use"],
})

/** What a person writes of a subscription. */
export const subscriptionFields = {
  name: resourceName,
  description: z.string().max(limits.noteLengthMax).optional(),
  channel: resourceName,
  events: z
    .array(
      z
        .string()
        .regex(/^(?:\*|[a-z]+(?:-[a-z]+)*\.(?:\*|[a-z]+(?:-[a-z]+)*))$/, "write execution.failed, execution.* or *"),
    )
    .min(1)
    .max(notificationLimits.eventPatternsMax)
    .describe("Types of events: execution.failed, execution.*, or *"),
  when: z
    .string()
    .min(1)
    .max(notificationLimits.expressionLengthMax)
    .optional()
    .describe("A condition in CEL over `event`; only events for which it is true are delivered"),
  throttle: duration.optional().describe("After one delivery none of the same group for so long"),
  throttleBy: z
    .string()
    .min(1)
    .max(notificationLimits.expressionLengthMax)
    .optional()
    .describe("The group in CEL, a text, such as event.subject; one group where absent"),
  enabled: z.boolean().default(true),
}

export const subscription = z
  .object({
    id: z.string(),
    ...subscriptionFields,
    enabled: z.boolean(),
    version: z.int(),
    lastError: z.string().optional().describe("Why an expression failed last; such an event is not delivered"),
    lastErrorAt: instant.optional(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("Which events go to a channel")

export const subscriptionsApply = defineOperation({
  name: "subscriptions.apply",
  service: "notifications",
  summary: "Create or change a subscription: which events go to a channel",
  description: "It is told of events that happen from now on.",
  method: "PUT",
  path: "/v1/subscriptions/{name}",
  effect: "change",
  permission: "notifications.write",
  input: z.strictObject(subscriptionFields),
  output: subscription.extend({ changed: z.boolean() }),
  errors: ["notifications.channel-not-found", "notifications.too-many", "expressions.invalid"],
})

export const subscriptionsList = defineOperation({
  name: "subscriptions.list",
  service: "notifications",
  summary: "List subscriptions",
  method: "GET",
  path: "/v1/subscriptions",
  effect: "read",
  permission: "notifications.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(subscription),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "events", "channel", "when", "throttle", "enabled", "lastError"] },
})

export const subscriptionsGet = defineOperation({
  name: "subscriptions.get",
  service: "notifications",
  summary: "Show a subscription",
  method: "GET",
  path: "/v1/subscriptions/{name}",
  effect: "read",
  permission: "notifications.read",
  input: z.strictObject({ name: resourceName }),
  output: subscription,
  errors: ["notifications.subscription-not-found"],
})

export const subscriptionsRemove = defineOperation({
  name: "subscriptions.remove",
  service: "notifications",
  summary: "Remove a subscription",
  method: "DELETE",
  path: "/v1/subscriptions/{name}",
  effect: "change",
  permission: "notifications.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["notifications.subscription-not-found"],
})

export const delivery = z.object({
  id: z.string(),
  state: z.enum(deliveryStates).describe("`dead`: given up"),
  channel: z.string(),
  via: z.enum(channelKinds),
  subscription: z.string().optional().describe("Absent for a test message"),
  event: z.object({ id: z.string(), type: z.string(), subject: z.string() }),
  title: z.string(),
  attempts: z.int().describe("Tries so far"),
  nextAttemptAt: instant.optional(),
  lastError: z.string().optional(),
  redeliveryOf: z.string().optional(),
  suppressed: z.int().describe("Events of the same group that its throttle held back before this one"),
  cause: z.string(),
  createdAt: instant,
  finishedAt: instant.optional(),
})

export const deliveryDetails = delivery.extend({
  text: z.string().describe("The message as people get it"),
  tries: z.array(z.object({ at: instant, milliseconds: z.int(), answer: z.string(), failed: z.boolean() })),
})

const deliveryInput = { delivery: z.string().max(64) }

export const deliveriesList = defineOperation({
  name: "deliveries.list",
  service: "notifications",
  summary: "List deliveries of notifications, the newest first",
  method: "GET",
  path: "/v1/deliveries",
  effect: "read",
  permission: "notifications.read",
  input: z.strictObject({
    ...pageInput,
    state: z.enum(deliveryStates).optional().describe("`dead` lists the dead letters"),
    channel: resourceName.optional(),
    subscription: resourceName.optional(),
    subject: z.string().max(128).optional().describe("Only of events with this subject"),
  }),
  output: pageOf(delivery),
  errors: ["request.invalid-cursor"],
  table: {
    rows: "items",
    columns: ["id", "state", "channel", "event.type", "title", "attempts", "nextAttemptAt", "lastError", "createdAt"],
  },
})

export const deliveriesGet = defineOperation({
  name: "deliveries.get",
  service: "notifications",
  summary: "Show a delivery with its message and what came of each try",
  method: "GET",
  path: "/v1/deliveries/{delivery}",
  effect: "read",
  permission: "notifications.read",
  input: z.strictObject(deliveryInput),
  output: deliveryDetails,
  errors: ["notifications.delivery-not-found"],
})

export const deliveriesRedeliver = defineOperation({
  name: "deliveries.redeliver",
  service: "notifications",
  summary: "Send a delivery that has ended once more, as a new one",
  method: "POST",
  path: "/v1/deliveries/{delivery}:redeliver",
  effect: "change",
  permission: "notifications.send",
  input: z.strictObject(deliveryInput),
  output: delivery,
  errors: ["notifications.delivery-not-found", "notifications.delivery-pending"],
})

export const channelsTest = defineOperation({
  name: "channels.test",
  service: "notifications",
  summary: "Send a test message to a channel",
  description: "The reply is the delivery; `deliveries.get` says what came of it.",
  method: "POST",
  path: "/v1/channels/{name}:test",
  effect: "change",
  permission: "notifications.send",
  input: z.strictObject({ name: resourceName }),
  output: delivery,
  errors: ["notifications.channel-not-found"],
})

export const notificationsOperations = [
  channelsApply,
  channelsList,
  channelsGet,
  channelsRemove,
  channelsTest,
  subscriptionsApply,
  subscriptionsList,
  subscriptionsGet,
  subscriptionsRemove,
  deliveriesList,
  deliveriesGet,
  deliveriesRedeliver,
  deliveriesSend,
] as const
