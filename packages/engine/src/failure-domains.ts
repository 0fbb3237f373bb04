/**
 * Failure domains (cluster, rack): never more than so many members of one in flight. `DomainCounts` is a value like
 * `SlotTable`, whose buckets are shared until one is written to; only the scheduler calls `add`, on its own fork.
 */
import { assert } from "@signalbox/kernel/assert"
import type { DomainView } from "./types.ts"

const bucketBits = 6

export class DomainCounts implements DomainView {
  readonly #buckets: Map<number, Int32Array>
  readonly #owned = new Set<number>()

  constructor(from?: DomainCounts) {
    this.#buckets = from ? new Map(from.#buckets) : new Map()
    // The origin gives its buckets up to sharing: a later write to it must copy too.
    if (from) from.#owned.clear()
  }

  fork(): DomainCounts {
    return new DomainCounts(this)
  }

  get(domain: number): number {
    return this.#buckets.get(domain >>> bucketBits)?.[domain & 63] ?? 0
  }

  add(domain: number, change: 1 | -1): void {
    if (domain < 0) return
    const id = domain >>> bucketBits
    let bucket = this.#buckets.get(id)
    if (!bucket || !this.#owned.has(id)) {
      bucket = bucket ? bucket.slice() : new Int32Array(1 << bucketBits)
      this.#buckets.set(id, bucket)
      this.#owned.add(id)
    }
    bucket[domain & 63] = (bucket[domain & 63] ?? 0) + change
  }
}

/**
 * An order of targets in which the members of each domain are spread evenly over the line, so that its head seldom
 * waits: the result's element i is the index, in `domains`, of the target that becomes ordinal i. Domains are numbered
 * from 0 without large gaps, -1 is none. Members of a domain keep their order. Linear in the targets.
 *
 * @example interleaveByDomain(Int32Array.of(0, 0, 1, 1)) // [0, 2, 1, 3]
 */
export function interleaveByDomain(domains: Int32Array): Int32Array {
  const total = domains.length
  const members = countMembers(domains)
  const byDomain = orderBy(domains, (index) => (domains[index] ?? -1) + 1, members.length)
  const places = new Int32Array(total)
  const ranks = new Int32Array(members.length)
  for (const index of byDomain) {
    const domain = (domains[index] ?? -1) + 1
    const rank = ranks[domain] ?? 0
    ranks[domain] = rank + 1
    // The middle of the rank's share of the line: evenly spread, whatever the domain's size.
    places[index] = Math.floor(((rank + 0.5) / (members[domain] ?? 1)) * total)
  }
  return orderBy(byDomain, (at) => places[byDomain[at] ?? 0] ?? 0, total).map((at) => byDomain[at] ?? 0)
}

/** How many targets each domain has; the first is that of no domain. */
function countMembers(domains: Int32Array): Int32Array {
  let largest = -1
  for (const domain of domains) {
    assert(domain >= -1, `a domain is numbered from 0, or -1 for none, not ${domain}`)
    if (domain > largest) largest = domain
  }
  assert(largest < 2 * domains.length + 1024, `domain numbers go up to ${largest}: number them without gaps`)
  const members = new Int32Array(largest + 2)
  for (const domain of domains) members[domain + 1] = (members[domain + 1] ?? 0) + 1
  return members
}

/** The indexes of `items` by their key, from 0 and below `keysCount`; equal ones keep their order (a counting sort). */
function orderBy(items: Int32Array, keyOf: (index: number) => number, keysCount: number): Int32Array {
  const starts = new Int32Array(keysCount + 1)
  for (let index = 0; index < items.length; index++) {
    const after = keyOf(index) + 1
    starts[after] = (starts[after] ?? 0) + 1
  }
  for (let key = 1; key <= keysCount; key++) starts[key] = (starts[key] ?? 0) + (starts[key - 1] ?? 0)
  const order = new Int32Array(items.length)
  for (let index = 0; index < items.length; index++) {
    const key = keyOf(index)
    const at = starts[key] ?? 0
    order[at] = index
    starts[key] = at + 1
  }
  return order
}
