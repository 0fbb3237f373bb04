import { assert } from "@signalbox/kernel/assert"
import { alternativeOf } from "./alternative.ts"
import { byId, evaluateRule, type RuleData } from "./evaluate-rules.ts"
import { checkOf, decide } from "./quick-check.ts"
import { createSegment, eachTriggered, type RuleSegment } from "./rule-segment.ts"
import type { CompiledRule, RuleFault, RuleMatches, RuleTrigger } from "./rule-source.ts"
import { IndexSearch } from "./search-index.ts"

/** Rules of one account. Immutable: `with` and `without` give another set. */
export interface RuleSet {
  readonly size: number
  /** Whether any rule waits for any of these. Costs next to nothing, so that the data are made only where it is true. */
  concerns(occurred: readonly RuleTrigger[]): boolean
  /** The rules that wait for any of these, whatever their condition. */
  waiting(occurred: readonly RuleTrigger[]): ReadonlySet<CompiledRule>
  /** The rules that wait for any of these, and whose condition is true of the data. */
  match(occurred: readonly RuleTrigger[], data: RuleData): RuleMatches
  /** The set with this rule added, or put in place of that with the same id. */
  with(rule: CompiledRule): RuleSet
  without(id: string): RuleSet
}

/** @throws AssertionError where two rules have the same id */
export function createRuleSet(rules: readonly CompiledRule[]): RuleSet {
  const segment = createSegment(rules)
  assert(segment.rules.size === rules.length, "two rules have the same id")
  return new SegmentedRuleSet(rules.length === 0 ? [] : [{ segment, removed: new Set() }])
}

interface Part {
  readonly segment: RuleSegment
  /** Rules that are in the segment still and not in the set any more. */
  readonly removed: ReadonlySet<CompiledRule>
}

/** A part of the set is indexed anew together with those that are not this much larger. */
const growth = 8

/**
 * Owns: the parts, each indexed once, largest first. A change makes a part of its own, so that it costs little whatever
 * the size of the set; parts of like size are joined, so that there are few.
 */
class SegmentedRuleSet implements RuleSet {
  readonly size: number
  readonly #parts: readonly Part[]

  constructor(parts: readonly Part[]) {
    this.#parts = parts
    this.size = parts.reduce((sum, part) => sum + liveSize(part), 0)
  }

  concerns(occurred: readonly RuleTrigger[]): boolean {
    let isConcerned = false
    for (const { segment } of this.#parts) {
      for (const each of occurred) eachTriggered(segment, each, () => (isConcerned = true))
    }
    return isConcerned
  }

  waiting(occurred: readonly RuleTrigger[]): ReadonlySet<CompiledRule> {
    const found = new Set<CompiledRule>()
    for (const { removed, segment } of this.#parts) {
      for (const each of occurred) {
        eachTriggered(segment, each, ({ entries }) => {
          for (const { rule } of entries) if (!removed.has(rule)) found.add(rule)
        })
      }
    }
    return found
  }

  match(occurred: readonly RuleTrigger[], data: RuleData): RuleMatches {
    let search: IndexSearch | undefined
    for (const { removed, segment } of this.#parts) {
      for (const each of occurred) {
        eachTriggered(segment, each, (bucket) => {
          search ??= new IndexSearch(data)
          search.removed = removed.size === 0 ? undefined : removed
          search.begin(bucket)
        })
      }
    }
    return search === undefined ? nothing : new SearchMatches(search)
  }

  with(rule: CompiledRule): RuleSet {
    const parts = this.#partsWithout(rule.id)
    const added = [rule]
    for (let last = parts.at(-1); last !== undefined && liveSize(last) < added.length * growth; last = parts.at(-1)) {
      const { removed, segment } = last
      for (const each of segment.rules.values()) if (!removed.has(each)) added.push(each)
      parts.pop()
    }
    return new SegmentedRuleSet([...parts, { segment: createSegment(added), removed: new Set() }])
  }

  without(id: string): RuleSet {
    const parts = this.#partsWithout(id)
    return new SegmentedRuleSet(parts.filter((part) => liveSize(part) > 0))
  }

  #partsWithout(id: string): Part[] {
    return this.#parts.map((part) => {
      const rule = part.segment.rules.get(id)
      if (rule === undefined || part.removed.has(rule)) return part
      const removed = new Set([...part.removed, rule])
      if (removed.size * 2 < part.segment.rules.size) return { ...part, removed }
      const left = [...part.segment.rules.values()].filter((each) => !removed.has(each))
      return { segment: createSegment(left), removed: new Set<CompiledRule>() }
    })
  }
}

function liveSize({ removed, segment }: Part): number {
  return segment.rules.size - removed.size
}

const nothing: RuleMatches = { matched: [], faults: [] }

class SearchMatches implements RuleMatches {
  readonly matched: readonly CompiledRule[]
  readonly #search: IndexSearch
  #faults: readonly RuleFault[] | undefined

  constructor(search: IndexSearch) {
    this.matched = search.matched.length > 1 ? search.matched.sort(byId) : search.matched
    this.#search = search
  }

  get faults(): readonly RuleFault[] {
    return (this.#faults ??= this.#findFaults())
  }

  #findFaults(): readonly RuleFault[] {
    const { data, faults = [], suspects = [] } = this.#search
    const found = new Map(faults.map((fault) => [fault.rule, fault]))
    const seen = new Set<CompiledRule>()
    const last = { path: undefined, scope: undefined, value: undefined }
    for (const { entries, removed } of suspects) {
      for (const entry of entries) {
        const { rule } = entry
        if (seen.has(rule) || found.has(rule) || removed?.has(rule) === true) continue
        seen.add(rule)
        entry.check ??= checkOf(alternativeOf(entry, rule.tests))
        // One part that is surely false decides, whatever the others come to.
        if (decide(entry.check, data, last) === false) continue
        const result = evaluateRule(rule, data)
        if (typeof result === "object") found.set(rule, result)
      }
    }
    return [...found.values()].toSorted((a, b) => byId(a.rule, b.rule))
  }
}
