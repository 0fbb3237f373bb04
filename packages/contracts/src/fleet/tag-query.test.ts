import { isAppError } from "@signalbox/kernel/app-error"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { matchesTagQuery, parseTagQuery, tagQueryLimits, type TagTerm } from "./tag-query.ts"

const keys = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9._/-]{0,8}$/)
const values = fc.string({ unit: "grapheme", maxLength: 12 }).filter((value) => !value.includes("\0"))
const term: fc.Arbitrary<TagTerm> = fc.oneof(
  fc.record({ kind: fc.constant("in" as const), key: keys, values: fc.array(values, { minLength: 1, maxLength: 4 }) }),
  fc.record({ kind: fc.constant("not-equal" as const), key: keys, value: values }),
  fc.record({ kind: fc.constant("present" as const), key: keys }),
  fc.record({ kind: fc.constant("absent" as const), key: keys }),
)

const quote = (value: string) => `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`

function print(given: TagTerm): string {
  if (given.kind === "in") return `${given.key} in (${given.values.map(quote).join(",")})`
  if (given.kind === "not-equal") return `${given.key}!=${quote(given.value)}`
  return given.kind === "present" ? given.key : `! ${given.key}`
}

function columnOf(text: string): number | undefined {
  try {
    parseTagQuery(text)
  } catch (error) {
    if (isAppError(error) && error.code === "fleet.invalid-tag-query") return error.issues[0]?.column
    throw error
  }
  return undefined
}

describe("W3: tag queries", () => {
  test("every form is read", () => {
    expect(parseTagQuery(' role=web ,env!=prod, region in (eu,"us east") , gpu,!old, name= , in=in').terms).toEqual([
      { kind: "in", key: "role", values: ["web"] },
      { kind: "not-equal", key: "env", value: "prod" },
      { kind: "in", key: "region", values: ["eu", "us east"] },
      { kind: "present", key: "gpu" },
      { kind: "absent", key: "old" },
      { kind: "in", key: "name", values: [""] },
      { kind: "in", key: "in", values: ["in"] },
    ])
  })

  test.each([
    ["role=web", { role: "web" }, true],
    ["role=web", {}, false],
    ["role!=web", { role: "db" }, true],
    ["role!=web", {}, true],
    ["role!=web", { role: "web" }, false],
    ["region in (eu,us)", { region: "us" }, true],
    ["region in (eu,us)", { region: "ap" }, false],
    ["gpu", { gpu: "" }, true],
    ["!gpu", { gpu: "" }, false],
    ["role=web,!gpu", { role: "web" }, true],
    ["toString", {}, false],
    ["!constructor", {}, true],
  ])("%s on %j is %s", (query, tags, expected) => {
    expect(matchesTagQuery(parseTagQuery(query), tags as Record<string, string>)).toBe(expected)
  })

  test.each([
    ["", 1],
    ["role=web,", 10],
    ["=web", 1],
    ["role==web", 6],
    ["role web", 6],
    ["region in eu", 11],
    ["region in (eu", 14],
    ['role="web', 6],
    ['role="a\\n"', 6],
    ["role=a;drop table nodes", 7],
    [`role="\0"`, 6],
    [`k${"k".repeat(63)}`, 64],
    [Array.from({ length: tagQueryLimits.termsMax + 1 }, () => "a").join(","), tagQueryLimits.termsMax * 2 + 1],
    ["x".repeat(tagQueryLimits.textLengthMax + 1), tagQueryLimits.textLengthMax],
  ])("%j is refused at column %i", (text, column) => {
    expect(columnOf(text)).toBe(column)
  })

  test("what is printed is read back", () => {
    fc.assert(
      fc.property(fc.array(term, { minLength: 1, maxLength: 5 }), (terms) => {
        const text = terms.map(print).join(", ")
        fc.pre(text.length <= tagQueryLimits.textLengthMax)
        expect(parseTagQuery(text).terms).toEqual(terms)
      }),
    )
  })

  test("any text is read or refused with a column inside it", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        const column = columnOf(text)
        if (column !== undefined) expect(column).toBeLessThanOrEqual(text.length + 1)
      }),
    )
  })
})
