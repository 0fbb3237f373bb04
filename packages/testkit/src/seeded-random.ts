import { createHash } from "node:crypto"
import type { Random } from "@signalbox/kernel/random"

/** The same bytes for the same seed, for ever: SHA-256 of seed and counter. */
export class SeededRandom implements Random {
  readonly #seed: string
  #counter = 0
  #rest: Uint8Array = new Uint8Array()

  constructor(seed: string | number) {
    this.#seed = String(seed)
  }

  bytes(count: number): Uint8Array {
    const result = new Uint8Array(count)
    for (let filled = 0; filled < count;) {
      if (this.#rest.length === 0) {
        this.#rest = createHash("sha256")
          .update(`${this.#seed}/${this.#counter++}`)
          .digest()
      }
      const taken = this.#rest.subarray(0, count - filled)
      result.set(taken, filled)
      this.#rest = this.#rest.subarray(taken.length)
      filled += taken.length
    }
    return result
  }

  /** A whole number from 0 to `below` - 1. */
  integer(below: number): number {
    return Number(this.bytes(6).reduce((value, byte) => value * 256n + BigInt(byte), 0n) % BigInt(below))
  }
}
