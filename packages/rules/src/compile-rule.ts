import { compileTree } from "@signalbox/expressions/compile-expression"
import { parseExpression } from "@signalbox/expressions/parse-expression"
import { checkGuards } from "./check-guards.ts"
import { openCondition } from "./condition.ts"
import { readCondition } from "./read-condition.ts"
import { checkCost } from "./rule-cost.ts"
import type { CompiledRule, RuleSource } from "./rule-source.ts"

/**
 * Compiles a rule's condition: unknown names, unlike types, bad patterns, fields that may be absent and aren't guarded
 * (where the type tells which are required) and anything over the limits are refused.
 *
 * @throws expressions.invalid with line and column
 * @example compileRule({ id: "r1", version: 1, gating: false, triggers: [{ on: "event", name: "execution.*" }],
 *   when: "event.data.failed > 3", variables: { event: "dyn" } })
 */
export function compileRule(source: RuleSource): CompiledRule {
  const { variables, when } = source
  if (when === undefined) return { ...source, condition: undefined, tests: { is: "all", parts: [] }, cost: 0 }
  const tree = parseExpression(when)
  const condition = compileTree(tree, { text: when, variables, resultType: "bool" })
  checkGuards(tree, { text: when, variables })
  const cost = checkCost(tree, when)
  const tests = source.gating ? openCondition : readCondition(tree, { text: when, variables })
  return { ...source, condition, tests, cost }
}
