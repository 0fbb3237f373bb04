import { alternativeOf } from "./alternative.ts"
import { buildBucket, buildIndex } from "./build-index.ts"
import type { Entry, TriggeredRules } from "./rule-index.ts"
import type { CompiledRule, RuleTrigger } from "./rule-source.ts"

/** Rules that were indexed together. Immutable. */
export interface RuleSegment {
  readonly rules: ReadonlyMap<string, CompiledRule>
  readonly tables: ReadonlyMap<RuleTrigger["on"], TriggerTable>
}

interface TriggerTable {
  readonly byName: ReadonlyMap<string, TriggeredRules>
  /** By what stands before `.*`; of `*` the empty text. */
  readonly byPrefix: ReadonlyMap<string, TriggeredRules>
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
  const index = (group: ReadonlyMap<string, readonly Entry[]>): Map<string, TriggeredRules> =>
    new Map([...group].map(([key, entries]) => [key, indexEntries(entries)]))
  return {
    rules: new Map(rules.map((rule) => [rule.id, rule])),
    tables: new Map(
      [...drafts].map(([on, { byName, byPrefix }]) => [on, { byName: index(byName), byPrefix: index(byPrefix) }]),
    ),
  }
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

function indexEntries(entries: readonly Entry[]): TriggeredRules {
  const { left, node } = buildIndex(entries.map((entry) => alternativeOf(entry, entry.rule.tests)))
  // What has no test to stand at is evaluated each time.
  return { ...buildBucket(left, { nesting: Infinity }), nested: node, entries, bounded: boundedOf(entries) }
}

function boundedOf(all: readonly Entry[]): TriggeredRules["bounded"] {
  const entries = all.filter(({ rule }) => rule.safeSize < Infinity)
  if (entries.length === 0) return undefined
  return { entries, sizeMax: entries.reduce((max, { rule }) => Math.max(max, rule.safeSize), 0) }
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
  if (own !== undefined) call(own)
  if (table.byPrefix.size === 0) return
  const all = table.byPrefix.get("")
  if (all !== undefined) call(all)
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
    const bucket = table.byPrefix.get(name.slice(0, dot))
    if (bucket !== undefined && dot > 0) call(bucket)
  }
}
