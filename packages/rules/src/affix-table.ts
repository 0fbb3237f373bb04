/**
 * Which of many texts another one begins with, or ends with. One pass over its characters makes the hash of each
 * beginning that is as long as any of the texts; a filter of a few bytes for each text then tells nearly always that there is
 * none, so that a search reads memory that caches hold, however many texts there are. Immutable.
 */
export class AffixTable<T> {
  readonly #isSuffix: boolean
  readonly #values: ReadonlyMap<string, T>
  /** Of the texts, each once, the shortest first. */
  readonly #lengths: Int32Array
  readonly #bits: Uint32Array
  readonly #mask: number

  constructor(values: ReadonlyMap<string, T>, { isSuffix }: { readonly isSuffix: boolean }) {
    let size = 32
    while (size < values.size * 16) size *= 2
    this.#isSuffix = isSuffix
    this.#values = values
    this.#lengths = Int32Array.from(new Set([...values.keys()].map(({ length }) => length))).sort()
    this.#mask = size - 1
    this.#bits = new Uint32Array(size / 32)
    for (const text of values.keys()) {
      let hash = seed
      for (let at = 0; at < text.length; at++) hash = mixed(hash, this.#characterOf(text, at))
      for (const bit of [hash ^ (hash >>> 15), second(hash)]) {
        const place = bit & this.#mask
        this.#bits[place >>> 5] = (this.#bits[place >>> 5] ?? 0) | (1 << (place & 31))
      }
    }
  }

  /** Appends the values of those that the text begins (or ends) with, the shortest first. */
  find(text: string, found: T[]): void {
    const lengths = this.#lengths
    let hash = seed
    let at = 0
    for (let index = 0; index < lengths.length; index++) {
      const length = lengths[index] ?? 0
      if (length > text.length) return
      for (; at < length; at++) hash = mixed(hash, this.#characterOf(text, at))
      if (!this.#has(hash ^ (hash >>> 15)) || !this.#has(second(hash))) continue
      const value = this.#values.get(this.#isSuffix ? text.slice(text.length - length) : text.slice(0, length))
      if (value !== undefined) found.push(value)
    }
  }

  #has(bit: number): boolean {
    const place = bit & this.#mask
    return (((this.#bits[place >>> 5] ?? 0) >>> (place & 31)) & 1) === 1
  }

  #characterOf(text: string, at: number): number {
    return text.charCodeAt(this.#isSuffix ? text.length - 1 - at : at)
  }
}

const seed = 0x811c9dc5

function mixed(hash: number, character: number): number {
  return Math.imul(hash ^ character, 0x01000193)
}

function second(hash: number): number {
  const turned = Math.imul(hash, 0x9e3779b1)
  return turned ^ (turned >>> 13)
}
