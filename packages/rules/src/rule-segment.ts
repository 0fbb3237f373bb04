import { alternativeOf } from "./alternative.ts"
import { buildBucket, buildIndex } from "./build-index.ts"
import { KeyFilter } from "./key-filter.ts"
import type { Entry, TriggeredRules } from "./rule-index.ts"
import type { CompiledRule, RuleTrigger } from "./rule-source.ts"

/** Rules that were indexed together. Immutable. */
export interface RuleSegment {
  readonly rules: ReadonlyMap<string, CompiledRule>
  readonly tables: ReadonlyMap<RuleTrigger["on"], TriggerTable>
}

interface TriggerTable {
  readonly byName: ReadonlyMap<string, NamedRules>
  /** By what stands before `.*`; of `*` the empty text. */
  readonly byPrefix: ReadonlyMap<string, TriggeredRules>
}

interface NamedRules {
  readonly rules: TriggeredRules
  /** The rules of patterns that fit the name are among these. */
  readonly isComplete: boolean
}

export function createSegment(rules: readonly CompiledRule[]): RuleSegment {
  const drafts = new Map<RuleTrigger["on"], { byName: Map<string, Entry[]>; byPrefix: Map<string, Entry[]> }>()
  for (const rule of rules) {
    const entry: Entry = { rule, mark: 0, check: undefined }
    for (const { name, on } of distinct(rule.triggers)) {
      const draft = drafts.get(on) ?? { byName: new Map<string, Entry[]>(), byPrefix: new Map<string, Entry[]>() }
      drafts.set(on, draft)
      const prefix = prefixOf(name)
      const [group, key] = prefix === undefined ? [draft.byName, name] : [draft.byPrefix, prefix]
      const known = group.get(key)
      if (known === undefined) group.set(key, [entry])
      else known.push(entry)
    }
  }
  const filter = new KeyFilter()
  const tables = new Map<RuleTrigger["on"], TriggerTable>()
  for (const [on, { byName, byPrefix }] of drafts) {
    const named = [...byName].map(([name, own]) => [name, indexNamed({ name, own, filter }, byPrefix)] as const)
    const general = [...byPrefix].map(([prefix, own]) => [prefix, indexEntries(own, filter)] as const)
    tables.set(on, { byName: new Map(named), byPrefix: new Map(general) })
  }
  filter.build()
  return { rules: new Map(rules.map((rule) => [rule.id, rule])), tables }
}

/** A name's rules take those of patterns into their index up to half of their own number, which spares an index to ask. */
const generalShareMax = 0.5

function indexNamed(
  { filter, name, own }: { readonly name: string; readonly own: readonly Entry[]; readonly filter: KeyFilter },
  byPrefix: ReadonlyMap<string, readonly Entry[]>,
): NamedRules {
  const general: Array<readonly Entry[]> = []
  eachPrefix(name, (prefix) => general.push(byPrefix.get(prefix) ?? []))
  const isComplete = general.reduce((sum, { length }) => sum + length, 0) <= own.length * generalShareMax
  return { isComplete, rules: indexEntries(isComplete ? [...new Set([own, ...general].flat())] : own, filter) }
}

function distinct(triggers: readonly RuleTrigger[]): RuleTrigger[] {
  return triggers.filter(
    (each, at) => triggers.findIndex(({ name, on }) => on === each.on && name === each.name) === at,
  )
}

function prefixOf(name: string): string | undefined {
  if (name === "*") return ""
  return name.endsWith(".*") ? name.slice(0, -2) : undefined
}

function indexEntries(entries: readonly Entry[], filter: KeyFilter): TriggeredRules {
  const alternatives = entries.map((entry) => alternativeOf(entry, entry.rule.tests))
  const { left, node } = buildIndex(alternatives, { filter, nesting: 0 })
  // What has no test to stand at is evaluated each time.
  const { checks, hits } = buildBucket(left, { filter, nesting: Infinity })
  return { hits, checks, same: undefined, nested: node, entries, bounded: boundedOf(entries) }
}

function boundedOf(all: readonly Entry[]): TriggeredRules["bounded"] {
  const entries = all
    .filter(({ rule }) => rule.safeSize < Infinity)
    .toSorted((a, b) => a.rule.safeSize - b.rule.safeSize)
  if (entries.length === 0) return undefined
  return { entries, sizeMax: entries.at(-1)?.rule.safeSize ?? 0 }
}

/** Calls for the rules of each trigger that names what occurred. */
export function eachTriggered(
  segment: RuleSegment,
  occurred: RuleTrigger,
  call: (rules: TriggeredRules) => void,
): void {
  const table = segment.tables.get(occurred.on)
  if (table === undefined) return
  const { name } = occurred
  const own = table.byName.get(name)
  if (own !== undefined) call(own.rules)
  if (own?.isComplete === true || table.byPrefix.size === 0) return
  eachPrefix(name, (prefix) => {
    const rules = table.byPrefix.get(prefix)
    if (rules !== undefined) call(rules)
  })
}

/** What stands before the `.*` of patterns that fit the name; of `*` the empty text. */
function eachPrefix(name: string, call: (prefix: string) => void): void {
  call("")
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) if (dot > 0) call(name.slice(0, dot))
}
