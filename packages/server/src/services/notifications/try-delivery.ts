/** Sends one delivery by its channel, once. What it came to is the caller's to record. */
import { isAppError } from "@signalbox/kernel/app-error"
import type { SecretReader, SecretValue } from "../../router/ports.ts"
import { openMessage } from "./confidential-message.ts"
import { releaseDelivery, type ClaimedDelivery } from "./delivery-claims.ts"
import type { DeliveryRow } from "./delivery-store.ts"
import type { TryResult } from "./model.ts"
import type { NotificationsOptions } from "./options.ts"
import { findAddress } from "./recipient.ts"
import { sendMail } from "./send-mail.ts"
import { sendChat, sendWebhook } from "./send-webhook.ts"
import type { ChannelSpec } from "./store.ts"
import type { Tried } from "./try-recorder.ts"

/** Reads secrets for deliveries that leave together, each only once. */
export class SecretsOnce {
  readonly #reader: Pick<SecretReader, "read">
  readonly #read = new Map<string, Promise<Readonly<Record<string, SecretValue>>>>()

  constructor(reader: Pick<SecretReader, "read">) {
    this.#reader = reader
  }

  read(account: string, names: readonly string[]): Promise<Readonly<Record<string, SecretValue>>> {
    const key = JSON.stringify([account, ...names])
    const known = this.#read.get(key) ?? this.#reader.read(account, names)
    this.#read.set(key, known)
    return known
  }
}

interface Sending {
  readonly secrets: SecretsOnce
  readonly signal: AbortSignal
}

/** Undefined where the server stops before it was sent: then it was given back. */
export async function tryDelivery(
  options: NotificationsOptions,
  claimed: ClaimedDelivery,
  sending: Sending,
): Promise<Tried | undefined> {
  const began = options.clock.now()
  try {
    const message = openMessage(options.sealer, claimed.account, claimed.message)
    return { claimed, result: await send(options, { ...claimed, message }, sending), began }
  } catch (error) {
    if (sending.signal.aborted) {
      await releaseDelivery(options.database, claimed)
      return undefined
    }
    options.logger.warn({ delivery: claimed.id, reason: String(error) }, "sending a notification failed")
    const answer = isAppError(error) ? error.message : "sending failed; the server's log says why"
    return { claimed, result: { ok: false, answer }, began }
  }
}

async function send(options: NotificationsOptions, delivery: ClaimedDelivery, sending: Sending): Promise<TryResult> {
  const { channelVia: via, channelSpec: spec } = delivery
  const { signal } = sending
  const address = findAddress(delivery.channel)
  if (address !== undefined) return await mail(options, delivery, { to: [address], signal })
  if (via === null || spec === null)
    return { ok: false, answer: `the channel ${delivery.channel} was removed`, permanent: true }
  if (via === "mail") return await mail(options, delivery, { to: spec.to ?? [], signal })
  const { url, signingKey } = await readSecrets(sending.secrets, delivery.account, spec)
  const target = { url, now: options.clock.now(), signal, ...(signingKey === undefined ? {} : { signingKey }) }
  if (via === "webhook") return await sendWebhook(options.egress, delivery, target)
  return await sendChat(options.egress, { ...delivery, via }, target)
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
  secrets: SecretsOnce,
  account: string,
  { url, urlSecret, signingSecret }: ChannelSpec,
): Promise<{ url: string; signingKey: string | undefined }> {
  const names = [urlSecret, signingSecret].filter((name) => name !== undefined)
  const values = names.length === 0 ? {} : await secrets.read(account, names)
  return {
    url: url ?? values[urlSecret ?? ""]?.value.trim() ?? "",
    signingKey: values[signingSecret ?? ""]?.value.trim(),
  }
}
