/**
 * The slots of one execution by ordinal, as a value: `fork` gives a copy that may be changed without touching this one.
 * Ordinals in flight lie close together, so they are kept in buckets of 64 that are shared until one is written to: a
 * fork costs width / 64, a change at most 64. Only the scheduler calls `set` and `delete`, on its own fork.
 */
import type { Slot, SlotView } from "./types.ts"

const bucketBits = 6

export class SlotTable implements SlotView {
  readonly #buckets: Map<number, Map<number, Slot>>
  /** Buckets made by this table itself, which may be written in place. */
  readonly #owned = new Set<number>()
  #size: number

  constructor(from?: SlotTable) {
    this.#buckets = from ? new Map(from.#buckets) : new Map()
    this.#size = from ? from.#size : 0
    // The origin gives its buckets up to sharing: a later write to it must copy too.
    if (from) from.#owned.clear()
  }

  fork(): SlotTable {
    return new SlotTable(this)
  }

  get size(): number {
    return this.#size
  }

  get(ordinal: number): Slot | undefined {
    return this.#buckets.get(ordinal >>> bucketBits)?.get(ordinal)
  }

  *values(): IterableIterator<Slot> {
    for (const bucket of this.#buckets.values()) yield* bucket.values()
  }

  set(slot: Slot): void {
    const bucket = this.#writable(slot.ordinal >>> bucketBits)
    const sizeBefore = bucket.size
    bucket.set(slot.ordinal, slot)
    this.#size += bucket.size - sizeBefore
  }

  delete(ordinal: number): void {
    const id = ordinal >>> bucketBits
    const bucket = this.#writable(id)
    if (bucket.delete(ordinal)) this.#size -= 1
    if (bucket.size > 0) return
    this.#buckets.delete(id)
    this.#owned.delete(id)
  }

  #writable(id: number): Map<number, Slot> {
    const bucket = this.#buckets.get(id)
    if (bucket && this.#owned.has(id)) return bucket
    const own = new Map(bucket)
    this.#buckets.set(id, own)
    this.#owned.add(id)
    return own
  }
}
