import { celEnv, parse, plan, type CelInput } from "@bufbuild/cel"
import { hasCode, isAppError } from "@signalbox/kernel/app-error"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { compileExpression } from "./compile-expression.ts"
import { expressionLimits } from "./expression-limits.ts"
import type { VariableType } from "./variable-type.ts"

const variables: Record<string, VariableType> = {
  event: { fields: { type: "string", time: "timestamp", data: "dyn", tags: { list: "string" }, count: "int" } },
  counts: { fields: { failed: "int", total: "int", rate: "double" } },
  any: "dyn",
  names: { list: "string" },
  labels: { map: "string" },
  lasted: "duration",
}

const data = {
  event: {
    type: "execution.finished",
    time: "2026-11-22T03:00:00.250Z",
    data: { failed: 4, nodes: [{ name: "web-1", ok: true }, { name: "db-1" }], note: null },
    tags: ["a", "b"],
    count: 7,
  },
  counts: { failed: 7, total: 2, rate: 0.5 },
  any: { n: 3, m: 2, text: "x", f: 1.5 },
  names: ["web-1", "web-2"],
  labels: { env: "prod" },
  lasted: "PT90S",
}

function evaluate(text: string): unknown {
  return compileExpression(text, { variables, resultType: "any" }).evaluate(data)
}

function refusal(text: string, resultType: "bool" | "string" | "any" = "any"): string {
  try {
    compileExpression(text, { variables, resultType })
  } catch (error) {
    if (hasCode(error, "expressions.invalid")) return (error as Error).message
    throw error
  }
  throw new Error(`${text} was not refused`)
}

function fault(text: string): string {
  try {
    return `result ${JSON.stringify(evaluate(text))}`
  } catch (error) {
    if (hasCode(error, "expressions.evaluation-failed")) return (error as Error).message
    throw error
  }
}

describe("an expression", () => {
  test.each<[string, unknown]>([
    ["counts.failed > 3 && event.type == 'execution.finished'", true],
    ["event.data.failed * 2 + 1", 9],
    ["counts.failed / counts.total", 3],
    ["-counts.failed / counts.total", -3],
    ["counts.failed % 4", 3],
    ["any.n / any.m", 1.5],
    ["any.n / 2", 1],
    ["double(counts.failed) / 2.0", 3.5],
    ["any.f + 1.0", 2.5],
    ["counts.failed > 6.5", true],
    ["has(event.data.failed) && !has(event.data.missing)", true],
    ["event.data.note == null", true],
    ["event.data.nodes.exists(n, n.name.startsWith('db') && !has(n.ok))", true],
    ["event.data.nodes.all(n, n.name.matches('^[a-z]+-[0-9]$'))", true],
    ["event.data.nodes.exists_one(n, has(n.ok))", true],
    ["event.data.nodes.map(n, n.name)", ["web-1", "db-1"]],
    ["event.data.nodes.map(n, has(n.ok), n.name + '!')", ["web-1!"]],
    ["names.filter(n, n != 'web-1')", ["web-2"]],
    ["labels.exists(key, key == 'env' && labels[key] == 'prod')", true],
    ["'env' in labels && 'web-2' in names && !('x' in labels)", true],
    ["names[1]", "web-2"],
    ["{'a': 1, 'b': [true, null]}", { a: 1, b: [true, null] }],
    ["{'a': 1}.a", 1],
    ["size(names) + size('aé😀') + labels.size()", 6],
    ["'Web'.lowerAscii() + 'x'.upperAscii() + ' y '.trim()", "webXy"],
    ["'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('+') == 'a+b'", true],
    ["int('42') + int(3.9) + int('-7')", 38],
    ["string(1.5) + string(true) + string(7)", "1.5true7"],
    ["event.time < timestamp('2026-11-22T05:00:00+01:00')", true],
    ["event.time + duration('1h')", "2026-11-22T04:00:00.250Z"],
    ["event.time - timestamp('2026-11-22T02:59:00.250Z') == duration('60s')", true],
    ["lasted > duration('1m') && lasted.getSeconds() == 90", true],
    ["event.time.getHours()", 3],
    ["event.count == 7 ? 'seven' : 'other'", "seven"],
    ["any.missing == 1 || true", true],
    ["false && any.missing == 1", false],
    ["any.missing == 1 && false", false],
    ["[1, 2, 3].exists(x, any.missing == x || x == 3)", true],
    ["1 < 2 == true", true],
    ["'😀' > '\\uffff'", true],
  ])("%s", (text, expected) => {
    expect(evaluate(text)).toEqual(expected)
  })

  test("knows the position of what is wrong, and what was meant", () => {
    expect(refusal("evnt.type == 'x'")).toBe('"evnt" is unknown here; did you mean event? (line 1, column 1)')
    expect(refusal("true &&\n  event.typ == 'x'")).toContain('there is no field "typ"; did you mean type? (line 2')
    expect(refusal("names.exist(n, true)")).toContain("did you mean exists")
    expect(refusal("names.exists(n)")).toContain("exists() takes a variable and an expression")
    expect(refusal("a == ")).toContain("line 1, column 3")
    expect(refusal("")).toContain("empty")
    expect(refusal("has(event)")).toContain("has() takes a field")
  })

  test.each([
    ["event.type > 3", "string and int can't be compared"],
    ["event.type + 1", "there is no string + int"],
    ["counts.failed * 2.0", "write double(…) around the int"],
    ["!counts.failed", "int stands where true or false is needed"],
    ["counts.failed && true", "int stands where true or false is needed"],
    ["event.type.nothing", "string has no fields"],
    ["'a' in event.type", "needs a list or a map"],
    ["size(1)", "size() takes string or list or map, not int"],
    ["names.contains('a')", "contains() takes string, not list"],
    ["contains(event.type, 'a')", "called as value.contains(…)"],
    ["event.type.matches(event.type)", "constant pattern"],
    ["event.type.matches('(')", "no RE2 pattern"],
    ["event.type.matches('(?=a)')", "no RE2 pattern"],
    ["1u", "leave the `u` out"],
    ["b'a'", "constants are"],
    ["9007199254740993", "at most 53 bits"],
    ["Foo{a: 1}", "no messages"],
  ])("refuses %s", (text, message) => {
    expect(refusal(text)).toContain(message)
  })

  test("has to result in what is asked for", () => {
    expect(refusal("event.type", "bool")).toContain("has to be a bool; it is a string")
    const open = compileExpression("any.n", { variables, resultType: "bool" })
    expect(() => open.evaluate(data)).toThrow(/has to be a bool; it is int/)
    expect(compileExpression("event.type", { variables, resultType: "string" }).evaluate(data)).toBe(data.event.type)
  })

  test.each([
    ["event.data.missing == 1", 'no field "missing"; guard it with has(…)'],
    ["event.data.constructor == 1", 'no field "constructor"'],
    ["event.data.__proto__ == 1", 'no field "__proto__"'],
    ["has(event.data.toString)", "result false"],
    ["event.data.note.x", "null has no fields"],
    ["any.text + 1", "there is no string + int"],
    ["any.f + 1", "1.5 stands where a whole number is needed"],
    ["counts.failed / 0", "division by zero"],
    ["names[2]", "no item 2 in a list of 2"],
    ["any.text > any.n", "string and int have no order"],
    ["9007199254740991 + 1", "larger than 53 bits"],
    ["int('x')", "no whole number"],
    ["timestamp('yesterday')", "no RFC 3339 timestamp"],
  ])("fails on data that don't fit: %s", (text, message) => {
    expect(fault(text)).toContain(message)
  })

  test("names a variable without a value", () => {
    const compiled = compileExpression("any == 1", { variables, resultType: "bool" })
    expect(() => compiled.evaluate({})).toThrow(/"any" has no value here/)
  })

  test("takes int fields as whole numbers, whatever JSON says", () => {
    const compiled = compileExpression("counts.failed / 2", { variables, resultType: "any" })
    expect(compiled.evaluate({ counts: { failed: 7 } })).toBe(3)
    expect(() => compiled.evaluate({ counts: { failed: 7.5 } })).toThrow(/whole number/)
  })
})

describe("the limits of an expression", () => {
  test("hold when it is compiled", () => {
    expect(refusal("1".repeat(expressionLimits.textLengthMax + 1))).toContain("at most 4096")
    expect(refusal(Array.from({ length: 600 }, () => "1").join("+"))).toContain("too large")
    for (const count of [61, 300, 900]) expect(refusal(`${"(1+".repeat(count)}1${")".repeat(count)}`)).toMatch(/too/)
    expect(refusal("[".repeat(900) + "]".repeat(900))).toMatch(/too/)
    const deep = "names.exists(a, names.exists(b, names.exists(c, a == b && b == c)))"
    expect(refusal(deep)).toContain("more than 2 deep")
    expect(refusal("event.type.matches('((a{1000}){1000}){1000}')")).toContain("no RE2 pattern")
  })

  test("hold when it runs", () => {
    const options = { variables: { list: "dyn" }, resultType: "any" } as const
    const twice = compileExpression("list.all(a, list.all(b, a == a || b == b))", options)
    const list = Array.from({ length: 1000 }, (_, index) => index)
    expect(() => twice.evaluate({ list })).toThrow(/more than 20000 items/)
    expect(twice.evaluate({ list: list.slice(0, 100) })).toBe(true)
    const long = compileExpression("list + list", options)
    expect(() => long.evaluate({ list: "x".repeat(40_000) })).toThrow(/makes a text/)
  })

  test("R11: what grows with the data is bounded, however it is repeated, and no fault hides it", () => {
    const bool = (text: string) => compileExpression(text, { variables: { a: "dyn", b: "dyn" }, resultType: "bool" })
    const refusedQuickly = (text: string, given: Record<string, unknown>): void => {
      const began = performance.now()
      expect(() => bool(text).evaluate(given), text).toThrow(/takes more work|makes a text|more than 20000 items/)
      expect(performance.now() - began, text).toBeLessThan(2000)
    }
    const long = "a".repeat(65_000)
    const items = Array.from({ length: 10_000 }, (_, index) => index)
    const deep = () => JSON.parse(JSON.stringify({ items, long })) as unknown
    refusedQuickly("a.matches('(a{0,30}){0,30}$')", { a: `${long}b` })
    refusedQuickly("a.all(x, !b.contains('z'))", { a: items, b: long })
    refusedQuickly("a.all(x, a.size() > 0 || b.contains('z')) && a.all(x, !(x in a) || -1 in a)", { a: items, b: long })
    refusedQuickly("a.exists(x, b[0] == b[1] && x < 0)", { a: items, b: [deep(), deep()] })
    refusedQuickly("a.exists(x, b[0] < b[1])", { a: items, b: [long, `${long.slice(1)}A`] })
    refusedQuickly("a.map(x, b + string(x)).size() == 1", { a: items, b: long })
    refusedQuickly("a.map(x, b).join('') == ''", { a: items, b: long })
    refusedQuickly("a.exists(x, b.contains('z') && 1 / 0 == 1)", { a: items, b: long })
    const any = compileExpression("a.map(x, b)", { variables: { a: "dyn", b: "dyn" }, resultType: "any" })
    expect(() => any.evaluate({ a: items, b: items })).toThrow(/takes more work than/)
  })

  test("R11: a pattern that makes other engines backtrack takes linear time", () => {
    const pattern = compileExpression("text.matches('^(a+)+$')", { variables: { text: "string" }, resultType: "bool" })
    const began = performance.now()
    expect(pattern.evaluate({ text: `${"a".repeat(50_000)}!` })).toBe(false)
    expect(performance.now() - began).toBeLessThan(5000)
  })
})

const typed: Record<string, VariableType> = {
  i: "int",
  j: "int",
  s: "string",
  b: "bool",
  l: { list: "int" },
  m: { map: "int" },
}

/** Well-typed expressions over the variables above, as text. */
const { bool } = fc.letrec<{ int: string; string: string; bool: string; list: string }>((tie) => ({
  int: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom("i", "j", "0", "3", "-7"),
    fc.constantFrom("m.a", "m['b']", "l[0]", "l[2]"),
    fc.tuple(tie("int"), fc.constantFrom("+", "-", "*", "/", "%"), tie("int")).map(([a, o, c]) => `(${a} ${o} ${c})`),
    tie("string").map((s) => `size(${s})`),
    tie("list").map((l) => `${l}.size()`),
    fc.tuple(tie("bool"), tie("int"), tie("int")).map(([t, a, c]) => `(${t} ? ${a} : ${c})`),
  ),
  string: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom("s", "'a'", "'b😀'", "''"),
    fc.tuple(tie("string"), tie("string")).map(([a, c]) => `(${a} + ${c})`),
    tie("int").map((a) => `string(${a})`),
  ),
  list: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom("l", "[]", "[i, 2]"),
    fc.tuple(tie("list"), tie("bool")).map(([l, t]) => `${l}.filter(x, x > 1 || ${t})`),
    fc.tuple(tie("list"), tie("int")).map(([l, a]) => `${l}.map(x, x + ${a})`),
  ),
  bool: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom("b", "true", "has(m.a)", "has(m.z)", "'a' in m"),
    fc.tuple(tie("bool"), fc.constantFrom("&&", "||"), tie("bool")).map(([a, o, c]) => `(${a} ${o} ${c})`),
    tie("bool").map((a) => `!(${a})`),
    fc.tuple(tie("int"), fc.constantFrom("<", "<=", ">", ">=", "==", "!="), tie("int")).map((p) => `(${p.join(" ")})`),
    fc.tuple(tie("string"), fc.constantFrom("<", "==", "!=", ">="), tie("string")).map((p) => `(${p.join(" ")})`),
    fc.tuple(tie("string"), tie("string")).map(([a, c]) => `${a}.contains(${c})`),
    fc.tuple(tie("int"), tie("list")).map(([a, l]) => `(${a} in ${l})`),
    fc
      .tuple(tie("list"), fc.constantFrom("all", "exists", "exists_one"), tie("int"))
      .map(([l, macro, a]) => `${l}.${macro}(x, 6 / x > ${a})`),
    fc.tuple(tie("list"), tie("list")).map(([a, c]) => `(${a} == ${c})`),
  ),
}))

const environment = celEnv()

/** What the library's own evaluator says: the outcome, or that there is none. */
function oracle(text: string, values: Record<string, CelInput>): unknown {
  const result = plan(environment, parse(text))(values)
  return typeof result === "object" && result !== null && "issue" in (result as object) ? "fails" : toPlain(result)
}

function toPlain(value: unknown): unknown {
  if (typeof value === "boolean") return value
  return "fails"
}

describe("compiled expressions", () => {
  test("say what the library's own evaluator says, failures included", () => {
    const int = fc.integer({ min: -20, max: 20 })
    const values = fc.record({
      i: int,
      j: int,
      s: fc.constantFrom("", "a", "b😀c"),
      b: fc.boolean(),
      l: fc.array(int, { maxLength: 3 }),
      m: fc.constantFrom<Record<string, number>>({}, { a: 1 }, { a: 2, b: 3 }),
    })
    fc.assert(
      fc.property(bool, values, (text, given) => {
        fc.pre(text.length < 2000)
        let ours: unknown
        try {
          ours = compileExpression(text, { variables: typed, resultType: "bool" }).evaluate(given)
        } catch (error) {
          fc.pre(!hasCode(error, "expressions.invalid") || !/too large|deep/.test((error as Error).message))
          if (!hasCode(error, "expressions.evaluation-failed")) throw error
          ours = "fails"
        }
        const wide = {
          ...given,
          i: BigInt(given.i),
          j: BigInt(given.j),
          l: given.l.map(BigInt),
          m: new Map(Object.entries(given.m).map(([key, value]) => [key, BigInt(value)])),
        }
        expect(ours).toBe(oracle(text, wide))
      }),
      { numRuns: 1500 },
    )
  })

  test("never fail in any other way than by their two errors, whatever the text", () => {
    const tokens = ["i", "s", "l", "m", "(", ")", "[", "]", "{", "}", ".", ",", ":", "?", "&&", "||", "!", "==", "<"]
    const more = ["+", "-", "*", "/", "%", "in", "has(", "exists(x,", "map(x,", "x", "1", "'a'", "size(", "null", "\n"]
    const text = fc.array(fc.constantFrom(...tokens, ...more), { maxLength: 30 }).map((parts) => parts.join(" "))
    fc.assert(
      fc.property(fc.oneof(text, fc.string({ maxLength: 60 })), (candidate) => {
        try {
          compileExpression(candidate, { variables: typed, resultType: "any" }).evaluate({
            i: 1,
            s: "a",
            l: [1],
            m: {},
          })
        } catch (error) {
          expect(isAppError(error) && error.code.startsWith("expressions.")).toBe(true)
        }
      }),
      { numRuns: 3000 },
    )
  })
})
