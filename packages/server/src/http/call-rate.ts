/** Counts calls in the present second, by whoever makes them. Bounded by the calls of one second. */
export class CallRate {
  readonly #max: number
  readonly #now: () => number
  readonly #counts = new Map<string, { calls: number }>()
  #second = 0

  constructor(max: number, now: () => number) {
    this.#max = max
    this.#now = now
  }

  /** False where this is one call too many. */
  take(who: string): boolean {
    const second = Math.floor(this.#now() / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#counts.clear()
    }
    const count = this.#counts.get(who)
    if (count) return ++count.calls <= this.#max
    this.#counts.set(who, { calls: 1 })
    return this.#max >= 1
  }
}
