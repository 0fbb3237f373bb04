import { describe, expect, test } from "vitest"
import { parseExpression } from "./parse-expression.ts"
import { printExpression } from "./print-expression.ts"

describe("an expression as text", () => {
  test.each([
    ["a.b=='x'&&(c||!d)", 'a.b == "x" && (c || !d)'],
    ["(a && b) || (c && d)", "a && b || c && d"],
    ["a - (b - c) - d", "a - (b - c) - d"],
    ["-(a + 1) * 2.0", "-(a + 1) * 2.0"],
    ["(-1).x == -1", "(-1).x == -1"],
    ["(a ? b : c) ? d : (e ? f : g)", "(a ? b : c) ? d : e ? f : g"],
    ["has(a.b) && a['k'][0] in [1, null, true]", 'has(a.b) && a["k"][0] in [1, null, true]'],
    ["x.exists(i, i.n > 3 && 'a' in i.l)", 'x.exists(i, i.n > 3 && "a" in i.l)'],
    ["x.map(i, i > 1, i * 2).size() == size({'a': [1]})", 'x.map(i, i > 1, i * 2).size() == size({"a": [1]})'],
    ["(a < b) == (c in d)", "a < b == (c in d)"],
    ["!(a == b) && !a.matches(r'^\\d+$')", '!(a == b) && !a.matches("^\\\\d+$")'],
    ["a || b || c && d && e", "a || b || c && d && e"],
  ])("%s", (text, printed) => {
    expect(printExpression(parseExpression(text))).toBe(printed)
    expect(printExpression(parseExpression(printed))).toBe(printed)
  })
})
