import { createHash } from "node:crypto"
import { deliveriesSend, sendingLimits } from "@signalbox/contracts/notifications/sending"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { encodeBase32, idPrefixes } from "@signalbox/kernel/id"
import { onChange, type ChangeContext, type Handler } from "../../router/handler.ts"
import { channelNotFound, tellRequested } from "./channel-handlers.ts"
import { sealMessage } from "./confidential-message.ts"
import { sendDelivery } from "./delivery-store.ts"
import { clipMessage, type Message } from "./model.ts"
import type { NotificationsContext } from "./options.ts"
import { recipientText } from "./recipient.ts"

/** deliveries.send: what another service tells somebody. Its id is made of the dedupe key, so it is written once. */
export function sendHandler({ sealer, sender }: Pick<NotificationsContext, "sealer" | "sender">): Handler {
  return onChange(deliveriesSend, async (input, ctx) => {
    const { to, dedupeKey } = input
    const channel = recipientText(to)
    const id = deliveryId(ctx.account, dedupeKey)
    const { isNew, via, isFull } = await sendDelivery(
      ctx.tx,
      {
        ...{ id, account: ctx.account, channel, messageId: id },
        event: eventOf(input.event, ctx),
        message: sealMessage(sealer, ctx.account, messageOf(input.message)),
        cause: ctx.cause,
        depth: ctx.depth,
        createdAt: ctx.now,
      },
      { isAddress: !("channel" in to), pendingMax: sendingLimits.pendingMax },
    )
    if (via === null) throw channelNotFound(channel)
    if (isFull)
      throw new AppError("notifications.too-many", `${sendingLimits.pendingMax} deliveries wait for ${channel} already`)
    if (isNew) tellRequested(ctx, sender, { id, channel, redeliveryOf: null })
    return { delivery: id, isNew }
  })
}

function deliveryId(account: string, dedupeKey: string): string {
  const digest = createHash("sha256")
    .update(JSON.stringify([account, dedupeKey]))
    .digest()
  return `${idPrefixes.delivery}_${encodeBase32(digest.subarray(0, 16))}`
}

function eventOf(event: InputOf<typeof deliveriesSend>["event"], ctx: ChangeContext) {
  return {
    specversion: "1.0" as const,
    id: event.id,
    source: `/accounts/${ctx.account}`,
    type: event.type,
    subject: event.subject,
    subjectversion: event.subjectVersion,
    time: toInstant(Date.parse(event.time)),
    cause: ctx.cause,
    ...(ctx.causedBy === undefined ? {} : { causedby: ctx.causedBy }),
    depth: ctx.depth,
    principal: ctx.caller.principal,
    data: event.data,
  }
}

function messageOf(message: InputOf<typeof deliveriesSend>["message"]): Message {
  const { title, severity, facts, link, command, actions, text, html, confidential } = message
  return clipMessage({
    ...{ title, severity, facts },
    ...(link === undefined ? {} : { link }),
    ...(command === undefined ? {} : { command }),
    ...(actions.length === 0 ? {} : { actions }),
    ...(text === undefined ? {} : { text }),
    ...(html === undefined ? {} : { html }),
    ...(confidential ? { confidential } : {}),
  })
}
