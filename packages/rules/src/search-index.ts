import type { Frame } from "@signalbox/expressions/compiled"
import { EvaluationFault } from "@signalbox/expressions/expression-fault"
import { expressionLimits } from "@signalbox/expressions/expression-limits"
import { isMap } from "@signalbox/expressions/values"
import { evaluateRule, type RuleData } from "./evaluate-rules.ts"
import type { AffixTable } from "./affix-table.ts"
import { hashKey } from "./key-filter.ts"
import { decide, type LastRead } from "./quick-check.ts"
import type {
  Bucket,
  Check,
  Entry,
  IndexNode,
  NumberTests,
  OtherTests,
  PathNode,
  RareTests,
  Suspects,
  TextTests,
  TriggeredRules,
  ValueIndex,
  Wildcards,
} from "./rule-index.ts"
import type { CompiledRule, RuleFault } from "./rule-source.ts"
import type { TextFinder } from "./text-trie.ts"
import { measureData } from "./work-bound.ts"

/** Lists with more items are not gone through: the rules that ask for one are evaluated. */
const itemsMax = 1000

let searches = 0

/** Buckets on their way, of one search at a time: a search gives way to nothing. */
const found: Bucket[] = []

/** Owns: one event's way through the indexes of one set. What it finds is complete; nothing else is evaluated. */
export class IndexSearch {
  readonly data: RuleData
  readonly matched: CompiledRule[] = []
  faults: RuleFault[] | undefined
  /** With the rules that were removed from the set at the time. */
  suspects: Array<{ readonly entries: readonly Entry[]; readonly removed: IndexSearch["removed"] }> | undefined
  /** Rules that are in the index still and not in the set any more. */
  removed: ReadonlySet<CompiledRule> | undefined
  readonly #mark = ++searches
  readonly #last: LastRead = { path: undefined, scope: undefined, value: undefined }
  #frame: Frame | undefined
  /** Of the data, as far as it was measured. */
  #size = Infinity
  #measuredMax = -1

  constructor(data: RuleData) {
    this.data = data
  }

  /** The rules of a trigger. */
  begin(rules: TriggeredRules): void {
    const { bounded } = rules
    if (bounded !== undefined) {
      const size = this.#measure(bounded.sizeMax)
      for (const entry of bounded.entries) {
        if (entry.rule.safeSize >= size) break
        this.#evaluate(entry)
      }
    }
    this.#take(rules, this.data, this.data)
  }

  /** @param value the data, or an item of a list */
  #visit(node: IndexNode, value: unknown): void {
    this.#visitPath(node.root, value, value)
    for (const made of node.made) {
      const result = this.#make(made.run)
      if (result === undefined) this.#suspect(made.dependent)
      else this.#visitValue(made.value, result, value)
    }
  }

  /** @param value that the bucket's test is about */
  #take(bucket: Bucket, value: unknown, scope: unknown): void {
    for (const entry of bucket.hits) {
      if (entry.mark === this.#mark) continue
      entry.mark = this.#mark
      if (this.removed?.has(entry.rule) !== true) this.matched.push(entry.rule)
    }
    for (const check of bucket.checks) this.#check(check, scope)
    if (bucket.same !== undefined) this.#visitValue(bucket.same, value, scope)
    if (bucket.nested !== undefined) this.#visit(bucket.nested, scope)
  }

  #measure(max: number): number {
    if (this.#size > this.#measuredMax && this.#measuredMax < max) {
      this.#size = measureData(this.data, max)
      this.#measuredMax = max
    }
    return this.#size
  }

  #check(check: Check, scope: unknown): void {
    const { entry } = check
    if (entry.mark === this.#mark) return
    const decided = decide(check, scope, this.#last)
    if (decided === undefined) return this.#evaluate(entry)
    if (!decided) return
    entry.mark = this.#mark
    if (this.removed?.has(entry.rule) !== true) this.matched.push(entry.rule)
  }

  #evaluate(entry: Entry): void {
    if (entry.mark === this.#mark) return
    entry.mark = this.#mark
    if (this.removed?.has(entry.rule) === true) return
    const result = evaluateRule(entry.rule, this.data)
    if (result === true) this.matched.push(entry.rule)
    else if (result !== false) (this.faults ??= []).push(result)
  }

  #suspect(suspects: Suspects): void {
    if (suspects.mark === this.#mark || suspects.entries.length === 0) return
    suspects.mark = this.#mark
    this.suspects ??= []
    this.suspects.push({ entries: suspects.entries, removed: this.removed })
  }

  #make(run: (frame: Frame) => unknown): unknown {
    const { turnsMax, workMax } = expressionLimits
    this.#frame ??= { data: this.data, locals: [], turnsLeft: turnsMax, workLeft: workMax }
    this.#frame.turnsLeft = turnsMax
    this.#frame.workLeft = workMax
    try {
      return run(this.#frame)
    } catch (error) {
      if (error instanceof EvaluationFault) return undefined
      throw error
    }
  }

  #visitPath(path: PathNode, value: unknown, scope: unknown): void {
    if (path.rare !== undefined) this.#visitRare(path.rare, value, scope)
    if (path.value !== undefined) this.#visitValue(path.value, value, scope)
    if (path.first !== undefined) this.#visitChildren(path, value, scope)
  }

  #visitRare({ present, whole }: RareTests, value: unknown, scope: unknown): void {
    if (present !== undefined) this.#take(present, value, scope)
    if (whole === undefined) return
    if (typeof value === "number" && !Number.isSafeInteger(value)) this.#suspect(whole.dependent)
    else this.#visitValue(whole, value, scope)
  }

  #visitChildren(path: PathNode, container: unknown, scope: unknown): void {
    if (typeof container !== "object" || container === null) return this.#suspect(path.suspects.below)
    if (!isMap(container)) return this.#visitPositions(path, container, scope)
    if (path.wide !== undefined) return this.#visitFields(path, path.wide, { container, scope })
    for (let child = path.first; child !== undefined; child = child.next) {
      const { step } = child
      if (typeof step === "number") this.#suspect(child.suspects.dependent)
      else {
        const value = child.isPlain || Object.hasOwn(container, step) ? container[step] : undefined
        if (value === undefined) this.#miss(child, scope)
        else this.#visitPath(child, value, scope)
      }
    }
  }

  #miss({ rare, suspects }: PathNode, scope: unknown): void {
    this.#suspect(suspects.unguarded)
    if (rare?.absent !== undefined) this.#take(rare.absent, undefined, scope)
  }

  /** Many rules over many fields: only what the data have is looked at. */
  #visitFields(
    path: PathNode,
    { byStep, whenAbsent }: NonNullable<PathNode["wide"]>,
    { container, scope }: { readonly container: Readonly<Record<string, unknown>>; readonly scope: unknown },
  ): void {
    for (const field of Object.keys(container)) {
      const child = byStep.get(field)
      const value = child === undefined ? undefined : container[field]
      if (child !== undefined && value !== undefined) this.#visitPath(child, value, scope)
    }
    // Those that are there were settled above, or are suspects in vain.
    this.#suspect(path.suspects.unguardedBelow)
    for (const child of whenAbsent) {
      if (!Object.hasOwn(container, child.step) || container[child.step] === undefined) this.#miss(child, scope)
    }
  }

  #visitPositions(path: PathNode, container: object, scope: unknown): void {
    for (let child = path.first; child !== undefined; child = child.next) {
      const { step } = child
      const isThere = Array.isArray(container) && typeof step === "number" && step < container.length
      if (isThere) this.#visitPath(child, (container as readonly unknown[])[step], scope)
      else this.#suspect(child.suspects.dependent)
    }
  }

  #visitValue(index: ValueIndex, value: unknown, scope: unknown): void {
    const { filter } = index
    const mayEqual = filter === undefined || filter.mayHold(hashKey(index.table, value))
    const same = mayEqual ? index.equals?.get(value) : undefined
    if (same !== undefined) this.#take(same, value, scope)
    if (index.numbers !== undefined) this.#visitNumber(index.numbers, value, scope)
    if (index.texts !== undefined) this.#visitText(index.texts, value, scope)
    if (index.others !== undefined) this.#visitOther(index.others, value, scope)
  }

  #visitOther({ differs, flags, items, needFlag, needItems }: OtherTests, value: unknown, scope: unknown): void {
    for (const { bucket, keys } of differs) if (!keys.has(value)) this.#take(bucket, value, scope)
    if (typeof value === "boolean") {
      const flagged = flags.get(value)
      if (flagged !== undefined) this.#take(flagged, value, scope)
    } else this.#suspect(needFlag)
    if (items !== undefined) this.#visitItems(items, value, needItems)
  }

  #visitNumber({ need, ranges }: NumberTests, value: unknown, scope: unknown): void {
    if (typeof value !== "number") return this.#suspect(need)
    const from = found.length
    ranges.find(value, found)
    this.#takeFound(from, value, scope)
  }

  #visitText({ need, parts, prefixes, suffixes, wildcards }: TextTests, value: unknown, scope: unknown): void {
    if (typeof value !== "string") return this.#suspect(need)
    if (prefixes !== undefined) this.#visitAffixes(prefixes, value, scope)
    if (suffixes !== undefined) this.#visitAffixes(suffixes, value, scope)
    if (parts !== undefined) this.#visitParts(parts, value, scope)
    if (value.length > expressionLimits.matchedLengthMax) this.#suspect(need)
    else if (wildcards !== undefined) this.#visitWildcards(wildcards, value, scope)
  }

  #visitWildcards({ entries, tree }: Wildcards, value: string, scope: unknown): void {
    const from = found.length
    tree.find(value, found)
    if (found.length === from) return
    if (!value.includes("\n")) return this.#takeFound(from, value, scope)
    for (const bucket of found.slice(from)) {
      for (const entry of entries.get(bucket) ?? bucket.hits) this.#evaluate(entry)
    }
    found.length = from
  }

  #visitAffixes(table: AffixTable<Bucket>, value: string, scope: unknown): void {
    const from = found.length
    table.find(value, found)
    this.#takeFound(from, value, scope)
  }

  /** What was put onto `found` from there on, which is taken off again. */
  #takeFound(from: number, value: unknown, scope: unknown): void {
    const to = found.length
    for (let at = from; at < to; at++) {
      const bucket = found[at]
      if (bucket !== undefined) this.#take(bucket, value, scope)
    }
    found.length = from
  }

  #visitParts(finder: TextFinder<Bucket>, value: string, scope: unknown): void {
    const always = finder.valueAt(0)
    if (always !== undefined) this.#take(always, value, scope)
    let node = 0
    for (let at = 0; at < value.length; at++) {
      node = finder.advance(node, value.charCodeAt(at))
      for (let each = node; each !== 0; each = finder.shorter(each)) {
        const bucket = finder.valueAt(each)
        if (bucket !== undefined) this.#take(bucket, value, scope)
      }
    }
  }

  #visitItems(items: IndexNode, value: unknown, dependent: Suspects): void {
    if (!Array.isArray(value) && !isMap(value)) return this.#suspect(dependent)
    const list: readonly unknown[] = Array.isArray(value) ? value : Object.keys(value)
    if (list.length > itemsMax) return dependent.entries.forEach((entry) => this.#evaluate(entry))
    for (const item of list) this.#visit(items, item)
  }
}
