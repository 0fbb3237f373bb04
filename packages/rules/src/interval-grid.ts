import type { Range } from "./condition.ts"

/** Cells for each interval; a bit each. */
const cellsEach = 16

/**
 * Tells that a number is surely in none of many intervals: what lies between the lowest and the highest of their ends is
 * cut into equal cells, and a bit says whether an interval touches the cell. Where intervals are narrow, most numbers fall
 * between them, and one read of memory tells so. Immutable.
 */
export class IntervalGrid {
  readonly #words: Uint32Array
  readonly #low: number
  readonly #high: number
  readonly #scale: number

  constructor(ranges: readonly Range[]) {
    const ends = ranges.flatMap(({ high, low }) => [low, high]).filter(Number.isFinite)
    const cells = ranges.length * cellsEach
    this.#low = ends.reduce((least, each) => Math.min(least, each), Infinity)
    this.#high = ends.reduce((most, each) => Math.max(most, each), -Infinity)
    this.#scale = (cells - 1) / (this.#high - this.#low)
    this.#words = new Uint32Array(Math.ceil(cells / 32))
    /** How many intervals begin at a cell, less those that ended at the one before. */
    const changes = new Int32Array(cells + 1)
    for (const { high, low } of ranges) {
      if (!(low <= high) || !this.isUsable) continue
      const [first, last] = [this.#cellOf(Math.max(low, this.#low)), this.#cellOf(Math.min(high, this.#high))]
      changes[first] = (changes[first] ?? 0) + 1
      changes[last + 1] = (changes[last + 1] ?? 0) - 1
    }
    let open = 0
    for (let cell = 0; cell < cells; cell++) {
      open += changes[cell] ?? 0
      if (open > 0) this.#words[cell >>> 5] = (this.#words[cell >>> 5] ?? 0) | (1 << (cell & 31))
    }
  }

  /** Not where there are no two finite ends, or where they are further from one another than a number can say. */
  get isUsable(): boolean {
    return Number.isFinite(this.#scale) && this.#scale > 0
  }

  /** False where the number is surely in none of them. Outside of all finite ends nothing is known. */
  mayHold(number: number): boolean {
    if (!(number >= this.#low && number <= this.#high)) return true
    const cell = this.#cellOf(number)
    return (((this.#words[cell >>> 5] ?? 0) >>> (cell & 31)) & 1) === 1
  }

  #cellOf(number: number): number {
    return Math.floor((number - this.#low) * this.#scale)
  }
}
