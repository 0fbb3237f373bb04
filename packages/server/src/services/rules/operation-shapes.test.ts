/** What conditions have to guard is what the schemas of operations leave open, of every operation there is. */
import { operations as declarations } from "@signalbox/contracts/operations"
import type { AnyOperation } from "@signalbox/contracts/operation"
import { permissions } from "@signalbox/contracts/identity/roles"
import { ruleDefinition } from "@signalbox/contracts/rules/rule-document"
import { describe, expect, test } from "vitest"
import { findRuleIssues } from "./check-rule.ts"
import { isOptionalAt, shapeOf } from "./operation-shapes.ts"

const all: readonly AnyOperation[] = declarations
const operations = new Map(all.map((operation) => [operation.name, operation]))

/** Whether a field that nobody gives is still there once the input has passed its schema: by a default. */
function staysAbsent(schema: { safeParse(value: unknown): { success: boolean; data?: unknown } }): boolean {
  const result = schema.safeParse(undefined)
  return result.success && result.data === undefined
}

test("R11: every field of every operation's input is optional exactly where its schema says so", () => {
  const fields = all.flatMap(({ name, input }) =>
    Object.entries(input.shape).map(([field, schema]) => ({
      field: `${name} ${field}`,
      optional: isOptionalAt(shapeOf(input), [field]),
      expected: staysAbsent(schema),
    })),
  )
  expect(fields.filter(({ optional, expected }) => optional !== expected)).toEqual([])
  expect(new Set(fields.map(({ expected }) => expected)).size, "there are fields of both kinds").toBe(2)
})

const issuesOf = (operation: string, when: string): string[] =>
  findRuleIssues(
    ruleDefinition.parse({ on: [{ operation, phase: "before" }], when, do: [{ deny: { reason: "no" } }] }),
    { operations, permissions: new Set(permissions), outside: { list: () => [], find: () => undefined } },
  ).map(({ message }) => message)

describe("R11: a condition on a call", () => {
  test.each([
    { what: "reads a field that is required", when: 'input.name == "a"', issues: [] },
    { what: "reads one with a default", when: "size(input.windows) == 0", issues: [] },
    { what: "guards an optional one", when: 'has(input.zone) && input.zone == "UTC"', issues: [] },
    {
      what: "reads an optional one",
      when: 'input.zone == "UTC"',
      issues: ["input.zone may be absent: write has(input.zone) && …"],
    },
    { what: "guards it on either side", when: 'input.zone == "UTC" && has(input.zone)', issues: [] },
    {
      what: "guards it where that decides nothing",
      when: 'input.zone == "UTC" || has(input.zone)',
      issues: ["input.zone may be absent: write has(input.zone) && …"],
    },
  ])("$what", ({ when, issues }) => {
    expect(issuesOf("schedules.apply", when)).toEqual(issues)
  })

  test("of several operations has to guard what one of them lacks", () => {
    expect(issuesOf("schedules.*", 'input.name == "a"')).toEqual([
      "input.name may be absent: write has(input.name) && …",
    ])
    expect(issuesOf("schedules.*", 'has(input.name) && input.name == "a"')).toEqual([])
  })
})
