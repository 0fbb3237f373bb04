/**
 * Sends deliveries. Owns the list of sends under way in this server and the timer by which it looks for what is due; all else
 * is in the deliveries' rows, so any number of servers may look at once. A claim is a lease: what a server that died had
 * claimed is claimed by the next look after that. So a message may be sent twice, never lost.
 */
import { setTimeout as rest } from "node:timers/promises"
import { claimDeliveries, type Claims, type ClaimedDelivery, type SendsUnderWay } from "./delivery-claims.ts"
import { deliveryLimits } from "./notification-limits.ts"
import type { NotificationsOptions } from "./options.ts"
import { SecretsOnce, tryDelivery } from "./try-delivery.ts"
import { TryRecorder } from "./try-recorder.ts"

const scanMillisecondsDefault = 1_000

export class DeliverySender {
  readonly #options: NotificationsOptions
  readonly #recorder: TryRecorder
  readonly #sends = new Set<Promise<void>>()
  readonly #underWay = new Map<string, SendsUnderWay>()
  #abort = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined
  #isWoken = false

  constructor(options: NotificationsOptions) {
    this.#options = options
    this.#recorder = new TryRecorder(options)
  }

  start(): void {
    this.#abort = new AbortController()
    const milliseconds = this.#options.deliveryScanMilliseconds ?? scanMillisecondsDefault
    this.#timer = setInterval(() => this.wake(), milliseconds)
    this.wake()
  }

  /** Ends what is under way; what was not sent is given back. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#abort.abort()
    await this.#looking
    await Promise.all(this.#sends)
  }

  /** To be called when something may be due: after the commit of a delivery, or when a channel has room again. */
  wake(): void {
    if (this.#timer === undefined) return
    this.#isWoken = true
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
      if (this.#isWoken) this.wake()
    })
  }

  /** Once, and again after a rest for as long as something was due meanwhile. */
  async #look(): Promise<void> {
    const { signal } = this.#abort
    try {
      while (this.#isWoken && !signal.aborted) {
        this.#isWoken = false
        await this.#lookOnce()
        await rest(deliveryLimits.lookRestMilliseconds, undefined, { signal }).catch(() => undefined)
      }
    } catch (error) {
      this.#isWoken = false
      this.#options.logger.warn({ reason: String(error) }, "looking for due deliveries failed; it is tried again")
    }
  }

  async #lookOnce(): Promise<void> {
    const room = deliveryLimits.sendsMax - this.#sends.size
    if (room <= 0) return
    const secrets = new SecretsOnce(this.#options.secrets)
    const { deliveries } = await this.#claim(room)
    for (const claimed of deliveries) this.#send(claimed, secrets)
  }

  /** The oldest, unless so many are due that they may all be of a few busy channels: then of each channel. */
  async #claim(limit: number): Promise<Claims> {
    const { database, clock } = this.#options
    const wishes = {
      now: clock.now(),
      milliseconds: deliveryLimits.claimMilliseconds,
      limit,
      channelSendsMax: deliveryLimits.channelSendsMax,
      underWay: [...this.#underWay.values()],
      windowMax: deliveryLimits.windowMax,
    }
    const claims = await claimDeliveries(database, "oldest", wishes)
    if (claims.deliveries.length > 0 || !claims.isWindowFull) return claims
    return await claimDeliveries(database, "of-each-channel", wishes)
  }

  #send(claimed: ClaimedDelivery, secrets: SecretsOnce): void {
    const free = this.#occupy(claimed)
    const sending = this.#trySend(claimed, secrets).finally(() => {
      free()
      this.#sends.delete(sending)
      this.wake()
    })
    this.#sends.add(sending)
  }

  async #trySend(claimed: ClaimedDelivery, secrets: SecretsOnce): Promise<void> {
    const { signal } = this.#abort
    try {
      const tried = await tryDelivery(this.#options, claimed, { secrets, signal })
      if (tried) await this.#recorder.record(tried)
    } catch (error) {
      this.#options.logger.warn({ delivery: claimed.id, reason: String(error) }, "a delivery could not be given back")
    }
  }

  #occupy({ account, channel }: ClaimedDelivery): () => void {
    const key = JSON.stringify([account, channel])
    const count = (change: number): number => (this.#underWay.get(key)?.count ?? 0) + change
    this.#underWay.set(key, { account, channel, count: count(1) })
    return () => {
      if (count(-1) > 0) this.#underWay.set(key, { account, channel, count: count(-1) })
      else this.#underWay.delete(key)
    }
  }
}
