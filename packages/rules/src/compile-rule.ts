import { compileTree } from "@signalbox/expressions/compile-expression"
import { parseExpression } from "@signalbox/expressions/parse-expression"
import { checkGuards } from "./check-guards.ts"
import { findReads } from "./find-reads.ts"
import { readCondition } from "./read-condition.ts"
import { checkCost } from "./rule-cost.ts"
import type { CompiledRule, RuleSource } from "./rule-source.ts"
import { findSafeSize } from "./work-bound.ts"

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
  if (when === undefined) {
    return { ...source, condition: undefined, tests: { is: "all", parts: [] }, reads: [], safeSize: Infinity, cost: 0 }
  }
  const tree = parseExpression(when)
  const condition = compileTree(tree, { text: when, variables, resultType: "bool" })
  checkGuards(tree, { text: when, variables })
  const cost = checkCost(tree, when)
  const tests = readCondition(tree, { text: when, variables })
  const safeSize = source.gating ? findSafeSize(tree) : Infinity
  return { ...source, condition, tests, reads: findReads(tree), safeSize, cost }
}
