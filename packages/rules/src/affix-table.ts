import { hashCharacter, type KeyFilter } from "./key-filter.ts"

/** Lengths up to this one are bits of a number. */
const shortMax = 30

/**
 * Which of many texts another one begins with, or ends with. One pass over its characters makes the hash of each
 * beginning that is as long as any of the texts; the filter then tells nearly always that there is none. Immutable.
 */
export class AffixTable<T> {
  readonly #isSuffix: boolean
  readonly #values: ReadonlyMap<string, T>
  readonly #filter: KeyFilter
  readonly #table: number
  /** The lengths of the texts: a bit for each, and those of longer ones, the shortest first. */
  readonly #short: number
  readonly #long: readonly number[] | undefined

  constructor(
    values: ReadonlyMap<string, T>,
    { filter, isSuffix }: { readonly filter: KeyFilter; readonly isSuffix: boolean },
  ) {
    const lengths = [...new Set([...values.keys()].map(({ length }) => length))].toSorted((a, b) => a - b)
    const long = lengths.filter((length) => length > shortMax)
    this.#isSuffix = isSuffix
    this.#values = values
    this.#filter = filter
    this.#table = filter.addTable()
    this.#short = lengths.reduce((bits, length) => (length > shortMax ? bits : bits | (1 << length)), 0)
    this.#long = long.length === 0 ? undefined : long
    for (const text of values.keys()) filter.add(this.#hash(text, text.length))
  }

  /** Appends the values of those that the text begins (or ends) with, the shortest first. */
  find(text: string, found: T[]): void {
    let hash = this.#table
    let length = 0
    for (let left = this.#short; left !== 0; left &= left - 1) {
      const next = 31 - Math.clz32(left & -left)
      if (next > text.length) return
      while (length < next) hash = hashCharacter(hash, this.#characterOf(text, length++))
      if (this.#filter.mayHold(hash)) this.#add(text, length, found)
    }
    if (this.#long !== undefined) this.#findLong(text, this.#long, found)
  }

  #findLong(text: string, lengths: readonly number[], found: T[]): void {
    let hash = this.#table
    let at = 0
    for (const length of lengths) {
      if (length > text.length) return
      while (at < length) hash = hashCharacter(hash, this.#characterOf(text, at++))
      if (this.#filter.mayHold(hash)) this.#add(text, length, found)
    }
  }

  #add(text: string, length: number, found: T[]): void {
    const value = this.#values.get(this.#isSuffix ? text.slice(text.length - length) : text.slice(0, length))
    if (value !== undefined) found.push(value)
  }

  #hash(text: string, length: number): number {
    let hash = this.#table
    for (let at = 0; at < length; at++) hash = hashCharacter(hash, this.#characterOf(text, at))
    return hash
  }

  #characterOf(text: string, at: number): number {
    return text.charCodeAt(this.#isSuffix ? text.length - 1 - at : at)
  }
}
