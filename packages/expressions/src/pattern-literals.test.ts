import { RE2JS } from "@bufbuild/re2"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { findPatternLiterals, matchesWildcard } from "./pattern-literals.ts"

describe("the constant parts of a pattern", () => {
  test.each([
    ["^web-[0-9]+\\.example$", ["web-", ".example"], true, true, false],
    ["^2.*0.*7$", ["2", "0", "7"], true, true, true],
    ["ab*c+d", ["a", "d"], false, false, false],
    [".*abc", ["abc"], false, false, true],
    ["^.*abc.*$", ["abc"], false, false, true],
    ["^$", [], false, false, false],
    ["a😀*b", ["a", "b"], false, false, false],
    ["x{2,3}?y[^]a-c]z", ["y", "z"], false, false, false],
  ])("%s", (pattern, parts, isStart, isEnd, isWildcard) => {
    expect(findPatternLiterals(pattern)).toEqual({ parts, isStart, isEnd, isWildcard })
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
