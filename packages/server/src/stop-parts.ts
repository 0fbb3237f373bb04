import { setTimeout as delay } from "node:timers/promises"
import type { Logger } from "pino"

/** What a part may take to stop before the next one is stopped all the same. */
export const partStopMillisecondsMax = 15_000

/**
 * Stops parts in the opposite order of their start. A part that fails or hangs (its database is gone, say) is reported
 * and does not keep the others from stopping.
 */
export async function stopParts(stops: Array<() => Promise<void>>, logger: Logger): Promise<void> {
  for (const stop of stops.splice(0).toReversed()) {
    const timer = new AbortController()
    const late = delay(partStopMillisecondsMax, "late" as const, { signal: timer.signal }).catch(() => "done" as const)
    try {
      if ((await Promise.race([stop(), late])) === "late") logger.error("a part of the server did not stop in time")
    } catch (error) {
      logger.error({ err: error }, "stopping a part of the server failed")
    } finally {
      timer.abort()
    }
  }
}
