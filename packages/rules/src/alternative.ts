import type { Condition, Operand, Path, Range, Test } from "./condition.ts"
import type { Entry } from "./rule-index.ts"

/** One way in which a rule's condition can hold: all of its tests, and what is open besides. */
export interface Alternative {
  readonly entry: Entry
  readonly tests: ReadonlyArray<Condition & { readonly is: "test" | "any" }>
  /** There is more to the condition than these tests. */
  readonly isPart: boolean
  /** Fields that `has()` or `in` asks for: where such a field is absent, this way is closed. */
  readonly guards: ReadonlySet<string>
}

/** A test that a rule can stand at, and what is left of its condition then. */
export interface Standing {
  readonly test: Test
  readonly rest: Alternative
}

export function alternativeOf(entry: Entry, condition: Condition): Alternative {
  return extend({ entry, tests: [], isPart: false, guards: noGuards }, condition)
}

const noGuards: ReadonlySet<string> = new Set()

/** This way, and that the condition holds too. */
export function extend(alternative: Alternative, condition: Condition): Alternative {
  const tests = [...alternative.tests]
  const guards = new Set(alternative.guards)
  let { isPart } = alternative
  const add = (each: Condition): void => {
    if (each.is === "all") each.parts.forEach(add)
    else if (each.is === "open") isPart = true
    else if (each.is === "any" && each.parts.length === 1 && each.parts[0] !== undefined) add(each.parts[0])
    else {
      if (!narrow(tests, each)) tests.push(each)
      const guarded = each.is === "test" ? findGuarded(each.test) : undefined
      if (guarded !== undefined) guards.add(pathKey(guarded))
    }
  }
  add(condition)
  return { entry: alternative.entry, tests, isPart, guards }
}

/** The field that is there where the test holds, of an object: by `has(a.b)`, or by `"b" in a`. */
function findGuarded(test: Test): Path | undefined {
  if (test.operand.is === "made") return undefined
  const { path } = test.operand
  if (test.is === "present") return path
  if (test.is !== "some" || test.item.is !== "test" || test.item.test.is !== "equals") return undefined
  const { keys, operand } = test.item.test
  const [key] = keys
  const isKey = keys.length === 1 && typeof key === "string" && operand.is === "path" && operand.path.length === 0
  return isKey ? [...path, key] : undefined
}

/** Joins a range with another one of the same number: `n > 3 && n < 7` is one test. */
function narrow(tests: Array<Alternative["tests"][number]>, added: Condition): boolean {
  if (added.is !== "test" || added.test.is !== "range") return false
  const { operand, range } = added.test
  for (const [at, each] of tests.entries()) {
    if (each.is !== "test" || each.test.is !== "range" || !isSameOperand(each.test.operand, operand)) continue
    tests[at] = { is: "test", test: { operand, is: "range", range: intersect(each.test.range, range) } }
    return true
  }
  return false
}

export function isSameOperand(a: Operand, b: Operand): boolean {
  const areAlike = a.is === "made" || b.is === "made" ? a.is === b.is : a.isWhole === b.isWhole
  return areAlike && operandKey(a) === operandKey(b)
}

function intersect(a: Range, b: Range): Range {
  const low = a.low === b.low ? { low: a.low, isLowIn: a.isLowIn && b.isLowIn } : a.low > b.low ? a : b
  const high = a.high === b.high ? { high: a.high, isHighIn: a.isHighIn && b.isHighIn } : a.high < b.high ? a : b
  return { low: low.low, isLowIn: low.isLowIn, high: high.high, isHighIn: high.isHighIn }
}

/** What is left where the condition is known to hold. */
export function without(alternative: Alternative, condition: Condition): Alternative {
  const wildcard = condition.is === "test" ? condition.test : undefined
  const isLeft = (each: Condition): boolean =>
    each !== condition && (wildcard === undefined || each.is !== "test" || !isPartOf(each.test, wildcard))
  return { ...alternative, tests: alternative.tests.filter(isLeft) }
}

/** Whether the test asks for what the wildcard asks for anyway. */
export function isPartOf(test: Test, wildcard: Test): boolean {
  if (wildcard.is !== "wildcard" || !("text" in test) || !isSameOperand(test.operand, wildcard.operand)) return false
  const { isEnd, isStart, parts } = wildcard.literals
  if (test.is === "prefix") return isStart && parts[0] === test.text
  if (test.is === "suffix") return isEnd && parts.at(-1) === test.text
  return parts.includes(test.text)
}

export function pathKey(path: Path): string {
  return JSON.stringify(path)
}

export function operandKey(operand: Operand): string {
  return operand.is === "made" ? operand.key : pathKey(operand.path)
}
