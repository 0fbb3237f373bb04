import { deliveriesGet, deliveriesList, deliveriesRedeliver } from "@signalbox/contracts/notifications/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type Handler } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import { requestDelivery } from "./channel-handlers.ts"
import { findDelivery, insertDelivery, listDeliveries, type DeliveryRow } from "./delivery-store.ts"
import type { NotificationsContext } from "./options.ts"
import { toDelivery, toDeliveryDetails } from "./wire.ts"

export function deliveryHandlers(options: NotificationsContext): Handler[] {
  return [
    onRead(deliveriesList, async (input, { sql, account }) => {
      const { state, channel, subscription, subject } = input
      const [time, id] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 2)
      const before = time === undefined ? undefined : { time: Number(time), id: String(id) }
      const filter = { state, channel, subscription, subject, before, limit: input.limit + 1 }
      const rows = await listDeliveries(sql, account, filter)
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      const more = rows.length > input.limit && last !== undefined
      return { items: shown.map(toDelivery), ...(more ? { nextCursor: encodeCursor([last.createdAt, last.id]) } : {}) }
    }),
    onRead(deliveriesGet, async (input, { sql, account }) =>
      toDeliveryDetails(await getDelivery(sql, account, input.delivery)),
    ),
    onChange(deliveriesRedeliver, async (input, ctx) => {
      const old = await getDelivery(ctx.tx, ctx.account, input.delivery)
      if (old.state === "pending")
        throw new AppError("notifications.delivery-pending", `${old.id} has been tried ${old.attempts} times so far`)
      const id = newId("delivery", options.clock, options.random)
      // What has ended stays as it is: sending it again is a delivery of its own, with the message's id.
      const { account, channel, via, subscription, messageId, event, message, suppressed } = old
      await insertDelivery(ctx.tx, {
        ...{ id, account, channel, via, subscription, messageId, event, message, suppressed },
        cause: ctx.cause,
        depth: ctx.depth,
        throttleGroup: null,
        redeliveryOf: old.id,
        createdAt: ctx.now,
      })
      return await requestDelivery(ctx, options.sender, id)
    }),
  ]
}

/** @throws notifications.delivery-not-found */
async function getDelivery(sql: Sql, account: string, id: string): Promise<DeliveryRow> {
  const row = await findDelivery(sql, account, id)
  if (!row) throw new AppError("notifications.delivery-not-found", `there is no delivery "${id}" in this account`)
  return row
}
