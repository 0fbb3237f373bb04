import { compileExpression } from "@signalbox/expressions/compile-expression"
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
  const condition = when === undefined ? undefined : compileExpression(when, { variables, resultType: "bool" })
  return { ...source, condition }
}
