import { AffixTable } from "./affix-table.ts"
import { extend, isSameOperand, pathKey, type Alternative, type Standing } from "./alternative.ts"
import { chooseStandings, gatherStatistics } from "./choose-test.ts"
import type { Key, Operand, Path, Range, Test } from "./condition.ts"
import { IntervalTree } from "./interval-tree.ts"
import { hashKey, type KeyFilter } from "./key-filter.ts"
import { checkOf } from "./quick-check.ts"
import { noSuspects, PathDraft } from "./path-draft.ts"
import type { Bucket, Entry, IndexNode, MadeValue, OtherTests, TextTests, ValueIndex, Wildcards } from "./rule-index.ts"
import { TextFinder } from "./text-trie.ts"
import { WildcardTree, wildcardKey } from "./wildcard-tree.ts"

/** As many rules at one test are evaluated one after the other; more get an index of what is left of their conditions. */
const checksMax = 4
const nestingMax = 6
/** From so many keys on, a map is asked only for those that its filter lets pass. */
const filteredMin = 8

/** An index of these; those that have no test to stand at are left over. */
export function buildIndex(
  alternatives: readonly Alternative[],
  place: Place,
): { node: IndexNode | undefined; same: ValueIndex | undefined; left: Alternative[] } {
  const { isOfItem, nesting } = place
  const builder = new IndexBuilder(place)
  const statistics = gatherStatistics(alternatives)
  const left: Alternative[] = []
  for (const alternative of alternatives) {
    const standings = chooseStandings(alternative, statistics, nesting === 0)
    if (standings === undefined) left.push(alternative)
    else for (const standing of standings) builder.add(standing)
  }
  return isOfItem === true ? { ...builder.build(left), left: [] } : { ...builder.build([]), left }
}

/** Where an index stands inside others: how deep, and below a test of which value. */
interface Place {
  readonly nesting: number
  /** Of the whole set. */
  readonly filter: KeyFilter
  readonly here?: Operand | undefined
  /** Of the items of a list: what has no test stands at the item itself. */
  readonly isOfItem?: boolean
}

export function buildBucket(alternatives: readonly Alternative[], { filter, here, nesting }: Place): Bucket {
  const isWhole = ({ isPart, tests }: Alternative): boolean => !isPart && tests.length === 0
  const hits = alternatives.filter(isWhole).map(({ entry }) => entry)
  const open = hits.length === alternatives.length ? [] : alternatives.filter((each) => !isWhole(each))
  if (open.length <= checksMax || nesting >= nestingMax) return bucketOf(hits, open.map(checkOf), {})
  const { left, node, same } = buildIndex(open, { filter, nesting: nesting + 1, here })
  if (left.length === open.length) return bucketOf(hits, open.map(checkOf), {})
  return bucketOf(hits, left.map(checkOf), { nested: node, same })
}

/** Most lists are empty: they are one, which is in a cache. */
const none: readonly never[] = []

function orNone<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? none : list
}

function bucketOf(
  hits: Bucket["hits"],
  checks: Bucket["checks"],
  { nested, same }: Partial<Pick<Bucket, "nested" | "same">>,
): Bucket {
  return {
    hits: orNone(hits),
    checks: orNone(checks),
    same,
    nested,
  }
}

type Group<K> = Map<K, Alternative[]>

/** What is gathered for one value, before it is laid out. */
class ValueDraft {
  #operand: Operand | undefined
  readonly equals: Group<Key> = new Map()
  readonly differs = new Map<string, { readonly keys: ReadonlySet<Key>; readonly alternatives: Alternative[] }>()
  readonly ranges = new Map<string, { readonly range: Range; readonly alternatives: Alternative[] }>()
  readonly prefixes: Group<string> = new Map()
  readonly suffixes: Group<string> = new Map()
  readonly contains: Group<string> = new Map()
  readonly wildcards: Group<string> = new Map()
  readonly flags: Group<boolean> = new Map()
  readonly items: Alternative[] = []
  readonly needNumber = noSuspects()
  readonly needText = noSuspects()
  readonly needFlag = noSuspects()
  readonly needItems = noSuspects()
  readonly dependent = noSuspects()

  add({ rest, test }: Standing): void {
    const { entry } = rest
    this.#operand = test.operand
    this.dependent.entries.push(entry)
    switch (test.is) {
      case "equals":
        for (const key of new Set(test.keys)) push(this.equals, key, rest)
        return
      case "differs": {
        const key = test.keys
          .map((each) => JSON.stringify(each))
          .toSorted(compareTexts)
          .join()
        const known = this.differs.get(key) ?? { keys: new Set(test.keys), alternatives: [] }
        this.differs.set(key, known)
        known.alternatives.push(rest)
        return
      }
      case "range": {
        const { high, isHighIn, isLowIn, low } = test.range
        const key = `${low} ${isLowIn} ${high} ${isHighIn}`
        const known = this.ranges.get(key) ?? { range: test.range, alternatives: [] }
        this.ranges.set(key, known)
        known.alternatives.push(rest)
        this.needNumber.entries.push(entry)
        return
      }
      case "prefix":
      case "suffix":
      case "contains":
        if (test.is === "prefix") push(this.prefixes, test.text, rest)
        else if (test.is === "suffix") push(this.suffixes, test.text, rest)
        else push(this.contains, test.text, rest)
        this.needText.entries.push(entry)
        return
      case "wildcard":
        push(this.wildcards, wildcardKey(test.literals) ?? "", rest)
        this.needText.entries.push(entry)
        return
      case "flag":
        push(this.flags, test.value, rest)
        this.needFlag.entries.push(entry)
        return
      case "some": {
        // Within an item only what is asked of the item can be looked up; the rest of the condition is evaluated.
        const isPart = rest.isPart || rest.tests.length > 0
        this.items.push(extend({ entry, tests: [], isPart, guards: new Set() }, test.item))
        this.needItems.entries.push(entry)
        return
      }
      case "present":
      case "absent":
    }
  }

  build({ filter, nesting }: Place): ValueIndex {
    const place: Place = { filter, nesting, here: this.#operand }
    const make: MakeBuckets = (group) => new Map([...group].map(([key, all]) => [key, buildBucket(all, place)]))
    const { dependent, equals, ranges } = this
    const intervals = [...ranges.values()].map(({ alternatives, range }) => ({
      range,
      value: buildBucket(alternatives, place),
    }))
    const table = filter.addTable()
    const isFiltered = equals.size >= filteredMin
    if (isFiltered) for (const key of equals.keys()) filter.add(hashKey(table, key))
    return {
      equals: equals.size === 0 ? undefined : make(equals),
      filter: isFiltered ? filter : undefined,
      table,
      texts: this.#buildTexts(make, filter),
      numbers: ranges.size === 0 ? undefined : { ranges: new IntervalTree(intervals), need: this.needNumber },
      others: this.#buildOthers(make, place),
      dependent,
    }
  }

  #buildTexts(make: MakeBuckets, filter: KeyFilter): TextTests | undefined {
    const { contains, needText, prefixes, suffixes, wildcards } = this
    if (needText.entries.length === 0) return undefined
    return {
      prefixes: prefixes.size === 0 ? undefined : new AffixTable(make(prefixes), { filter, isSuffix: false }),
      suffixes: suffixes.size === 0 ? undefined : new AffixTable(make(suffixes), { filter, isSuffix: true }),
      parts: contains.size === 0 ? undefined : new TextFinder(make(contains)),
      wildcards: wildcards.size === 0 ? undefined : wildcardsOf(wildcards, make(wildcards)),
      need: needText,
    }
  }

  #buildOthers(make: MakeBuckets, place: Place): OtherTests | undefined {
    const { differs, flags, items, needFlag, needItems } = this
    if (differs.size + flags.size + items.length === 0) return undefined
    return {
      differs: orNone(
        [...differs.values()].map(({ alternatives, keys }) => ({ keys, bucket: buildBucket(alternatives, place) })),
      ),
      flags: make(flags),
      needFlag,
      items: items.length === 0 ? undefined : buildIndex(items, { ...place, here: undefined, isOfItem: true }).node,
      needItems,
    }
  }
}

type MakeBuckets = <K>(group: Group<K>) => Map<K, Bucket>

function wildcardsOf(group: Group<string>, buckets: ReadonlyMap<string, Bucket>): Wildcards {
  const entries = new Map<Bucket, readonly Entry[]>()
  for (const [key, bucket] of buckets) {
    const all = group.get(key)?.map(({ entry }) => entry) ?? none
    if (all.length > bucket.hits.length) entries.set(bucket, all)
  }
  return { tree: new WildcardTree(buckets), entries }
}

/** Owns: the index of one set of alternatives while it is built. */
class IndexBuilder {
  readonly #where: Place
  readonly #same = new ValueDraft()
  readonly #root = new PathDraft()
  readonly #values = new Map<PathDraft, { value?: ValueDraft; whole?: ValueDraft }>()
  readonly #presence = new Map<PathDraft, { present: Alternative[]; absent: Alternative[] }>()
  readonly #made = new Map<string, { readonly run: MadeValue["run"]; readonly draft: ValueDraft }>()

  constructor(where: Place) {
    this.#where = where
  }

  add(standing: Standing): void {
    const { rest, test } = standing
    const isAsked = test.is === "present" || test.is === "absent"
    const { here } = this.#where
    if (!isAsked && here !== undefined && isSameOperand(test.operand, here)) return this.#same.add(standing)
    if (test.operand.is === "made") {
      const { key, run } = test.operand
      const known = this.#made.get(key) ?? { run, draft: new ValueDraft() }
      this.#made.set(key, known)
      known.draft.add(standing)
      return
    }
    const node = this.#place(test.operand.path, rest, test)
    if (test.is === "present" || test.is === "absent") {
      const presence = this.#presence.get(node) ?? { present: [], absent: [] }
      this.#presence.set(node, presence)
      presence[test.is].push(rest)
      return
    }
    const drafts = this.#values.get(node) ?? {}
    this.#values.set(node, drafts)
    const draft = test.operand.isWhole ? (drafts.whole ??= new ValueDraft()) : (drafts.value ??= new ValueDraft())
    draft.add(standing)
  }

  /** The node of a path; the rule is noted on the way as one that has no result where the way ends. */
  #place(path: Path, rest: Alternative, test: Test): PathDraft {
    const { entry, guards } = rest
    let node = this.#root
    for (const [index, step] of path.entries()) {
      const child = node.child(step)
      node.suspects.below.entries.push(entry)
      child.suspects.dependent.entries.push(entry)
      const isAsked = index === path.length - 1 && (test.is === "present" || test.is === "absent")
      if (!isAsked && !guards.has(pathKey(path.slice(0, index + 1)))) {
        child.suspects.unguarded.entries.push(entry)
        node.suspects.unguardedBelow.entries.push(entry)
      }
      node = child
    }
    return node
  }

  /** @param atRoot looked at wherever the data (or the item) are anything at all */
  build(atRoot: readonly Alternative[]): { node: IndexNode | undefined; same: ValueIndex | undefined } {
    const { filter, nesting } = this.#where
    const place: Place = { filter, nesting }
    for (const [node, { value, whole }] of this.#values) {
      node.value = value?.build(place)
      node.whole = whole?.build(place)
    }
    for (const [node, { absent, present }] of this.#presence) {
      if (present.length > 0) node.present = buildBucket(present, place)
      if (absent.length > 0) node.absent = buildBucket(absent, place)
    }
    const root = this.#root
    if (atRoot.length > 0) root.present = buildBucket(atRoot, { filter, nesting: nestingMax })
    const made = [...this.#made.values()].map(({ draft, run }) => {
      const value = draft.build(place)
      return { run, value, dependent: value.dependent }
    })
    return {
      node: root.isEmpty && made.length === 0 ? undefined : { root: root.build(), made: orNone(made) },
      same: this.#same.dependent.entries.length === 0 ? undefined : this.#same.build(place),
    }
  }
}

function push<K>(group: Group<K>, key: K, alternative: Alternative): void {
  const known = group.get(key)
  if (known === undefined) group.set(key, [alternative])
  else known.push(alternative)
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
