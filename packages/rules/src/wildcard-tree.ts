import type { PatternLiterals } from "@signalbox/expressions/pattern-literals"
import { TextTrie } from "./text-trie.ts"

/** In the trie's texts: here a part follows that may stand anywhere… */
const gapText = "\u0000"
/** … or here follows what the text ends with, from its last character on. */
const turnText = "\u0001"
const [gap, turn] = [gapText.charCodeAt(0), turnText.charCodeAt(0)]

/** Longer parts between the ends stand by themselves, where they are found in one pass however often they begin. */
const innerLengthMax = 64

/**
 * A wildcard as a way through the trie: what the text begins with, what it ends with from its last character on, and
 * the parts between. Undefined where it is no wildcard, has a single part, a long one between its ends, or one of the two
 * characters that the trie keeps to itself.
 */
export function wildcardKey({ isEnd, isStart, isWildcard, parts }: PatternLiterals): string | undefined {
  if (!isWildcard || parts.length < 2) return undefined
  if (parts.some((part) => part.includes(gapText) || part.includes(turnText))) return undefined
  const first = isStart ? parts[0] : ""
  const last = isEnd ? parts.at(-1)?.split("").toReversed().join("") : ""
  const inner = parts.slice(isStart ? 1 : 0, isEnd ? -1 : undefined)
  if (inner.some(({ length }) => length > innerLengthMax)) return undefined
  return `${first}${turnText}${last}${inner.map((part) => gapText + part).join("")}`
}

/**
 * Which of many wildcards a text fits. Those with the same beginning and end go on together, and so do those with the
 * same part next: each part is looked for once, and only from the first place on where those before it are over. A search
 * takes as many steps as there are different beginnings of wildcards that the text fits, times its length
 * and that of a part.
 */
export class WildcardTree<T> {
  readonly #trie: TextTrie<T>
  /** The number of the last search that came here. */
  readonly #reached: Int32Array
  #searches = 0
  /** Of the search that is on. It gives way to nothing. */
  #text = ""
  #found: T[] = []

  /** @param entries by `wildcardKey` */
  constructor(entries: ReadonlyMap<string, T>) {
    this.#trie = new TextTrie(entries)
    this.#reached = new Int32Array(this.#trie.size)
  }

  /** Appends the values of the wildcards that the text fits. Line ends are characters like others. */
  find(text: string, found: T[]): void {
    this.#begin(text, found)
    let node = 0
    for (let from = 0; node >= 0; from++) {
      const turned = this.#trie.childOf(node, turn)
      if (turned >= 0) this.#findEnds(turned, from)
      node = from < text.length ? this.#next(node, from) : -1
    }
    this.#text = ""
  }

  #begin(text: string, found: T[]): void {
    if (++this.#searches >= 2 ** 31) {
      this.#reached.fill(0)
      this.#searches = 1
    }
    this.#text = text
    this.#found = found
  }

  /** @param from where what the text begins with is over */
  #findEnds(turned: number, from: number): void {
    let node = turned
    for (let to = this.#text.length; node >= 0; to--) {
      this.#arrive(node, from, to)
      node = to > from ? this.#next(node, to - 1) : -1
    }
  }

  /** At the end of a part, or at a place inside of one: parts between `from` and `to` are left. */
  #arrive(node: number, from: number, to: number): void {
    const value = this.#trie.valueAt(node)
    const next = this.#trie.childOf(node, gap)
    if ((value === undefined && next < 0) || this.#reached[node] === this.#searches) return
    // Further on in the text nothing fits that doesn't fit from here.
    this.#reached[node] = this.#searches
    if (value !== undefined) this.#found.push(value)
    if (next < 0) return
    for (let at = from; at < to; at++) {
      let inner = this.#next(next, at)
      for (let end = at + 1; inner >= 0; end++) {
        this.#arrive(inner, end, to)
        inner = end < to ? this.#next(inner, end) : -1
      }
    }
  }

  #next(node: number, at: number): number {
    const character = this.#text.charCodeAt(at)
    return character <= turn ? -1 : this.#trie.childOf(node, character)
  }
}
