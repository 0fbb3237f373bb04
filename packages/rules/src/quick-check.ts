import { expressionLimits } from "@signalbox/expressions/expression-limits"
import { matchesWildcard } from "@signalbox/expressions/pattern-literals"
import { isMap } from "@signalbox/expressions/values"
import { isPartOf, pathKey } from "./alternative.ts"
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
  const plain = tests.flatMap((each) => (each.is === "test" ? [each.test] : []))
  const asked = plain.filter((each) => !plain.some((wildcard) => isPartOf(each, wildcard)))
  const quick = asked.flatMap(quickTests)
  const [first, ...others] = quick.toSorted((a, b) => rank[a.is] - rank[b.is])
  return {
    entry,
    first,
    others: others.length === 0 ? noTests : others,
    isWhole: !isPart && plain.length === tests.length && quick.length === asked.length,
  }
}

const noTests: readonly QuickTest[] = []

/** Those that rule out most come first. */
const rank: Readonly<Record<Test["is"], number>> = {
  ...{ equals: 0, range: 1, prefix: 2, suffix: 2, contains: 3, flag: 4, wildcard: 5 },
  ...{ differs: 5, present: 6, absent: 6, some: 6 },
}

function quickTests(test: Test): QuickTest[] {
  if (test.operand.is === "made" || test.operand.isWhole || rank[test.is] > rank.differs) return []
  const path = intern(test.operand.path)
  if (path.some((step) => step in Object.prototype)) return []
  const keys = test.is === "equals" || test.is === "differs" ? test.keys : []
  const isText = test.is === "prefix" || test.is === "suffix" || test.is === "contains"
  return [
    {
      ...{
        is: test.is,
        path,
        key: test.is === "flag" ? test.value : keys[0],
        keys: keys.length === 1 ? undefined : keys,
      },
      ...{ text: isText ? test.text : "", range: test.is === "range" ? test.range : undefined },
      literals: test.is === "wildcard" ? test.literals : undefined,
    },
  ]
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
export function decide({ first, isWhole, others }: Check, scope: unknown, last: LastRead): boolean | undefined {
  if (first === undefined) return isWhole ? true : undefined
  let isSure = isWhole
  const holdsFirst = decideOne(first, scope, last)
  if (holdsFirst === false) return false
  if (holdsFirst === undefined) isSure = false
  for (let at = 0; at < others.length; at++) {
    const other = others[at]
    const holdsHere = other === undefined ? undefined : decideOne(other, scope, last)
    if (holdsHere === false) return false
    if (holdsHere === undefined) isSure = false
  }
  return isSure ? true : undefined
}

function decideOne(test: QuickTest, scope: unknown, last: LastRead): boolean | undefined {
  const value = readField(test.path, scope, last)
  return value === undefined ? undefined : decideTest(test, value)
}

/** Undefined where it is absent. */
export function readField(path: Path, scope: unknown, last: LastRead): unknown {
  if (last.path !== path || last.scope !== scope) {
    last.value = read(path, scope)
    last.path = path
    last.scope = scope
  }
  return last.value
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

function decideTest(test: QuickTest, value: unknown): boolean | undefined {
  switch (test.is) {
    case "equals":
      return test.keys === undefined ? test.key === value : test.keys.includes(value)
    case "differs":
      return test.keys === undefined ? test.key !== value : !test.keys.includes(value)
    case "range":
      return typeof value === "number" && test.range !== undefined ? holds(test.range, value) : undefined
    case "prefix":
      return typeof value === "string" ? value.startsWith(test.text) : undefined
    case "suffix":
      return typeof value === "string" ? value.endsWith(test.text) : undefined
    case "contains":
      return typeof value === "string" ? value.includes(test.text) : undefined
    case "wildcard":
      return typeof value === "string" &&
        test.literals !== undefined &&
        value.length <= expressionLimits.matchedLengthMax &&
        !value.includes("\n")
        ? matchesWildcard(test.literals, value)
        : undefined
    case "flag":
      return typeof value === "boolean" ? value === test.key : undefined
    case "present":
    case "absent":
    case "some":
      return undefined
  }
}
