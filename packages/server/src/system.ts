import { randomBytes } from "node:crypto"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"

/** The real clock and the operating system's randomness; tests supply their own. */
export const systemClock: Clock = { now: () => Date.now() }
export const systemRandom: Random = { bytes: (count) => randomBytes(count) }
