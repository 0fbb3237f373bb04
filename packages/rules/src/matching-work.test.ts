/** What a match costs, counted: conditions evaluated, and fields of the data looked at. */
import { describe, expect, test } from "vitest"
import { compileRule } from "./compile-rule.ts"
import { createRuleSet } from "./rule-set.ts"
import type { CompiledRule, RuleTrigger } from "./rule-source.ts"

const called: readonly RuleTrigger[] = [{ on: "before", name: "a.b" }]

interface Work {
  evaluated: number
  read: number
}

/** A rule that tells when it is evaluated. */
function counted(work: Work, id: string, { when, gating }: { when: string; gating: boolean }): CompiledRule {
  const rule = compileRule({ id, version: 1, triggers: called, gating, when, variables: { input: "dyn" } })
  const { condition } = rule
  if (!condition) return rule
  const evaluate: typeof condition.evaluate = (data) => {
    work.evaluated++
    return condition.evaluate(data)
  }
  return { ...rule, condition: { ...condition, evaluate } }
}

/** Data that tell when one of their fields is looked at. */
function watched<T extends object>(work: Work, data: T): T {
  return new Proxy(data, {
    get(target, field) {
      work.read++
      const value: unknown = Reflect.get(target, field)
      return typeof value === "object" && value !== null ? watched(work, value) : value
    },
  })
}

/** The nth rule of each shape; none of them holds of the data below. */
const shapes: ReadonlyArray<(at: number) => string> = [
  (at) => `input.name == "n${at}"`,
  (at) => `input.name.startsWith("p${at}")`,
  (at) => `input.name.endsWith("s${at}")`,
  (at) => `input.amount > ${at + 1000} && input.amount < ${at + 1001}`,
  (at) => `input.name.matches("^w${at}.*$")`,
  (at) => `input.kind == "disk" && input.name == "k${at}"`,
  (at) => `size(input.tags) > ${at + 100}`,
  (at) => `input.tags.exists(t, t == "t${at}")`,
  (at) => `has(input.owner) && input.owner == "o${at}"`,
  (at) => `"owner" in input && input.owner.startsWith("o${at}")`,
  (at) => `input.name == "x" && input.missing > ${at}`,
]

function workOf(count: number, gating: boolean): Work & { readonly matched: readonly string[] } {
  const work: Work = { evaluated: 0, read: 0 }
  const cold = Array.from({ length: count }, (_, at) => shapes[at % shapes.length]?.(at) ?? "false")
  const rules = cold.map((when, at) => counted(work, `r${at}`, { when, gating }))
  const hot = ["input.amount == 7", "input.name == 'web-1'", "input.tags.exists(t, t == 'blue')"]
  const set = createRuleSet([...rules, ...hot.map((when, at) => counted(work, `hot${at}`, { when, gating }))])
  const input = { name: "web-1", kind: "disk", amount: 7, tags: ["blue", "b"] }
  const { faults, matched } = set.match(called, { input: watched(work, input) })
  expect(faults).toEqual([])
  return { ...work, matched: matched.map(({ id }) => id) }
}

describe("R12: the work of a match", () => {
  test.each([true, false])("is the same among 10 rules and 2,000 (gating: %s)", (gating) => {
    const few = workOf(10, gating)
    const many = workOf(2_000, gating)
    expect(few.matched).toEqual(["hot0", "hot1", "hot2"])
    expect(many.matched).toEqual(few.matched)
    expect([few.evaluated, many.evaluated]).toEqual([0, 0])
    expect(many.read).toBeLessThanOrEqual(few.read * 2)
  })

  test("suspects are evaluated only where no other part of their condition is surely false", () => {
    const work: Work = { evaluated: 0, read: 0 }
    const of = (at: number) => `input.missing == ${at} && input.tier != "gold"`
    const rules = Array.from({ length: 100 }, (_, at) => counted(work, `r${at}`, { when: of(at), gating: true }))
    const set = createRuleSet(rules)
    expect(set.match(called, { input: { tier: "gold" } }).faults).toEqual([])
    expect(work.evaluated).toBe(0)
    expect(set.match(called, { input: { tier: "iron" } }).faults).toHaveLength(100)
    expect(work.evaluated).toBe(100)
  })
})

describe("R10: rules about other operations", () => {
  test("are no work at all", () => {
    const work: Work = { evaluated: 0, read: 0 }
    const rule = (at: number) => counted(work, `r${at}`, { when: `input.name == "n${at}"`, gating: true })
    const set = createRuleSet(Array.from({ length: 1000 }, (_, at) => rule(at)))
    const other: readonly RuleTrigger[] = [{ on: "before", name: "a.c" }]
    expect(set.concerns(other)).toBe(false)
    expect(set.match(other, watched(work, { input: {} }))).toMatchObject({ matched: [], faults: [] })
    expect(work).toEqual({ evaluated: 0, read: 0 })
  })
})
