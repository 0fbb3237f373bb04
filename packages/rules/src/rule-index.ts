import type { Run } from "@signalbox/expressions/compiled"
import type { PatternLiterals } from "@signalbox/expressions/pattern-literals"
import type { AffixTable } from "./affix-table.ts"
import type { Path, Range, Test } from "./condition.ts"
import type { IntervalTree } from "./interval-tree.ts"
import type { KeyFilter } from "./key-filter.ts"
import type { CompiledRule } from "./rule-source.ts"
import type { TextFinder } from "./text-trie.ts"
import type { WildcardTree } from "./wildcard-tree.ts"

/**
 * The index of one trigger's rules. A rule stands at one test of its condition (or at one of each alternative), the one
 * that seems to hold most rarely. Where it holds, the rule matches if the test was all there is to it; else it is
 * evaluated. Where many rules stand at one test, another index follows over what is left of their conditions.
 *
 * A value that is absent or of the wrong type makes suspects: rules that may have no result. All others are known not to match.
 */
export interface IndexNode {
  readonly root: PathNode
  readonly made: readonly MadeValue[]
}

/** A rule of an index; `mark` is the number of the last search that has settled it. */
export interface Entry {
  readonly rule: CompiledRule
  mark: number
  /** What its tests are when all of them are asked at once: made when it is first a suspect. */
  check: Check | undefined
}

/** What to do where a test holds. */
export interface Bucket {
  /** Match. */
  readonly hits: readonly Entry[]
  /** Have to be looked at one by one. */
  readonly checks: readonly Check[]
  /** Of what is left of the others' conditions: what they ask of the value that the test is about… */
  readonly same: ValueIndex | undefined
  /** … and of others. */
  readonly nested: IndexNode | undefined
}

/** The rules that one trigger names. */
export interface TriggeredRules extends Bucket {
  readonly entries: readonly Entry[]
  /** Gating rules that are evaluated whole where the data are too large; the largest size that is safe for any. */
  /** The most bounded first. */
  readonly bounded: { readonly entries: readonly Entry[]; readonly sizeMax: number } | undefined
}

/** What is left of a rule's condition at its place in the index: mostly a test of these decides, and evaluating is spared. */
export interface Check {
  readonly entry: Entry
  /** The first of its tests, which mostly decides, stands here: one read of memory less. */
  readonly first: QuickTest | undefined
  readonly others: readonly QuickTest[]
  /** There is nothing but these tests. */
  readonly isWhole: boolean
}

/** A test in one shape, whichever it is. */
export interface QuickTest {
  readonly is: Test["is"]
  readonly path: Path
  /** Of `equals` and `differs`; `keys` where there are more or fewer than one. */
  readonly key: unknown
  readonly keys: readonly unknown[] | undefined
  readonly text: string
  readonly range: Range | undefined
  readonly literals: PatternLiterals | undefined
}

export interface Suspects {
  readonly entries: Entry[]
  mark: number
}

/**
 * A field, or with an empty path the data (or the item) itself. Each event walks through these, and what it waits for is
 * memory: so they are small, one is linked to the next, and what few events need stands elsewhere.
 */
export interface PathNode {
  readonly step: string | number
  /** A field's name, and none that an object may have without owning it. */
  readonly isPlain: boolean
  readonly value: ValueIndex | undefined
  readonly first: PathNode | undefined
  /** Of the same parent. */
  readonly next: PathNode | undefined
  readonly rare: RareTests | undefined
  /** Where there are many children. */
  readonly wide:
    | {
        readonly byStep: ReadonlyMap<string | number, PathNode>
        /** Those with rules that want the field not to be there. */
        readonly whenAbsent: readonly PathNode[]
      }
    | undefined
  readonly suspects: PathSuspects
}

export interface RareTests {
  /** For those that declare a whole number here. */
  readonly whole: ValueIndex | undefined
  readonly present: Bucket | undefined
  readonly absent: Bucket | undefined
}

export interface PathSuspects {
  /** All that look at this field or below it; those of them that no `has()` guards from its absence. */
  readonly dependent: Suspects
  readonly unguarded: Suspects
  /** The unguarded of all children. */
  readonly unguardedBelow: Suspects
  /** The dependents of all children: suspects where this is no map. */
  readonly below: Suspects
}

export interface MadeValue {
  readonly run: Run
  readonly value: ValueIndex
  readonly dependent: Suspects
}

/** Wildcards of several parts, for texts of one line. */
export interface Wildcards {
  readonly tree: WildcardTree<Bucket>
  /** What stands at them: in texts of several lines a gap may be one that `.*` doesn't span, so these are evaluated. */
  readonly entries: ReadonlyMap<Bucket, readonly Entry[]>
}

/** The tests of one value, by what it has to be. */
export interface ValueIndex {
  readonly equals: ReadonlyMap<unknown, Bucket> | undefined
  /** Of the keys of `equals`, where there are many. */
  readonly filter: KeyFilter | undefined
  /** Its number for this table. */
  readonly table: number
  readonly texts: TextTests | undefined
  readonly numbers: NumberTests | undefined
  readonly others: OtherTests | undefined
  readonly dependent: Suspects
}

/** `need` are those who have no result where the value is nothing of the kind. */
export interface TextTests {
  readonly prefixes: AffixTable<Bucket> | undefined
  readonly suffixes: AffixTable<Bucket> | undefined
  readonly parts: TextFinder<Bucket> | undefined
  readonly wildcards: Wildcards | undefined
  readonly need: Suspects
}

export interface NumberTests {
  readonly ranges: IntervalTree<Bucket>
  readonly need: Suspects
}

export interface OtherTests {
  readonly differs: ReadonlyArray<{ readonly keys: ReadonlySet<unknown>; readonly bucket: Bucket }>
  readonly flags: ReadonlyMap<boolean, Bucket>
  readonly needFlag: Suspects
  readonly items: IndexNode | undefined
  readonly needItems: Suspects
}
