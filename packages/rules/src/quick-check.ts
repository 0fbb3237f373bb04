import { expressionLimits } from "@signalbox/expressions/expression-limits"
import { matchesWildcard } from "@signalbox/expressions/pattern-literals"
import { isMap } from "@signalbox/expressions/values"
import { pathKey } from "./alternative.ts"
import type { Condition, Path, Test } from "./condition.ts"
import { holds } from "./interval-tree.ts"
import type { Check, Entry, QuickTest } from "./rule-index.ts"

/** @param left what is left of the rule's condition */
export function checkOf({
  entry,
  isPart,
  tests,
}: {
  readonly entry: Entry
  readonly tests: readonly Condition[]
  readonly isPart: boolean
}): Check {
  const quick = tests.flatMap((each) => (each.is === "test" ? quickTests(each.test) : []))
  const order = quick.toSorted((a, b) => rank[a.is] - rank[b.is])
  return { entry, tests: order, isWhole: !isPart && quick.length === tests.length }
}

/** Those that rule out most come first. */
const rank: Readonly<Record<Test["is"], number>> = {
  ...{ equals: 0, range: 1, prefix: 2, suffix: 2, contains: 3, flag: 4, wildcard: 5 },
  ...{ differs: 5, present: 6, absent: 6, some: 6 },
}

function quickTests(test: Test): QuickTest[] {
  if (test.operand.is === "made" || test.operand.isWhole || rank[test.is] > rank.differs) return []
  const path = intern(test.operand.path)
  return path.some((step) => step in Object.prototype) ? [] : [{ ...test, path }]
}

/** Equal paths are one, as far as there is room: checks that stand together read the same field, which is read once. */
const paths = new Map<string, Path>()
const pathsMax = 10_000

function intern(path: Path): Path {
  const key = pathKey(path)
  const known = paths.get(key)
  if (known !== undefined) return known
  if (paths.size >= pathsMax) paths.clear()
  paths.set(key, path)
  return path
}

/** A field that was read last, and what it was. Belongs to one search. */
export interface LastRead {
  path: Path | undefined
  scope: unknown
  value: unknown
}

/** Whether the tests hold of these data (or this item); undefined where only evaluating tells. */
export function decide({ isWhole, tests }: Check, scope: unknown, last: LastRead): boolean | undefined {
  let result: boolean | undefined = isWhole ? true : undefined
  for (const test of tests) {
    if (last.path !== test.path || last.scope !== scope) {
      last.value = read(test.path, scope)
      last.path = test.path
      last.scope = scope
    }
    const { value } = last
    const holdsHere = value === undefined ? undefined : decideTest(test, value)
    if (holdsHere === false) return false
    if (holdsHere === undefined) result = undefined
  }
  return result
}

function read(path: Path, scope: unknown): unknown {
  let value = scope
  for (const step of path) {
    const isThere = typeof step === "string" ? isMap(value) : Array.isArray(value) && step < value.length
    if (!isThere) return undefined
    value = (value as Readonly<Record<string | number, unknown>>)[step]
  }
  return value
}

function decideTest(test: Test, value: unknown): boolean | undefined {
  switch (test.is) {
    case "equals":
      return (test.keys as readonly unknown[]).includes(value)
    case "differs":
      return !(test.keys as readonly unknown[]).includes(value)
    case "range":
      return typeof value === "number" ? holds(test.range, value) : undefined
    case "prefix":
      return typeof value === "string" ? value.startsWith(test.text) : undefined
    case "suffix":
      return typeof value === "string" ? value.endsWith(test.text) : undefined
    case "contains":
      return typeof value === "string" ? value.includes(test.text) : undefined
    case "wildcard":
      return typeof value === "string" && value.length <= expressionLimits.matchedLengthMax && !value.includes("\n")
        ? matchesWildcard(test.literals, value)
        : undefined
    case "flag":
      return typeof value === "boolean" ? value === test.value : undefined
    case "present":
    case "absent":
    case "some":
      return undefined
  }
}
