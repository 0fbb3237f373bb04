/** Rules that decide over calls: the index must have no result wherever evaluating them has none. */
import type { VariableType } from "@signalbox/expressions/variable-type"
import { parseExpression } from "@signalbox/expressions/parse-expression"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { compileRule } from "./compile-rule.ts"
import { evaluateRules } from "./evaluate-rules.ts"
import { condition, datum, declaredTypes, openTypes } from "./generated-rules.fixture.ts"
import { createRuleSet } from "./rule-set.ts"
import type { CompiledRule, RuleMatches, RuleTrigger } from "./rule-source.ts"
import { findSafeSize, measureData } from "./work-bound.ts"

const called: readonly RuleTrigger[] = [{ on: "before", name: "a.b" }]

function gate(id: string, when: string, variables: Record<string, VariableType>): CompiledRule[] {
  try {
    return [compileRule({ id, version: 1, triggers: called, gating: true, when, variables })]
  } catch {
    // Written for untyped data: not all of it fits the declared ones.
    return []
  }
}

const outcome = ({ faults, matched }: RuleMatches) => ({
  matched: matched.map((rule) => rule.when),
  faults: faults.map(({ message, rule }) => `${rule.when}: ${message}`),
})

function expectAgreement(rules: readonly CompiledRule[], data: { readonly event: unknown }): void {
  expect(outcome(createRuleSet(rules).match(called, data))).toEqual(outcome(evaluateRules(rules, called, data)))
}

const gates = fc
  .array(fc.tuple(condition, fc.boolean()), { minLength: 1, maxLength: 40 })
  .map((all) => all.flatMap(([when, isDeclared], id) => gate(`r${id}`, when, isDeclared ? declaredTypes : openTypes)))

/** Conditions that go over the limits of an evaluation where the data are large. */
const heavy = fc.constantFrom(
  "event.data.s.matches('(a|b){60}c')",
  "event.data.t.matches('^(ab|ba)+c$')",
  "event.data.tags.exists(x, x == 'b')",
  "event.data.tags.all(x, x != 'b')",
  "event.data.items.exists(i, event.data.tags.exists(j, j == i))",
  "size(event.data.s + event.data.t) > 3",
  "event.data.s.split('').exists(c, c == 'z')",
)
const long = fc.constantFrom("ab".repeat(30_000), "a".repeat(70_000), "ba".repeat(5_000))
const many = fc.constantFrom(
  ...[30_000, 15_000, 300].map((length) => Array.from({ length }, (_, at) => (at % 2 === 0 ? "a" : "c"))),
)
const large = fc.record(
  { n: fc.constantFrom(1, 2), s: long, t: long, tags: many, items: many },
  { requiredKeys: ["n"] },
)

describe("D20: the index of gating rules", () => {
  test("gives what evaluating each rule gives, failures and their messages included", () => {
    fc.assert(
      fc.property(gates, fc.array(datum, { minLength: 1, maxLength: 8 }), (rules, data) => {
        for (const each of data) expectAgreement(rules, each)
      }),
      { numRuns: 150 },
    )
  }, 300_000)

  test("gives it where evaluating goes over its limits, which no other part of a condition makes good", () => {
    const decided = fc.constantFrom("event.data.n == 1", "event.data.n == 9", "event.data.n > 5", "has(event.data.m)")
    const both = fc
      .tuple(heavy, fc.constantFrom("&&", "||"), decided, fc.boolean())
      .map(([a, sign, b, isFirst]) => (isFirst ? `${a} ${sign} ${b}` : `${b} ${sign} ${a}`))
    fc.assert(
      fc.property(fc.uniqueArray(both, { minLength: 1, maxLength: 6 }), large, (all, data) => {
        const rules = all.flatMap((when, id) => gate(`r${id}`, when, openTypes))
        expectAgreement(rules, { event: { data } })
      }),
      { numRuns: 60 },
    )
  }, 300_000)

  test("no evaluation goes over its limits with data of a safe size", () => {
    const either = fc.oneof(
      condition,
      heavy,
      fc.tuple(heavy, heavy).map((parts) => parts.join(" || ")),
    )
    fc.assert(
      fc.property(either, fc.integer({ min: 0, max: 20_000 }), (when, size) => {
        const safe = Math.min(findSafeSize(parseExpression(when)), size)
        const [rule] = gate("r", when, openTypes)
        const texts = "ab".repeat(Math.max(0, safe / 4 - 20))
        const list = Array.from({ length: Math.max(0, safe / 4 - 20) }, (_, at) => (at % 9 === 0 ? "a" : 1))
        for (const data of [
          { n: 1, s: texts, t: texts },
          { tags: list, items: list },
          { s: texts, tags: list },
        ]) {
          if (rule === undefined || measureData({ event: { data } }, Infinity) > safe) continue
          const { faults } = evaluateRules([rule], called, { event: { data } })
          expect(faults.filter(({ message }) => /more work|goes through more/.test(message))).toEqual([])
        }
      }),
      { numRuns: 400 },
    )
  }, 300_000)

  test("data are measured as far as anybody asks", () => {
    expect(measureData({ ab: "xyz", c: [1, "z", null] }, 100)).toBe(3 + 3 + 2 + 3 + 1)
    expect(measureData({ a: "x".repeat(50), b: "y" }, 10)).toBeGreaterThan(10)
    let deep: unknown = "x"
    for (let level = 0; level < 100_000; level++) deep = [deep]
    expect(measureData(deep, Infinity)).toBe(100_001)
  })
})

describe("D20: a gate whose condition has no result", () => {
  const data = (fields: object) => ({ event: { data: fields } })
  test.each([
    ["event.data.amount > 10", data({}), "no field"],
    ["event.data.amount > 10", data({ amount: null }), "no order"],
    ["event.data.amount > 10", data({ amount: "11" }), "no order"],
    ["event.data.name.startsWith('a')", data({ name: 7 }), "can't take"],
    ["event.data.kind == 'a' && event.data.amount > 10", data({ kind: "a" }), "no field"],
    ["event.data.amount > 10 || event.data.kind == 'b'", data({ kind: "a" }), "no field"],
    ["!(event.data.amount > 10)", data({}), "no field"],
    ["event.data.tags.exists(t, t == 'x')", data({ tags: 3 }), "no items"],
    ["event.data == 1 || event.data.a == 2", { event: { data: [] } }, "no fields"],
  ])("%s of %j fails", (when, given, message) => {
    const rules = gate("r", when, openTypes)
    const { faults, matched } = createRuleSet(rules).match(called, given)
    expect(matched).toEqual([])
    expect(faults).toMatchObject([{ message: expect.stringContaining(message) }])
  })

  test.each([
    ["event.data.kind == 'b' && event.data.amount > 10", data({ kind: "a" })],
    ["has(event.data.amount) && event.data.amount > 10", data({})],
    ["event.data.amount > 10 && event.data.kind == 'b'", data({ kind: "a" })],
  ])("%s of %j is false: the other part decides", (when, given) => {
    const { faults, matched } = createRuleSet(gate("r", when, openTypes)).match(called, given)
    expect([faults, matched]).toEqual([[], []])
  })
})
