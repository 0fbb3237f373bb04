import type { Run } from "@signalbox/expressions/compiled"
import type { PatternLiterals } from "@signalbox/expressions/pattern-literals"

/**
 * A condition as the index takes it: what has to hold of which value. A test that holds makes the rule a candidate; the
 * rule is evaluated unless its tests were all there is to it. `open` is what only evaluating tells.
 */
export type Condition =
  | { readonly is: "all"; readonly parts: readonly Condition[] }
  | { readonly is: "any"; readonly parts: readonly Condition[] }
  | { readonly is: "test"; readonly test: Test }
  | { readonly is: "open" }

/** Field names and list positions, from the data (`event`, `data`, `n`), or from an item that is gone through. */
export type Path = ReadonlyArray<string | number>

/** What a test looks at: a field, or a value that is made of some. */
export type Operand =
  | {
      readonly is: "path"
      readonly path: Path
      /** Declared `int`: any other number is a fault. */ readonly isWhole: boolean
    }
  | { readonly is: "made"; /** Equal keys make equal values. */ readonly key: string; readonly run: Run }

export type Key = string | number | boolean | null

/** Numbers between two, the ends in it or not. */
export interface Range {
  readonly low: number
  readonly isLowIn: boolean
  readonly high: number
  readonly isHighIn: boolean
}

export type Test = { readonly operand: Operand } & TestOfValue

export type TestOfValue =
  | { readonly is: "equals" | "differs"; readonly keys: readonly Key[] }
  | { readonly is: "range"; readonly range: Range }
  | { readonly is: "prefix" | "suffix" | "contains"; readonly text: string }
  /** Texts of one line with these parts: what else there is to them is asked as prefix, suffix and contains, too. */
  | { readonly is: "wildcard"; readonly literals: PatternLiterals }
  /** A value that is itself true or false. */
  | { readonly is: "flag"; readonly value: boolean }
  /** `has(…)`: the path is that of the field. */
  | { readonly is: "present" | "absent" }
  /** Of some item of a list, or key of a map. Paths in it begin at the item. */
  | { readonly is: "some"; readonly item: Condition }

export const openCondition: Condition = { is: "open" }
