import type { Range } from "./condition.ts"

interface Interval<T> {
  readonly range: Range
  readonly value: T
}

interface IntervalNode<T> {
  readonly center: number
  /** The intervals that hold the center, by their low and by their high end. */
  readonly byLow: ReadonlyArray<Interval<T>>
  readonly byHigh: ReadonlyArray<Interval<T>>
  readonly below: IntervalNode<T> | undefined
  readonly above: IntervalNode<T> | undefined
}

/**
 * Intervals by the numbers in them: as many steps as a binary search, and one for each interval found. Immutable.
 * Those that are open at one end are in sorted lists of their own.
 */
export class IntervalTree<T> {
  /** Without an upper end, by the low one; without a lower end, by the high one, largest first. */
  readonly #upwards: ReadonlyArray<Interval<T>>
  readonly #downwards: ReadonlyArray<Interval<T>>
  readonly #root: IntervalNode<T> | undefined

  constructor(intervals: ReadonlyArray<Interval<T>>) {
    const sorted = intervals.filter(({ range }) => !isEmpty(range)).toSorted((a, b) => a.range.low - b.range.low || 0)
    this.#upwards = sorted.filter(({ range }) => range.high === Infinity)
    this.#downwards = sorted
      .filter(({ range }) => range.low === -Infinity && range.high !== Infinity)
      .toSorted((a, b) => b.range.high - a.range.high)
    this.#root = build(sorted.filter(({ range }) => range.low !== -Infinity && range.high !== Infinity))
  }

  /** Appends the values of the intervals that hold a number, each once. */
  find(number: number, found: T[]): void {
    for (const { range, value } of this.#upwards) {
      if (range.low > number) break
      if (range.low < number || range.isLowIn) found.push(value)
    }
    for (const { range, value } of this.#downwards) {
      if (range.high < number) break
      if (range.high > number || range.isHighIn) found.push(value)
    }
    let node = this.#root
    while (node !== undefined) {
      if (number === node.center) {
        for (const { range, value } of node.byLow) if (holds(range, number)) found.push(value)
        return
      }
      const isBelow = number < node.center
      const list = isBelow ? node.byLow : node.byHigh
      for (const { range, value } of list) {
        if (isBelow ? range.low > number : range.high < number) break
        if (holds(range, number)) found.push(value)
      }
      node = isBelow ? node.below : node.above
    }
  }
}

export function holds({ high, isHighIn, isLowIn, low }: Range, number: number): boolean {
  return (number > low || (isLowIn && number === low)) && (number < high || (isHighIn && number === high))
}

function isEmpty({ high, isHighIn, isLowIn, low }: Range): boolean {
  return low > high || (low === high && !(isLowIn && isHighIn))
}

/** @param sorted by the low end */
function build<T>(sorted: ReadonlyArray<Interval<T>>): IntervalNode<T> | undefined {
  const middle = sorted[sorted.length >> 1]
  if (middle === undefined) return undefined
  const center = middle.range.low
  const at = sorted.filter(({ range }) => range.low <= center && range.high >= center)
  return {
    center,
    byLow: at,
    byHigh: at.toSorted((a, b) => b.range.high - a.range.high),
    below: build(sorted.filter(({ range }) => range.high < center)),
    above: build(sorted.filter(({ range }) => range.low > center)),
  }
}
