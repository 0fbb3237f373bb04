import type { Range } from "./condition.ts"
import { IntervalGrid } from "./interval-grid.ts"

interface Interval<T> {
  readonly range: Range
  readonly value: T
}

/**
 * Intervals by the numbers in them: as many steps as a binary search, and as many for each interval found. Immutable.
 * The intervals stand in the order of their low ends; above them is a tree with the largest high end of each half,
 * the halves of node n being 2n and 2n + 1. All in flat arrays, since a search of scattered objects waits for memory.
 */
export class IntervalTree<T> {
  readonly #lows: Float64Array
  readonly #largest: Float64Array
  /** How many intervals there is room for: a power of two. The last row of the tree are the high ends themselves. */
  readonly #room: number
  readonly #intervals: ReadonlyArray<Interval<T>>
  /** Where there are many. */
  readonly #grid: IntervalGrid | undefined

  constructor(intervals: ReadonlyArray<Interval<T>>) {
    const sorted = intervals.toSorted((a, b) => (a.range.low < b.range.low ? -1 : Number(a.range.low > b.range.low)))
    let room = 1
    while (room < sorted.length) room *= 2
    const largest = new Float64Array(2 * room).fill(-Infinity)
    for (const [index, { range }] of sorted.entries()) largest[room + index] = range.high
    for (let node = room - 1; node > 0; node--) {
      largest[node] = Math.max(largest[2 * node] ?? -Infinity, largest[2 * node + 1] ?? -Infinity)
    }
    this.#lows = Float64Array.from(sorted, ({ range }) => range.low)
    this.#largest = largest
    this.#room = room
    this.#intervals = sorted
    this.#grid = griddedOf(sorted)
  }

  /** Appends the values of the intervals that hold a number, each once. */
  find(number: number, found: T[]): void {
    if (this.#grid !== undefined && !this.#grid.mayHold(number)) return
    const begun = this.#countBegun(number)
    if (begun > 0) this.#collect(1, { number, begun, found })
  }

  /** How many begin at the number or below it. */
  #countBegun(number: number): number {
    const lows = this.#lows
    let from = 0
    let to = lows.length
    while (from < to) {
      const middle = (from + to) >> 1
      if ((lows[middle] ?? Infinity) <= number) from = middle + 1
      else to = middle
    }
    return from
  }

  #collect(node: number, search: { readonly number: number; readonly begun: number; readonly found: T[] }): void {
    const { begun, found, number } = search
    if ((this.#largest[node] ?? -Infinity) < number) return
    if (node >= this.#room) {
      const interval = this.#intervals[node - this.#room]
      if (interval !== undefined && holds(interval.range, number)) found.push(interval.value)
      return
    }
    this.#collect(2 * node, search)
    // The first interval of the right half: the node's leftmost leaf, of the row below it.
    let first = 2 * node + 1
    while (first < this.#room) first *= 2
    if (first - this.#room < begun) this.#collect(2 * node + 1, search)
  }
}

const griddedMin = 8

/** None where the ends are one, or so far from one another that there is no cutting in between. */
function griddedOf(intervals: ReadonlyArray<Interval<unknown>>): IntervalGrid | undefined {
  if (intervals.length < griddedMin) return undefined
  const grid = new IntervalGrid(intervals.map(({ range }) => range))
  return grid.isUsable ? grid : undefined
}

export function holds({ high, isHighIn, isLowIn, low }: Range, number: number): boolean {
  return (number > low || (isLowIn && number === low)) && (number < high || (isHighIn && number === high))
}
