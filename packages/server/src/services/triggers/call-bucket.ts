/** How many calls each of many callers may make: a token bucket for each, in memory. */
export interface BucketLimits {
  readonly perMinute: number
  /** At once, after being quiet. */
  readonly burst: number
  /** Callers that are remembered; the one that was quiet longest gives way. */
  readonly callersMax: number
}

export class CallBuckets {
  readonly #limits: BucketLimits
  readonly #buckets = new Map<string, { left: number; at: number }>()

  constructor(limits: BucketLimits) {
    this.#limits = limits
  }

  /** Takes one call, where there is one. `now` in milliseconds. */
  take(caller: string, now: number): boolean {
    const { perMinute, burst, callersMax } = this.#limits
    const { left, at } = this.#buckets.get(caller) ?? { left: burst, at: now }
    const refilled = Math.min(burst, left + (Math.max(0, now - at) / 60_000) * perMinute)
    const isTaken = refilled >= 1
    // Written anew at the end: the first one is the one that was quiet longest.
    this.#buckets.delete(caller)
    this.#buckets.set(caller, { left: isTaken ? refilled - 1 : refilled, at: now })
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > callersMax && oldest !== undefined) this.#buckets.delete(oldest)
    return isTaken
  }
}
