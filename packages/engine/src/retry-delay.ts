import type { EnginePlan } from "./plan.ts"
import { planDurationMillisecondsMax } from "./plan.ts"

/** An even share from 0 up to, not including, 1 that follows from three numbers alone (the finalizer of MurmurHash3). */
function shareOf(seed: number, ordinal: number, attempt: number): number {
  let hash =
    Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(ordinal + 1, 0xc2b2ae35) ^ Math.imul(attempt, 0x27d4eb2f)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000
}

/**
 * How long, in milliseconds, a target waits after attempt number `attempt` (from 1) has failed: the plan's delay times the
 * factor for each attempt before, at most the maximum, shortened by the jitter. The same plan gives the same delays.
 */
export function retryDelayOf(plan: EnginePlan, ordinal: number, attempt: number): number {
  const { retryDelayMilliseconds, retryBackoffFactor = 1, retryJitterThousandths = 0, seed = 0 } = plan
  const max = plan.retryDelayMillisecondsMax ?? planDurationMillisecondsMax
  const delay = Math.min(max, retryDelayMilliseconds * retryBackoffFactor ** (attempt - 1))
  return Math.round(delay * (1 - (retryJitterThousandths / 1000) * shareOf(seed, ordinal, attempt)))
}
