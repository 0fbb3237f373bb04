import { describe, expect, test } from "vitest"
import type { VariableType } from "@signalbox/expressions/variable-type"
import { compileRule } from "./compile-rule.ts"
import { ruleLimits } from "./rule-cost.ts"

const inner: VariableType = { fields: { x: "int", y: "int" }, required: ["y"] }
const variables: Record<string, VariableType> = {
  input: { fields: { a: "int", b: inner, c: { list: inner }, d: "dyn" }, required: ["d"] },
}

const compile = (when: string) =>
  compileRule({ id: "r", version: 1, triggers: [{ on: "before", name: "x" }], gating: true, variables, when })

describe("a rule that is saved", () => {
  test.each([
    "has(input.a) && input.a > 3",
    "input.a > 3 && has(input.a)",
    "!has(input.a) || input.a > 3",
    "!(has(input.a) && input.a > 3)",
    "has(input.a) ? input.a > 3 : true",
    "!has(input.a) ? true : input.a > 3",
    "has(input.b) && has(input.b.x) && input.b.x + input.b.y > 3",
    "has(input.b) && !has(input.b.x)",
    "has(input.c) && input.c.exists(i, has(i.x) && i.x > i.y)",
    "has(input.c) && input.c.filter(i, has(i.x)).size() > 0",
    "input.d.anything > 3",
    "has(input.c) && input.c[0].y == 1",
  ])("D20: may ask for what is guarded: %s", (when) => {
    expect(compile(when).condition?.text).toBe(when)
  })

  test.each([
    ["input.a > 3", "input.a"],
    ["has(input.a) || input.a > 3", "input.a"],
    ["!has(input.a) && input.a > 3", "input.a"],
    ["has(input.a) ? true : input.a > 3", "input.a"],
    ["has(input.b.x)", "input.b"],
    ["has(input.b) && input.b.x > 3", "input.b.x"],
    ["has(input.c) && input.c.exists(i, i.x > 3)", "i.x"],
    ["input.c.exists(i, has(i.x))", "input.c"],
    ["has(input.b) && has(input.b.x) && has(input.c) && input.c.exists(input, input.x > 3)", "input.x"],
    ["has(input.c) && input.c[0].x == 1", "input.c[0].x"],
  ])("D20: has to guard what may be absent: %s", (when, field) => {
    expect(() => compile(when)).toThrow(`${field} may be absent: write has(${field})`)
  })

  test("R11: tells what it costs, and is refused where that is too much", () => {
    expect(compile("input.d.n == 1").cost).toBeLessThan(10)
    expect(compile("input.d.l.exists(a, a.n == 1)").cost).toBeGreaterThan(ruleLimits.assumedItems)
    const bomb = "input.d.l.exists(a, a.l.exists(b, b.matches('(x{1,30}y){1,20}')))"
    expect(() => compile(bomb)).toThrow(/may look at \d+ characters and items/)
  })
})
