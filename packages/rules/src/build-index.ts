import { AffixTable } from "./affix-table.ts"
import { extend, isSameOperand, pathKey, type Alternative, type Standing } from "./alternative.ts"
import { chooseStandings, gatherStatistics } from "./choose-test.ts"
import type { Key, Operand, Path, Range, Test } from "./condition.ts"
import { IntervalTree } from "./interval-tree.ts"
import { KeyFilter } from "./key-filter.ts"
import { checkOf } from "./quick-check.ts"
import type { Bucket, Entry, IndexNode, MadeValue, PathNode, Suspects, ValueIndex, Wildcards } from "./rule-index.ts"
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
  { here, nesting }: Place = { nesting: 0 },
): { node: IndexNode | undefined; same: ValueIndex | undefined; left: Alternative[] } {
  const builder = new IndexBuilder(nesting, here)
  const statistics = gatherStatistics(alternatives)
  const left: Alternative[] = []
  for (const alternative of alternatives) {
    const standings = chooseStandings(alternative, statistics, nesting === 0)
    if (standings === undefined) left.push(alternative)
    else for (const standing of standings) builder.add(standing)
  }
  return { ...builder.build(), left }
}

/** Where an index stands inside others: how deep, and below a test of which value. */
interface Place {
  readonly nesting: number
  readonly here?: Operand | undefined
}

export function buildBucket(alternatives: readonly Alternative[], { here, nesting }: Place): Bucket {
  const isWhole = ({ isPart, tests }: Alternative): boolean => !isPart && tests.length === 0
  const hits = alternatives.filter(isWhole).map(({ entry }) => entry)
  const open = hits.length === alternatives.length ? [] : alternatives.filter((each) => !isWhole(each))
  if (open.length <= checksMax || nesting >= nestingMax) return bucketOf(hits, open.map(checkOf), {})
  const { left, node, same } = buildIndex(open, { nesting: nesting + 1, here })
  if (left.length === open.length) return bucketOf(hits, open.map(checkOf), {})
  return bucketOf(hits, left.map(checkOf), { nested: node, same })
}

/** Most lists are empty: they are one, which is in a cache. */
const none: readonly never[] = []

function bucketOf(
  hits: Bucket["hits"],
  checks: Bucket["checks"],
  { nested, same }: Partial<Pick<Bucket, "nested" | "same">>,
): Bucket {
  return {
    hits: hits.length === 0 ? none : hits,
    checks: checks.length === 0 ? none : checks,
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

  build(nesting: number): ValueIndex {
    const here = this.#operand
    const bucket = (alternatives: readonly Alternative[]): Bucket => buildBucket(alternatives, { nesting, here })
    const made = <K>(group: Group<K>): Map<K, Bucket> => new Map([...group].map(([key, all]) => [key, bucket(all)]))
    const { contains, differs, equals, flags, items, prefixes, ranges, suffixes } = this
    return {
      equals: equals.size === 0 ? undefined : made(equals),
      filter: equals.size < filteredMin ? undefined : new KeyFilter(equals.keys(), equals.size),
      differs:
        differs.size === 0
          ? undefined
          : [...differs.values()].map(({ alternatives, keys }) => ({ keys, bucket: bucket(alternatives) })),
      ranges:
        ranges.size === 0
          ? undefined
          : new IntervalTree(
              [...ranges.values()].map(({ alternatives, range }) => ({ range, value: bucket(alternatives) })),
            ),
      prefixes: prefixes.size === 0 ? undefined : new AffixTable(made(prefixes), { isSuffix: false }),
      suffixes: suffixes.size === 0 ? undefined : new AffixTable(made(suffixes), { isSuffix: true }),
      parts: contains.size === 0 ? undefined : new TextFinder(made(contains)),
      wildcards: this.wildcards.size === 0 ? undefined : wildcardsOf(this.wildcards, made(this.wildcards)),
      flags: flags.size === 0 ? undefined : made(flags),
      items: items.length === 0 ? undefined : buildItems(items, nesting),
      needNumber: unlessEmpty(this.needNumber),
      needText: unlessEmpty(this.needText),
      needFlag: unlessEmpty(this.needFlag),
      needItems: unlessEmpty(this.needItems),
      dependent: this.dependent,
    }
  }
}

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
  readonly #nesting: number
  readonly #here: Operand | undefined
  readonly #same = new ValueDraft()
  readonly #root = pathNode("")
  readonly #values = new Map<PathNode, { value?: ValueDraft; whole?: ValueDraft }>()
  readonly #presence = new Map<PathNode, { present: Alternative[]; absent: Alternative[] }>()
  readonly #made = new Map<string, { readonly run: MadeValue["run"]; readonly draft: ValueDraft }>()

  constructor(nesting: number, here: Operand | undefined) {
    this.#nesting = nesting
    this.#here = here
  }

  add(standing: Standing): void {
    const { rest, test } = standing
    const isAsked = test.is === "present" || test.is === "absent"
    if (!isAsked && this.#here !== undefined && isSameOperand(test.operand, this.#here)) return this.#same.add(standing)
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
  #place(path: Path, rest: Alternative, test: Test): PathNode {
    const { entry, guards } = rest
    let node = this.#root
    for (const [index, step] of path.entries()) {
      let child = node.byStep.get(step)
      if (child === undefined) {
        child = pathNode(step)
        node.byStep.set(step, child)
        node.children.push(child)
      }
      node.below.entries.push(entry)
      child.dependent.entries.push(entry)
      const isAsked = index === path.length - 1 && (test.is === "present" || test.is === "absent")
      if (!isAsked && !guards.has(pathKey(path.slice(0, index + 1)))) {
        child.unguarded.entries.push(entry)
        node.unguardedBelow.entries.push(entry)
      }
      node = child
    }
    return node
  }

  build(): { node: IndexNode | undefined; same: ValueIndex | undefined } {
    const nesting = this.#nesting
    for (const [node, { value, whole }] of this.#values) {
      node.value = value?.build(nesting)
      node.whole = whole?.build(nesting)
    }
    for (const [node, { absent, present }] of this.#presence) {
      if (present.length > 0) node.present = buildBucket(present, { nesting })
      if (absent.length > 0) node.absent = buildBucket(absent, { nesting })
    }
    this.#noteAbsence(this.#root)
    const made = [...this.#made.values()].map(({ draft, run }) => {
      const value = draft.build(nesting)
      return { run, value, dependent: value.dependent }
    })
    const { children, present, value, whole } = this.#root
    const isEmpty = children.length + made.length === 0 && (present ?? value ?? whole) === undefined
    return {
      node: isEmpty ? undefined : { root: this.#root, made },
      same: this.#same.dependent.entries.length === 0 ? undefined : this.#same.build(nesting),
    }
  }

  #noteAbsence(node: PathNode): void {
    for (const child of node.children) {
      if (child.absent !== undefined) node.whenAbsent.push(child)
      this.#noteAbsence(child)
    }
  }
}

/** Of an item all that has no test stands at the item itself: it is evaluated where there is any. */
function buildItems(items: readonly Alternative[], nesting: number): IndexNode {
  const { left, node = { root: pathNode(""), made: [] } } = buildIndex(items, { nesting })
  if (left.length > 0) node.root.present = mergeBuckets(node.root.present, buildBucket(left, { nesting: nestingMax }))
  return node
}

function mergeBuckets(a: Bucket | undefined, b: Bucket): Bucket {
  return bucketOf([...(a?.hits ?? []), ...b.hits], [...(a?.checks ?? []), ...b.checks], a ?? {})
}

function pathNode(step: string | number): PathNode {
  return {
    step,
    isInherited: step in Object.prototype,
    ...{ children: [], whenAbsent: [], byStep: new Map() },
    ...{ value: undefined, whole: undefined, present: undefined, absent: undefined },
    ...{ dependent: noSuspects(), unguarded: noSuspects(), unguardedBelow: noSuspects(), below: noSuspects() },
  }
}

function noSuspects(): Suspects {
  return { entries: [], mark: 0 }
}

/** What nobody needs isn't even looked at. */
function unlessEmpty(suspects: Suspects): Suspects | undefined {
  return suspects.entries.length === 0 ? undefined : suspects
}

function push<K>(group: Group<K>, key: K, alternative: Alternative): void {
  const known = group.get(key)
  if (known === undefined) group.set(key, [alternative])
  else known.push(alternative)
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
