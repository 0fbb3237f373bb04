import type { Expression } from "@signalbox/expressions/compile-expression"
import type { VariableType } from "@signalbox/expressions/variable-type"
import type { Condition, Path } from "./condition.ts"

/**
 * What a rule waits for, and also what has happened. `before` and `after` an operation of that name; an `event` of that
 * type; a `signal`, `webhook`, `trigger` (fired by hand or by a schedule) or `schedule` (a rule's own) of that name. A rule may name many at once:
 * `executions.*`, and `*` for all of a kind.
 */
export interface RuleTrigger {
  readonly on: "before" | "after" | "event" | "signal" | "webhook" | "trigger" | "schedule"
  readonly name: string
}

/** A rule as far as matching is concerned. */
export interface RuleSource {
  readonly id: string
  readonly version: number
  /** Any of these. */
  readonly triggers: readonly RuleTrigger[]
  /** A CEL condition; without one the rule matches whenever it is triggered. */
  readonly when?: string
  /** The names that the condition may use, with their types. */
  readonly variables: Readonly<Record<string, VariableType>>
  /** Decides over calls: has no result wherever evaluating it has none, so that neither absent fields nor large data let it fail open. */
  readonly gating: boolean
}

/** A rule ready to match: may be kept and shared by any number of sets. */
export interface CompiledRule extends RuleSource {
  readonly condition: Expression | undefined
  /** About how many characters and items the condition looks at, at worst. */
  readonly cost: number
  /** What the index takes of it. */
  readonly tests: Condition
  /** What the condition reads of the data. */
  readonly reads: readonly Path[]
  /** Of a gating rule: with data of more characters, items and fields its condition is evaluated whole. */
  readonly safeSize: number
}

/** A rule whose condition has no result for the data. */
export interface RuleFault {
  readonly rule: CompiledRule
  readonly message: string
}

export interface RuleMatches {
  /** Each at most once, ordered by id. */
  readonly matched: readonly CompiledRule[]
  /**
   * The triggered rules whose condition has no result for these data, ordered by id. Found when first asked for, at the
   * cost of one evaluation for each rule that reads a field which the data lack and doesn't guard it with `has()`; the data must not have changed.
   */
  readonly faults: readonly RuleFault[]
}
