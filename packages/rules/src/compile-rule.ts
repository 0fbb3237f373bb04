import { compileTree } from "@signalbox/expressions/compile-expression"
import { parseExpression } from "@signalbox/expressions/parse-expression"
import { openCondition } from "./condition.ts"
import { readCondition } from "./read-condition.ts"
import type { CompiledRule, RuleSource } from "./rule-source.ts"

/**
 * Compiles a rule's condition: unknown names, unlike types, bad patterns and anything over the limits are refused.
 *
 * @throws expressions.invalid with line and column
 * @example compileRule({ id: "r1", version: 1, gating: false, triggers: [{ on: "event", name: "execution.*" }],
 *   when: "event.data.failed > 3", variables: { event: "dyn" } })
 */
export function compileRule(source: RuleSource): CompiledRule {
  const { variables, when } = source
  if (when === undefined) return { ...source, condition: undefined, tests: { is: "all", parts: [] } }
  const tree = parseExpression(when)
  const condition = compileTree(tree, { text: when, variables, resultType: "bool" })
  const tests = source.gating ? openCondition : readCondition(tree, { text: when, variables })
  return { ...source, condition, tests }
}
