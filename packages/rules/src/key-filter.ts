/**
 * Tells that a key is surely not in a table: of all tables of a set together. Most values that tables are asked for are
 * not in them, and learning so from a table costs several reads of memory that no cache holds; here it costs one. Three
 * bits of one word for each key, of sixteen that it has room for.
 */
export class KeyFilter {
  #added: number[] = []
  #words = new Uint32Array(1)
  #mask = 0
  #tables = 0

  /** A number for each table, to begin (or to mix) the hashes of its keys with. */
  addTable(): number {
    return Math.imul(++this.#tables, 0x9e3779b1)
  }

  add(hash: number): void {
    this.#added.push(hash)
  }

  /** Has to follow what was added before anything is asked. */
  build(): void {
    let count = 1
    while (count * 2 < this.#added.length) count *= 2
    this.#words = new Uint32Array(count)
    this.#mask = count - 1
    for (const hash of this.#added) {
      const mixed = mix(hash)
      const at = mixed & this.#mask
      this.#words[at] = (this.#words[at] ?? 0) | bitsOf(mixed)
    }
    this.#added = []
  }

  /** False where no table has a key with this hash. */
  mayHold(hash: number): boolean {
    const mixed = mix(hash)
    return (~(this.#words[mixed & this.#mask] ?? 0) & bitsOf(mixed)) === 0
  }
}

function mix(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  return mixed ^ (mixed >>> 13)
}

function bitsOf(mixed: number): number {
  const other = Math.imul(mixed, 0xc2b2ae35)
  return (1 << (other >>> 27)) | (1 << ((other >>> 22) & 31)) | (1 << ((other >>> 17) & 31))
}

/** The hash of a text's next character. */
export function hashCharacter(hash: number, character: number): number {
  return Math.imul(hash ^ character, 0x01000193)
}

const double = new Float64Array(1)
const halves = new Uint32Array(double.buffer)

/** Of a text the beginning and the end are enough: a filter may be wrong in one direction. */
export function hashKey(table: number, key: unknown): number {
  if (typeof key === "string") {
    const { length } = key
    let hash = table ^ length
    for (let at = 0; at < length && at < 16; at++) hash = hashCharacter(hash, key.charCodeAt(at))
    for (let at = Math.max(16, length - 16); at < length; at++) hash = hashCharacter(hash, key.charCodeAt(at))
    return hash
  }
  // Without a negative zero, which a map takes for zero.
  double[0] = typeof key === "number" ? key + 0 : key === true ? 1 : 0
  return Math.imul(table ^ (halves[0] ?? 0) ^ Math.imul(halves[1] ?? 0, 0x9e3779b1), 0x85ebca6b)
}
