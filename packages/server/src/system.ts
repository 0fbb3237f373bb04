import { randomBytes, randomFillSync } from "node:crypto"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"

/** The real clock and the real randomness; tests and the simulator bring their own. */
export const systemClock: Clock = { now: () => Date.now() }

/** Drawn ahead, since each call of the generator costs far more than its bytes; nobody is given the same bytes twice. */
const pool = Buffer.alloc(4096)
const pooledBytesMax = 64
let used = pool.length

export const systemRandom: Random = {
  bytes(length) {
    if (length > pooledBytesMax) return randomBytes(length)
    if (used + length > pool.length) {
      randomFillSync(pool)
      used = 0
    }
    const bytes = new Uint8Array(pool.subarray(used, used + length))
    pool.fill(0, used, used + length)
    used += length
    return bytes
  },
}
