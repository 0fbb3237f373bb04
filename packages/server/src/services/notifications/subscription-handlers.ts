import {
  notificationLimits,
  subscriptionsApply,
  subscriptionsGet,
  subscriptionsList,
  subscriptionsRemove,
} from "@signalbox/contracts/notifications/operations"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { formatDuration, getDuration } from "@signalbox/kernel/duration"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import { getChannel } from "./channel-handlers.ts"
import { deliveryLimits } from "./notification-limits.ts"
import type { NotificationsOptions } from "./options.ts"
import { countRows, deleteSubscription, findSubscription, listSubscriptions, lockSubscription } from "./store.ts"
import { putSubscription, type SubscriptionDefinition, type SubscriptionRow } from "./store.ts"
import { checkExpression } from "./subscription-check.ts"
import { toSubscription } from "./wire.ts"

export function subscriptionHandlers(options: NotificationsOptions): Handler[] {
  return [
    onChange(subscriptionsApply, (input, ctx) => applySubscription(options, input, ctx)),
    onRead(subscriptionsGet, async ({ name }, { sql, account }) => {
      const row = await findSubscription(sql, account, name)
      if (!row) throw subscriptionNotFound(name)
      return toSubscription(row)
    }),
    onRead(subscriptionsList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 1)
      const rows = await listSubscriptions(sql, account, { after: String(after), limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      const more = rows.length > input.limit && last !== undefined
      return { items: shown.map(toSubscription), ...(more ? { nextCursor: encodeCursor([last.name]) } : {}) }
    }),
    onChange(subscriptionsRemove, async ({ name }, ctx) => {
      const row = await lockSubscription(ctx.tx, ctx.account, name)
      if (!row) throw subscriptionNotFound(name)
      await deleteSubscription(ctx.tx, ctx.account, name)
      emitSubscription(ctx, { ...row, version: row.version + 1 }, "subscription.removed")
      return { name }
    }),
  ]
}

const subscriptionNotFound = (name: string): AppError =>
  new AppError("notifications.subscription-not-found", `there is no subscription "${name}" in this account`)

async function applySubscription(
  options: NotificationsOptions,
  input: InputOf<typeof subscriptionsApply>,
  ctx: ChangeContext,
) {
  const { name } = input
  const definition = readDefinition(input)
  await getChannel(ctx.tx, ctx.account, input.channel)
  const existing = await lockSubscription(ctx.tx, ctx.account, name)
  if (existing && isSame(existing, definition)) return { ...toSubscription(existing), changed: false }
  if (!existing && (await countRows(ctx.tx, ctx.account, "subscriptions")) >= notificationLimits.subscriptionsMax) {
    const max = notificationLimits.subscriptionsMax
    throw new AppError("notifications.too-many", `an account has ${max} subscriptions at most`)
  }
  const wasTold = existing?.enabled === true
  const row = await putSubscription(
    ctx.tx,
    {
      ...definition,
      account: ctx.account,
      name,
      id: existing?.id ?? newId("subscription", options.clock, options.random),
      since: wasTold ? existing.since : null,
      changedBy: ctx.caller.principal,
    },
    ctx.now,
  )
  emitSubscription(ctx, row, existing ? "subscription.changed" : "subscription.created")
  return { ...toSubscription(row), changed: true }
}

/** @throws expressions.invalid, request.invalid-input */
function readDefinition(input: InputOf<typeof subscriptionsApply>): SubscriptionDefinition {
  if (input.when !== undefined) checkExpression(input.when, "when")
  if (input.throttleBy !== undefined) checkExpression(input.throttleBy, "throttleBy")
  const throttleMs = input.throttle === undefined ? null : getDuration(input.throttle)
  const max = deliveryLimits.throttleMillisecondsMax
  if (throttleMs !== null && throttleMs > max) throw invalid("throttle", `at most ${formatDuration(max)}`)
  if (input.throttleBy !== undefined && throttleMs === null) throw invalid("throttleBy", "give a throttle with it")
  return {
    description: input.description ?? null,
    channel: input.channel,
    events: [...new Set(input.events)].toSorted(),
    condition: input.when ?? null,
    throttleMs,
    throttleBy: input.throttleBy ?? null,
    enabled: input.enabled,
  }
}

function invalid(path: string, message: string): AppError {
  return new AppError("request.invalid-input", `subscriptions.apply: ${path}: ${message}`, {
    issues: [{ path, message }],
  })
}

function isSame(row: SubscriptionRow, definition: SubscriptionDefinition): boolean {
  return Object.entries(definition).every(
    ([key, value]) => JSON.stringify(row[key as keyof SubscriptionDefinition]) === JSON.stringify(value),
  )
}

function emitSubscription(ctx: ChangeContext, row: SubscriptionRow, type: string): void {
  const data = { name: row.name, channel: row.channel, events: row.events, enabled: row.enabled }
  ctx.emit({ aggregate: row.id, type, subject: row.id, version: row.version, data })
}
