/** The order in which targets start. Pure. */
import { interleaveByDomain } from "@signalbox/engine/failure-domains"
import type { TargetNode } from "./target-source.ts"

export function orderById<T extends { readonly id: string }>(nodes: readonly T[]): T[] {
  return nodes.toSorted((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
}

export interface DomainOrder {
  readonly nodes: readonly TargetNode[]
  /** By ordinal; -1 is none. */
  readonly domains: Int32Array
  readonly domainsCount: number
  /** Members of the largest domain. */
  readonly largest: number
  readonly withoutTag: number
}

/**
 * Targets with the same value of the tag as far apart as they can be, so that the next one seldom has to wait. A rollback
 * keeps its order, which is that of the run it puts back, and the domains of then.
 */
export function orderByDomain(nodes: readonly TargetNode[], tag: string): DomainOrder {
  const numbers = new Map<string, number>()
  const sizes: number[] = []
  const isRollback = nodes.some(({ origin }) => origin !== undefined)
  const domains = Int32Array.from(nodes, (node) => {
    const value = Object.hasOwn(node.tags, tag) ? node.tags[tag] : undefined
    const name = isRollback ? node.domain : value
    if (name === undefined) return -1
    const number = numbers.get(String(name)) ?? numbers.size
    numbers.set(String(name), number)
    sizes[number] = (sizes[number] ?? 0) + 1
    return number
  })
  const order = isRollback ? Int32Array.from(nodes.keys()) : interleaveByDomain(domains)
  const ordered = Array.from(order, (index) => withDomain(nodes, domains, index))
  const sorted = Int32Array.from(order, (index) => domains[index] ?? -1)
  const largest = sizes.reduce((most, size) => Math.max(most, size), 0)
  const withoutTag = nodes.length - sizes.reduce((sum, size) => sum + size, 0)
  return { nodes: ordered, domains: sorted, domainsCount: numbers.size, largest, withoutTag }
}

function withDomain(nodes: readonly TargetNode[], domains: Int32Array, index: number): TargetNode {
  const node = nodes[index]
  const domain = domains[index] ?? -1
  if (!node) throw new Error(`the order names target ${index}, and there are ${nodes.length}`)
  const { domain: _, ...rest } = node
  return domain < 0 ? rest : { ...rest, domain }
}
