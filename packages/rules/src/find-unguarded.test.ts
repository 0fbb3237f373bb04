import { parseExpression } from "@signalbox/expressions/parse-expression"
import { describe, expect, test } from "vitest"
import { findUnguarded } from "./find-unguarded.ts"

const optional = new Set(["input.width", "input.strategy", "input.strategy.width"])

function unguarded(text: string): string[] {
  const tree = parseExpression(text)
  const isOptional = (path: readonly string[]) => optional.has(path.join("."))
  return findUnguarded(tree, { variables: { input: "dyn" }, isOptional }).map(({ path }) => path)
}

describe("fields that may be absent", () => {
  test.each([
    ["input.name == 'a'", []],
    ["input.width > 1", ["input.width"]],
    ["has(input.width) && input.width > 1", []],
    ["input.width > 1 && has(input.width)", []],
    ["!has(input.width) || input.width > 1", []],
    ["has(input.width) || input.width > 1", ["input.width"]],
    ["!(has(input.width) && input.width > 1)", []],
    ["!has(input.width) && input.width > 1", ["input.width"]],
    ["has(input.width) ? input.width > 1 : true", []],
    ["has(input.width) ? true : input.width > 1", ["input.width"]],
    ["has(input.strategy.width)", ["input.strategy"]],
    ["has(input.strategy) && has(input.strategy.width) && input.strategy.width > 1", []],
    ["has(input.strategy) && input.strategy.width > 1", ["input.strategy.width"]],
    ["[1, input.width].exists(x, x == 2)", ["input.width"]],
    ["input.list.exists(input, input.width > 1) || true", ["input.width"]],
    ["{'a': input.width}.a == 1", ["input.width"]],
  ])("%s", (text, expected) => {
    expect(unguarded(text)).toEqual(expected)
  })

  test("each is told once, with its place", () => {
    const tree = parseExpression("1 == 1 && input.width > input.width")
    const found = findUnguarded(tree, { variables: { input: "dyn" }, isOptional: () => true })
    expect(found).toHaveLength(1)
    expect(found[0]?.at).toBeGreaterThan(9)
  })
})
