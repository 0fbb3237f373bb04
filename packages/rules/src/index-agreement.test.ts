import type { VariableType } from "@signalbox/expressions/variable-type"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { compileRule } from "./compile-rule.ts"
import { evaluateRules } from "./evaluate-rules.ts"
import { condition, datum, declaredTypes, openTypes } from "./generated-rules.fixture.ts"
import { createRuleSet, type RuleSet } from "./rule-set.ts"
import type { CompiledRule, RuleMatches, RuleTrigger } from "./rule-source.ts"

const occurred: readonly RuleTrigger[] = [
  { on: "event", name: "a.b" },
  { on: "signal", name: "s" },
]

function tryCompile(id: number, when: string, variables: Record<string, VariableType>): CompiledRule[] {
  const name = ["a.b", "a.b", "a.*", "a.b", "*", "a.b", "other"][id % 7] ?? ""
  const triggers: RuleTrigger[] = [
    { on: "event", name },
    ...(id % 3 === 0 ? [{ on: "signal", name: "s" } as const] : []),
  ]
  try {
    return [compileRule({ id: `r${id}`, version: 1, triggers, gating: id % 17 === 5, when, variables })]
  } catch {
    // Written for untyped data: not all of it fits the declared ones.
    return []
  }
}

const rules = fc
  .array(fc.tuple(condition, fc.boolean()), { minLength: 1, maxLength: 40 })
  .map((all) => all.flatMap(([when, isDeclared], id) => tryCompile(id, when, isDeclared ? declaredTypes : openTypes)))

const outcome = ({ faults, matched }: RuleMatches) => ({
  matched: matched.map((rule) => `${rule.id} ${rule.when}`),
  faults: faults.map(({ message, rule }) => `${rule.id} ${rule.when}: ${message}`),
})

function expectAgreement(set: RuleSet, all: readonly CompiledRule[], data: readonly { event: unknown }[]): void {
  for (const each of data) {
    expect(outcome(set.match(occurred, each))).toEqual(outcome(evaluateRules(all, occurred, each)))
  }
}

const data = fc.array(datum, { minLength: 1, maxLength: 8 })

describe("the index", () => {
  test("D20: gives what evaluating each rule gives, failures included", () => {
    fc.assert(
      fc.property(rules, data, (all, given) => expectAgreement(createRuleSet(all), all, given)),
      { numRuns: 150 },
    )
  }, 300_000)

  test("gives it after rules were added, replaced and taken away", () => {
    const change = fc.oneof(
      fc.tuple(fc.constant("with"), condition, fc.nat({ max: 30 })),
      fc.tuple(fc.constant("without"), fc.constant(""), fc.nat({ max: 30 })),
    )
    fc.assert(
      fc.property(rules, fc.array(change, { maxLength: 40 }), data, (first, changes, given) => {
        const kept = new Map(first.map((rule) => [rule.id, rule]))
        let set = createRuleSet(first)
        for (const [what, when, id] of changes) {
          const [rule] = what === "with" ? tryCompile(id, when, openTypes) : []
          if (what === "with" && rule !== undefined) kept.set(rule.id, rule)
          if (what === "without") kept.delete(`r${id}`)
          set = rule === undefined ? (what === "without" ? set.without(`r${id}`) : set) : set.with(rule)
        }
        expect(set.size).toBe(kept.size)
        expectAgreement(set, [...kept.values()], given)
      }),
      { numRuns: 40 },
    )
  }, 300_000)
})
