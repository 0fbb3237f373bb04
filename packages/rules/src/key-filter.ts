/**
 * Tells that a key is surely not among many others. Most values that a large map is asked for are not in it, and
 * learning so from the map costs several reads of memory that no cache holds; the filter has two bytes a key.
 */
export class KeyFilter {
  readonly #bits: Uint32Array
  readonly #mask: number

  constructor(keys: Iterable<unknown>, count: number) {
    let size = 32
    while (size < count * 16) size *= 2
    this.#mask = size - 1
    this.#bits = new Uint32Array(size / 32)
    for (const key of keys) {
      const at = hash(key) & this.#mask
      this.#bits[at >>> 5] = (this.#bits[at >>> 5] ?? 0) | (1 << (at & 31))
    }
  }

  /** False where the key is surely not among them. */
  mayHold(key: unknown): boolean {
    const at = hash(key) & this.#mask
    return (((this.#bits[at >>> 5] ?? 0) >>> (at & 31)) & 1) === 1
  }
}

const double = new Float64Array(1)
const halves = new Uint32Array(double.buffer)

/** Of a text the beginning and the end are enough: a filter may be wrong in one direction. */
function hash(key: unknown): number {
  if (typeof key === "string") {
    const { length } = key
    let mixed = length
    for (let at = 0; at < length && at < 16; at++) mixed = Math.imul(mixed ^ key.charCodeAt(at), 0x01000193)
    for (let at = Math.max(16, length - 16); at < length; at++) {
      mixed = Math.imul(mixed ^ key.charCodeAt(at), 0x01000193)
    }
    return mixed ^ (mixed >>> 15)
  }
  // Without a negative zero, which a map takes for zero.
  double[0] = typeof key === "number" ? key + 0 : key === true ? 1 : 0
  const mixed = Math.imul((halves[0] ?? 0) ^ Math.imul(halves[1] ?? 0, 0x9e3779b1), 0x85ebca6b)
  return mixed ^ (mixed >>> 15)
}
