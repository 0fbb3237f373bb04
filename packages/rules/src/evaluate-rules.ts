import { isAppError } from "@signalbox/kernel/app-error"
import type { CompiledRule, RuleFault, RuleMatches, RuleTrigger } from "./rule-source.ts"

/** What a condition reads, by the names of the rule's `variables`. */
export type RuleData = Readonly<Record<string, unknown>>

/** Whether one of the rule's triggers names one of these. */
export function isTriggered(rule: CompiledRule, occurred: readonly RuleTrigger[]): boolean {
  return rule.triggers.some((trigger) => occurred.some((each) => trigger.on === each.on && isNamed(trigger, each)))
}

function isNamed(pattern: RuleTrigger, { name }: RuleTrigger): boolean {
  if (pattern.name === "*") return true
  return pattern.name.endsWith(".*") ? name.startsWith(pattern.name.slice(0, -1)) : pattern.name === name
}

/** One rule after the other, as if there were no index: what the index has to agree with. */
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
  return { matched: matched.toSorted(byId), faults: faults.toSorted((a, b) => byId(a.rule, b.rule)) }
}

export function evaluateRule(rule: CompiledRule, data: RuleData): boolean | RuleFault {
  try {
    return rule.condition === undefined || rule.condition.evaluate(data) === true
  } catch (error) {
    if (!isAppError(error)) throw error
    return { rule, message: error.message }
  }
}

export function byId(a: CompiledRule, b: CompiledRule): number {
  return a.id < b.id ? -1 : Number(a.id > b.id)
}
