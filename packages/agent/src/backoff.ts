import type { Random } from "@signalbox/kernel/random"
import type { AgentRunLimits } from "./agent-limits.ts"
import type { Ending } from "./server-channel.ts"

/** A fraction from 0 up to 1, drawn from injected randomness. */
export function drawFraction(random: Random): number {
  return Buffer.from(random.bytes(4)).readUInt32BE() / 2 ** 32
}

/** Full jitter: anywhere between the least delay and a bound that doubles with each failure up to the longest. */
export function backoffMilliseconds(
  failures: number,
  bounds: { readonly least: number; readonly longest: number },
  fraction: number,
): number {
  const bound = Math.min(bounds.longest, bounds.least * 2 ** Math.min(failures, 30))
  return bounds.least + Math.floor(fraction * Math.max(0, bound - bounds.least))
}

/**
 * How long to wait before the next try. After a good session, or a server that said it goes away, anywhere within a
 * second: agents of a server that restarts come back soon, and not all at once.
 */
export function pauseAfter(
  session: { readonly ending: Ending; readonly failures: number },
  limits: AgentRunLimits,
  fraction: number,
): number {
  const { ending, failures } = session
  const least = limits.backoffMillisecondsMin
  if (ending === "refused") {
    const bounds = { least: limits.refusedBackoffMillisecondsMin, longest: limits.refusedBackoffMillisecondsMax }
    return backoffMilliseconds(failures, bounds, fraction)
  }
  if (failures > 0) return backoffMilliseconds(failures, { least, longest: limits.backoffMillisecondsMax }, fraction)
  const longest = Math.min(limits.reconnectMillisecondsMax, limits.backoffMillisecondsMax)
  return least + Math.floor(fraction * Math.max(0, longest - least))
}
