import { setTimeout as delay } from "node:timers/promises"
import type { Logger } from "pino"

export interface StopLimits {
  /** What a part may take to stop before the next one is stopped all the same. */
  readonly partMilliseconds: number
  /** What all may take together. */
  readonly allMilliseconds: number
  /** What a part still has whose turn comes after that. */
  readonly lateMilliseconds: number
}

/** Of a server: within what service managers wait before they kill. */
export const serverStopLimits: StopLimits = {
  partMilliseconds: 18_000,
  allMilliseconds: 30_000,
  lateMilliseconds: 500,
}
/** Of its services and their background work, which together are a part of it. */
export const servicesStopLimits: StopLimits = {
  partMilliseconds: 12_000,
  allMilliseconds: 14_000,
  lateMilliseconds: 100,
}

/**
 * Stops parts in the opposite order of their start. A part that fails or hangs (its database is gone, say) is reported
 * and does not keep the others from stopping; where many hang, each has a moment and all have `allMilliseconds`.
 */
export async function stopParts(
  stops: Array<() => Promise<void>>,
  logger: Pick<Logger, "error">,
  { partMilliseconds, allMilliseconds, lateMilliseconds }: StopLimits,
): Promise<void> {
  const begun = performance.now()
  for (const stop of stops.splice(0).toReversed()) {
    const left = allMilliseconds - (performance.now() - begun)
    const milliseconds = Math.max(lateMilliseconds, Math.min(partMilliseconds, left))
    const timer = new AbortController()
    const late = delay(milliseconds, "late" as const, { signal: timer.signal }).catch(() => "done" as const)
    try {
      if ((await Promise.race([stop(), late])) === "late") logger.error("a part of the server did not stop in time")
    } catch (error) {
      logger.error({ err: error }, "stopping a part of the server failed")
    } finally {
      timer.abort()
    }
  }
}
