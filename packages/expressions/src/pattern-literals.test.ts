import { RE2JS } from "@bufbuild/re2"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { findPatternLiterals, matchesWildcard } from "./pattern-literals.ts"

describe("the constant parts of a pattern", () => {
  test.each([
    ["^web-[0-9]+\\.example$", { parts: ["web-", ".example"], isStart: true, isEnd: true, isWildcard: false }],
    ["^2.*0.*7$", { parts: ["2", "0", "7"], isStart: true, isEnd: true, isWildcard: true }],
    ["ab*c+d", { parts: ["a", "d"], isStart: false, isEnd: false, isWildcard: false }],
    [".*abc", { parts: ["abc"], isStart: false, isEnd: false, isWildcard: true }],
    ["^.*abc.*$", { parts: ["abc"], isStart: false, isEnd: false, isWildcard: true }],
    ["^$", { parts: [], isStart: false, isEnd: false, isWildcard: false }],
    ["a😀*b", { parts: ["a", "b"], isStart: false, isEnd: false, isWildcard: false }],
    ["x{2,3}?y[^]a-c]z", { parts: ["y", "z"], isStart: false, isEnd: false, isWildcard: false }],
  ])("%s", (pattern, expected) => {
    expect(findPatternLiterals(pattern)).toEqual(expected)
  })

  test.each(["a|b", "(a)b", "(?i)ab", "\\bab", "a\\pLb", "\\x61", "[[:alpha:]]a", "^^a", "a$b", "\\Qa.b\\E"])(
    "%s is left to the engine",
    (pattern) => {
      expect(findPatternLiterals(pattern)).toBeUndefined()
    },
  )

  test("are in every text that matches, and for a wildcard decide alone", () => {
    const piece = fc.constantFrom("a", "b", "ab", ".*", ".*", ".", "[ab]", "[^a]+", "a?", "b*", "\\.", "a{1,2}")
    const pattern = fc
      .tuple(fc.boolean(), fc.array(piece, { maxLength: 6 }), fc.boolean())
      .map(([start, pieces, end]) => `${start ? "^" : ""}${pieces.join("")}${end ? "$" : ""}`)
    const text = fc.array(fc.constantFrom("a", "b", "c", "."), { maxLength: 9 }).map((all) => all.join(""))
    fc.assert(
      fc.property(pattern, text, (source, subject) => {
        const found = findPatternLiterals(source)
        fc.pre(found !== undefined)
        const expected = RE2JS.compile(source).test(subject)
        const hasParts = matchesWildcard(found, subject)
        if (found.isWildcard) expect(hasParts).toBe(expected)
        else if (expected) expect(hasParts).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })
})
