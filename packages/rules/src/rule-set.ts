import { isAppError } from "@signalbox/kernel/app-error"
import type { CompiledRule, RuleFault, RuleMatches, RuleTrigger } from "./rule-source.ts"

/** What a condition reads, by the names of the rule's `variables`. */
export type RuleData = Readonly<Record<string, unknown>>

/** Rules of one account. Immutable: `with` and `without` give another set. */
export interface RuleSet {
  readonly size: number
  /** Whether any rule waits for any of these. Costs next to nothing, so that the data are made only where it is true. */
  concerns(occurred: readonly RuleTrigger[]): boolean
  /** The rules that wait for any of these, and whose condition is true of the data. */
  match(occurred: readonly RuleTrigger[], data: RuleData): RuleMatches
  /** The set with this rule added, or put in place of that with the same id. */
  with(rule: CompiledRule): RuleSet
  without(id: string): RuleSet
}

/** @throws AssertionError where two rules have the same id */
export function createRuleSet(rules: readonly CompiledRule[]): RuleSet {
  const sorted = rules.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  return {
    size: rules.length,
    concerns: (occurred) => sorted.some((rule) => isTriggered(rule, occurred)),
    match: (occurred, data) => evaluateRules(sorted, occurred, data),
    with: (rule) => createRuleSet([...sorted.filter((each) => each.id !== rule.id), rule]),
    without: (id) => createRuleSet(sorted.filter((each) => each.id !== id)),
  }
}

/** Whether one of the rule's triggers names one of these. */
export function isTriggered(rule: CompiledRule, occurred: readonly RuleTrigger[]): boolean {
  return rule.triggers.some((trigger) => occurred.some((each) => trigger.on === each.on && isNamed(trigger, each)))
}

function isNamed(pattern: RuleTrigger, { name }: RuleTrigger): boolean {
  if (pattern.name === "*") return true
  return pattern.name.endsWith(".*") ? name.startsWith(pattern.name.slice(0, -1)) : pattern.name === name
}

/** One rule after the other: what the index has to agree with. */
export function evaluateRules(
  rules: readonly CompiledRule[],
  occurred: readonly RuleTrigger[],
  data: RuleData,
): RuleMatches {
  const matched: CompiledRule[] = []
  const faults: RuleFault[] = []
  for (const rule of rules) {
    if (!isTriggered(rule, occurred)) continue
    const result = evaluateRule(rule, data)
    if (result === true) matched.push(rule)
    else if (result !== false) faults.push(result)
  }
  return { matched, faults }
}

export function evaluateRule(rule: CompiledRule, data: RuleData): boolean | RuleFault {
  try {
    return rule.condition === undefined || rule.condition.evaluate(data) === true
  } catch (error) {
    if (!isAppError(error)) throw error
    return { rule, message: error.message }
  }
}
