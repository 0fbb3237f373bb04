/**
 * Sends deliveries. Owns nothing but a count of the sends under way in this process; all else is in the delivery's row.
 * A claim is a lease: a worker that dies loses it, and the sweep asks again. So a message may be sent twice, never lost.
 * Called by the job queue alone.
 */
import { isAppError } from "@signalbox/kernel/app-error"
import { newId } from "@signalbox/kernel/id"
import { addJob, type BackgroundTask } from "../../storage/background-queue.ts"
import type { Database, Sql } from "../../storage/database.ts"
import type { ConsumerContext } from "../../storage/dispatcher.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { openMessage } from "./confidential-message.ts"
import { claimDelivery, recordTry, releaseDelivery, type DeliveryRow } from "./delivery-store.ts"
import { busyPause, decideNext, isOwnEvent, type TryResult } from "./model.ts"
import { deliveryLimits, retryPausesMilliseconds } from "./notification-limits.ts"
import type { NotificationsOptions } from "./options.ts"
import { sendMail } from "./send-mail.ts"
import { findAddress } from "./recipient.ts"
import { sendChat, sendWebhook } from "./send-webhook.ts"
import { findChannel, type ChannelRow } from "./store.ts"

const taskName = "notifications.deliver"

interface Place {
  readonly account: string
  readonly id: string
  readonly channel: string
  /** How often it has found its channel busy since it was due. */
  readonly waits?: number
}

/** Asks for a delivery to be tried, now or at a time. */
export async function askForDelivery(sql: Sql, place: Place, runAt?: number): Promise<void> {
  await addJob(sql, { task: taskName, key: place.id, payload: place, ...(runAt === undefined ? {} : { runAt }) })
}

export function deliverTask(options: NotificationsOptions): BackgroundTask {
  const underWay = new Map<string, number>()
  return {
    name: taskName,
    async run(payload, context) {
      const place = payload as Place
      const key = JSON.stringify([place.account, place.channel])
      const sends = underWay.get(key) ?? 0
      if (sends >= deliveryLimits.channelSendsMax) {
        const waits = (place.waits ?? 0) + 1
        const runAt = options.clock.now() + busyPause(waits, random01(options))
        await askForDelivery(context.database, { ...place, waits }, runAt)
        return
      }
      underWay.set(key, sends + 1)
      try {
        await tryDelivery(options, context, place)
      } finally {
        const left = (underWay.get(key) ?? 1) - 1
        if (left > 0) underWay.set(key, left)
        else underWay.delete(key)
      }
    },
  }
}

function random01({ random }: NotificationsOptions): number {
  return (random.bytes(1)[0] ?? 0) / 255
}

async function tryDelivery(options: NotificationsOptions, context: ConsumerContext, place: Place): Promise<void> {
  const { database, signal } = context
  const milliseconds = deliveryLimits.claimMilliseconds
  const claimed = await claimDelivery(database, place.account, { id: place.id, milliseconds })
  if (!claimed) return
  const began = options.clock.now()
  let result: TryResult
  try {
    const message = openMessage(options.sealer, claimed.account, claimed.message)
    result = await send(options, context, { ...claimed, message })
  } catch (error) {
    if (signal.aborted) await releaseDelivery(database, claimed)
    if (signal.aborted) throw error
    options.logger.warn({ delivery: claimed.id, reason: String(error) }, "sending a notification failed")
    result = { ok: false, answer: isAppError(error) ? error.message : "sending failed; the server's log says why" }
  }
  await record(options, database, { claimed, result, began })
}

async function send(
  options: NotificationsOptions,
  { database, signal }: ConsumerContext,
  delivery: DeliveryRow,
): Promise<TryResult> {
  const address = findAddress(delivery.channel)
  if (address !== undefined) return await mail(options, delivery, { to: [address], signal })
  const channel = await findChannel(database, delivery.account, delivery.channel)
  if (!channel) return { ok: false, answer: `the channel ${delivery.channel} was removed`, permanent: true }
  if (channel.via === "mail") return await mail(options, delivery, { to: channel.spec.to ?? [], signal })
  const { url, signingKey } = await readSecrets(options, channel)
  const target = { url, now: options.clock.now(), signal, ...(signingKey === undefined ? {} : { signingKey }) }
  if (channel.via === "webhook") return await sendWebhook(options.egress, delivery, target)
  return await sendChat(options.egress, { ...delivery, via: channel.via }, target)
}

async function mail(
  options: NotificationsOptions,
  delivery: DeliveryRow,
  sending: { readonly to: readonly string[]; readonly signal: AbortSignal },
): Promise<TryResult> {
  if (options.mail === undefined)
    return { ok: false, answer: "this server has no mail server; set smtp-url and smtp-from" }
  return await sendMail(options.mail, delivery, sending)
}

async function readSecrets(
  options: NotificationsOptions,
  { account, spec }: ChannelRow,
): Promise<{ url: string; signingKey: string | undefined }> {
  const { url, urlSecret, signingSecret } = spec
  const names = [urlSecret, signingSecret].filter((name) => name !== undefined)
  const values = names.length === 0 ? {} : await options.secrets.read(account, names)
  return {
    url: url ?? values[urlSecret ?? ""]?.value.trim() ?? "",
    signingKey: values[signingSecret ?? ""]?.value.trim(),
  }
}

interface Tried {
  readonly claimed: DeliveryRow
  readonly result: TryResult
  readonly began: number
}

/** The try, what follows of it, and the event of a delivery that is given up: in one transaction. */
async function record(
  options: NotificationsOptions,
  database: Database,
  { claimed, result, began }: Tried,
): Promise<void> {
  const { clock, random } = options
  const ended = clock.now()
  const next = decideNext(result, {
    attempts: claimed.attempts,
    fraction: random01(options),
    pausesMilliseconds: options.retryPausesMilliseconds ?? retryPausesMilliseconds,
  })
  const nextAt = next.state === "pending" ? ended + next.inMilliseconds : null
  const tried = { at: began, milliseconds: Math.max(0, ended - began), answer: result.answer, failed: !result.ok }
  await database.transaction(async (tx) => {
    const isOurs = await recordTry(tx, claimed, { state: next.state, nextAt, try: tried })
    if (!isOurs) return
    const { account, id, channel } = claimed
    if (nextAt !== null) await askForDelivery(tx, { account, id, channel }, nextAt)
    if (next.state !== "dead" || isOwnEvent(claimed.event.type)) return
    await appendEvents(tx, [
      {
        id: newId("event", clock, random),
        account,
        aggregateId: id,
        type: "delivery.dead",
        subject: id,
        subjectVersion: 2,
        cause: claimed.cause,
        causedBy: claimed.event.id,
        depth: claimed.depth + 1,
        principal: "system:notifications",
        data: { channel, event: claimed.event.type, title: claimed.message.title, reason: result.answer },
      },
    ])
  })
}
