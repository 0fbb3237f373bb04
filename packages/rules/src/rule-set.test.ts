import { describe, expect, test } from "vitest"
import { compileRule } from "./compile-rule.ts"
import { explainRule } from "./explain-rule.ts"
import { createRuleSet } from "./rule-set.ts"
import type { RuleSource, RuleTrigger } from "./rule-source.ts"

const finished: RuleTrigger = { on: "event", name: "execution.finished" }

function rule(id: string, when?: string, more: Partial<RuleSource> = {}) {
  const source = { id, version: 1, triggers: [finished], gating: false, variables: { event: "dyn" } as const, ...more }
  return compileRule(when === undefined ? source : { ...source, when })
}

const event = (data: unknown) => ({ event: { type: "execution.finished", data } })

describe("a set of rules", () => {
  test("finds the rules of a trigger, by its name, a prefix of it or all of its kind", () => {
    const names = ["execution.finished", "execution.*", "*", "execution", "exec.*", "execution.finished.*"]
    const rules = names.map((name) => rule(name, undefined, { triggers: [{ on: "event", name }] }))
    const other = rule("other", undefined, { triggers: [{ on: "after", name: "execution.finished" }] })
    const set = createRuleSet([...rules, other])
    const ids = set.match([finished], event({})).matched.map((each) => each.id)
    expect(ids).toEqual(["*", "execution.*", "execution.finished"])
    expect(set.match([{ on: "after", name: "execution.finished" }], {}).matched).toEqual([other])
    expect(set.concerns([{ on: "before", name: "execution.finished" }])).toBe(false)
    expect(set.concerns([{ on: "webhook", name: "x" }, finished])).toBe(true)
  })

  test("finds few rules of a pattern, and many, beside those of a name", () => {
    const own = Array.from({ length: 4 }, (_, at) => rule(`own${at}`, `event.data.n == ${at}`))
    const triggers: RuleTrigger[] = [{ on: "event", name: "execution.*" }, finished]
    for (const count of [1, 2, 3, 9]) {
      const general = Array.from({ length: count }, (_, at) => rule(`all${at}`, `event.data.m == ${at}`, { triggers }))
      const set = createRuleSet([
        ...own,
        ...general,
        rule("any", undefined, { triggers: [{ on: "event", name: "*" }] }),
      ])
      const idsOf = (name: string) =>
        set.match([{ on: "event", name }], event({ n: 1, m: 0 })).matched.map(({ id }) => id)
      expect(idsOf("execution.finished")).toEqual(["all0", "any", "own1"])
      expect(idsOf("execution.begun")).toEqual(["all0", "any"])
      expect(idsOf("other")).toEqual(["any"])
      expect(set.waiting([finished]).size).toBe(5 + count)
    }
  })

  test("tells a rule that two triggers name once", () => {
    const both = rule("both", undefined, { triggers: [finished, { on: "signal", name: "disk" }] })
    const set = createRuleSet([both])
    expect(set.match([finished, { on: "signal", name: "disk" }], event({})).matched).toEqual([both])
  })

  test("tells rules whose condition has no result apart from those whose is false", () => {
    const set = createRuleSet([
      rule("a", "event.data.n > 3"),
      rule("b", "event.data.n > 5"),
      rule("c", "event.data.m > 3"),
      rule("d", "has(event.data.m) && event.data.m > 3"),
      rule("e", "event.data.m > 3 && event.data.n > 5"),
    ])
    const { faults, matched } = set.match([finished], event({ n: 4 }))
    expect(matched.map((each) => each.id)).toEqual(["a"])
    expect(faults.map((each) => each.rule.id)).toEqual(["c"])
    expect(faults[0]?.message).toContain('no field "m"')
  })

  test("is another set with a rule more, replaced or less", () => {
    const one = createRuleSet([rule("a", "event.data.n > 3")])
    const two = one.with(rule("b"))
    const changed = two.with(rule("a", "event.data.n > 9"))
    const less = two.without("a").without("unknown")
    const ids = (set: typeof one) => set.match([finished], event({ n: 4 })).matched.map((each) => each.id)
    expect([one, two, changed, less].map(ids)).toEqual([["a"], ["a", "b"], ["b"], ["b"]])
    expect([one, two, changed, less].map((set) => set.size)).toEqual([1, 2, 2, 1])
  })
})

describe("wildcards", () => {
  test("are asked beside a beginning or an end that only looks like a part of theirs", () => {
    const own = ["event.data.s.startsWith('b')", "event.data.s.endsWith('a')", "event.data.s.contains('b')"]
    const rules = own.map((each, at) =>
      rule(`r${at}`, `event.data.n == ${at} && ${each} && event.data.s.matches('^a.*b$')`),
    )
    const set = createRuleSet([
      ...rules,
      ...Array.from({ length: 30 }, (_, at) => rule(`n${at}`, `event.data.n == ${at + 9}`)),
    ])
    const ids = [0, 1, 2].map((n) => set.match([finished], event({ n, s: "ab" })).matched.map(({ id }) => id))
    expect(ids).toEqual([[], [], ["r2"]])
  })

  test("of a text with several lines are what the pattern says", () => {
    const patterns = ["^a.*b$", "^a.*c.*b$", "a.*b", "^.*a.*c.*$"]
    const set = createRuleSet(patterns.map((each, at) => rule(`r${at}`, `event.data.s.matches('${each}')`)))
    const ids = (s: string) => set.match([finished], event({ s })).matched.map(({ id }) => id)
    expect(ids("acb")).toEqual(["r0", "r1", "r2", "r3"])
    expect(ids("a\ncb")).toEqual([])
    expect(ids("ab\ncb")).toEqual(["r2"])
  })
})

describe("why a rule matched or not", () => {
  const explain = (when: string, data: unknown) => explainRule(rule("r", when), [finished], event(data))

  test("names the parts that decided, and the values that they saw", () => {
    const { condition, outcome } = explain("event.data.n > 3 && event.data.kind == 'disk'", { n: 4, kind: "load" })
    expect(outcome).toBe("not-matched")
    expect(condition?.parts).toMatchObject([
      { text: "event.data.n > 3", value: true, isDecisive: false },
      { text: 'event.data.kind == "disk"', value: false, isDecisive: true, parts: [{ value: "load" }] },
    ])
  })

  test("tells what failed, and what failed without harm", () => {
    expect(explain("event.data.m > 3 && event.data.n == 4", { n: 4 })).toMatchObject({
      outcome: "failed",
      condition: {
        parts: [{ fault: expect.stringContaining('no field "m"'), isDecisive: true }, { isDecisive: false }],
      },
    })
    expect(explain("event.data.m > 3 || event.data.n == 4", { n: 4 })).toMatchObject({
      outcome: "matched",
      condition: { value: true, parts: [{ isDecisive: false }, { value: true, isDecisive: true }] },
    })
  })

  test("knows rules without condition, and those that nothing triggered", () => {
    expect(explainRule(rule("r"), [finished], {}).outcome).toBe("matched")
    expect(explainRule(rule("r"), [{ on: "event", name: "x" }], {}).outcome).toBe("not-triggered")
  })
})

describe("a set of many rules at one test", () => {
  const many = Array.from({ length: 40 }, (_, at) => {
    const own = at % 2 === 0 ? `event.data.n == ${at}` : `event.data.items.exists(i, i.k == "k${at}" || i.n == ${at})`
    return rule(`r${String(at).padStart(2, "0")}`, `event.data.kind == "a" && ${own}`)
  })
  const set = createRuleSet(many)
  const ids = (data: unknown) => set.match([finished], event(data)).matched.map((each) => each.id)

  test("looks on for what else they ask", () => {
    expect(
      ids({
        kind: "a",
        n: 4,
        items: [
          { k: "k7", n: 0 },
          { k: "", n: 9 },
        ],
      }),
    ).toEqual(["r04", "r07", "r09"])
    expect(ids({ kind: "b", n: 4, items: [{ k: "k7" }] })).toEqual([])
  })

  test("knows those of them that have no result", () => {
    const { faults } = set.match([finished], event({ kind: "a", items: [] }))
    expect(faults).toHaveLength(20)
  })
})
