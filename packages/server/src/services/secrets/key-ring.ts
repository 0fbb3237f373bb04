/**
 * The generations of the installation's keys, in memory. Owned by the key keeper, which puts others in their place when
 * the database knows others; everybody else only asks. Generation 1 is kept for ever: digests of inputs are made by it,
 * and have to stay the same as long as they are compared.
 */
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"

export const firstGeneration = 1

export class KeyRing {
  #keys: ReadonlyMap<number, Uint8Array> = new Map()
  #current = firstGeneration

  /** What new values are sealed under. */
  get current(): number {
    return this.#current
  }

  /** The newest that is known here, in use or not yet. */
  get newest(): number {
    return Math.max(...this.#keys.keys())
  }

  /** The newest first. */
  get generations(): number[] {
    return [...this.#keys.keys()].toSorted((a, b) => b - a)
  }

  has(generation: number): boolean {
    return this.#keys.has(generation)
  }

  /** @throws secrets.key-unknown: another server may have made it a moment ago */
  get(generation: number): Uint8Array {
    const key = this.#keys.get(generation)
    if (!key) throw new AppError("secrets.key-unknown", `generation ${generation} of the keys is not known here`)
    return key
  }

  replace(keys: ReadonlyMap<number, Uint8Array>, current: number): void {
    assert(keys.has(current) && keys.has(firstGeneration), "the first generation and the one in use are there")
    this.#keys = keys
    this.#current = current
  }
}
