import { spend, workOf, type Budget } from "./budget.ts"
import { EvaluationFault } from "./expression-fault.ts"
import { expressionLimits } from "./expression-limits.ts"
import { Duration, isEqual, isMap, kindOfValue, quote, Timestamp } from "./values.ts"
import { isNumeric, kindOf, type VariableType } from "./variable-type.ts"

/**
 * Arithmetic, order and membership over values. JSON doesn't tell whole numbers from others, so a number in untyped
 * data takes the type of the operand beside it; between two untyped ones, arithmetic is that of doubles.
 */

export type Arithmetic = "_+_" | "_-_" | "_*_" | "_/_" | "_%_"

export function isArithmetic(name: string): name is Arithmetic {
  return ["_+_", "_-_", "_*_", "_/_", "_%_"].includes(name)
}

/** The type of `a name b`, or what is wrong with it. */
export function findArithmeticType(
  name: Arithmetic,
  a: VariableType,
  b: VariableType,
): { type: VariableType } | { problem: string } {
  const left = kindOf(a)
  const right = kindOf(b)
  const sign = name.slice(1, 2)
  const problem = { problem: `there is no ${left} ${sign} ${right}` }
  if ([left, right].includes("int") && [left, right].includes("double")) {
    return { problem: `${problem.problem}; write double(…) around the int` }
  }
  if (name === "_%_" && [left, right].includes("double")) return { problem: `${problem.problem}; % takes ints` }
  if (left === "dyn" && right === "dyn") return { type: name === "_%_" ? "int" : "dyn" }
  const known = left === "dyn" ? b : a
  const kind = kindOf(known)
  if (isNumeric(kind) && (left === right || left === "dyn" || right === "dyn"))
    return { type: kind as "int" | "double" }
  const isTime = (each: string): boolean => each === "timestamp" || each === "duration"
  if (isTime(left) || isTime(right)) return findTimeType(name, left, right) ?? problem
  if (
    name === "_+_" &&
    (kind === "string" || kind === "list") &&
    (left === right || left === "dyn" || right === "dyn")
  ) {
    if (kind === "string") return { type: "string" }
    return { type: JSON.stringify(a) === JSON.stringify(b) ? a : { list: "dyn" } }
  }
  return problem
}

function findTimeType(name: Arithmetic, left: string, right: string): { type: VariableType } | undefined {
  if (left === "dyn" || right === "dyn") return { type: "dyn" }
  if (name === "_+_" && left === "duration" && right === "duration") return { type: "duration" }
  if (name === "_+_" && [left, right].toSorted().join() === "duration,timestamp") return { type: "timestamp" }
  if (name !== "_-_") return undefined
  if (left === right) return { type: "duration" }
  return left === "timestamp" && right === "duration" ? { type: "timestamp" } : undefined
}

/** `isWhole`: one operand is an int by its type, so that the other has to be one too. */
export function calculate(name: Arithmetic, isWhole: boolean): (a: unknown, b: unknown, budget: Budget) => unknown {
  const onNumbers = isWhole || name === "_%_" ? wholeArithmetic[name] : doubleArithmetic[name]
  return (a, b, budget) => {
    if (typeof a === "number" && typeof b === "number") return onNumbers(a, b)
    spend(budget, workOf(a) + workOf(b))
    const made = name === "_+_" || name === "_-_" ? addOrSubtract(name, a, b) : undefined
    if (made !== undefined) return made
    throw new EvaluationFault(`there is no ${kindOfValue(a)} ${name.slice(1, 2)} ${kindOfValue(b)}`)
  }
}

const doubleArithmetic = {
  "_+_": (a: number, b: number) => a + b,
  "_-_": (a: number, b: number) => a - b,
  "_*_": (a: number, b: number) => a * b,
  "_/_": (a: number, b: number) => a / b,
  "_%_": (a: number, b: number) => a % b,
}

const wholeArithmetic = {
  "_+_": (a: number, b: number) => whole(whole(a) + whole(b)),
  "_-_": (a: number, b: number) => whole(whole(a) - whole(b)),
  "_*_": (a: number, b: number) => whole(whole(a) * whole(b)),
  "_/_": (a: number, b: number) => whole(Math.trunc(whole(a) / divisor(b))),
  "_%_": (a: number, b: number) => whole(whole(a) % divisor(b)),
}

function divisor(value: number): number {
  if (value === 0) throw new EvaluationFault("division by zero")
  return whole(value)
}

/** A whole number within 53 bits, as CEL's int; without a negative zero. */
export function whole(value: number): number {
  if (Number.isSafeInteger(value)) return value + 0
  if (Number.isInteger(value)) throw new EvaluationFault("a whole number is larger than 53 bits")
  throw new EvaluationFault(`${value} stands where a whole number is needed; write int(…) or double(…)`)
}

function addOrSubtract(name: "_+_" | "_-_", a: unknown, b: unknown): unknown {
  if (name === "_+_" && typeof a === "string" && typeof b === "string") return bounded(a + b)
  if (name === "_+_" && Array.isArray(a) && Array.isArray(b)) return bounded([...(a as unknown[]), ...(b as unknown[])])
  const sign = name === "_+_" ? 1 : -1
  if (a instanceof Duration && b instanceof Duration) return new Duration(a.milliseconds + sign * b.milliseconds)
  if (a instanceof Timestamp && b instanceof Duration) return new Timestamp(a.milliseconds + sign * b.milliseconds)
  if (name === "_+_" && a instanceof Duration && b instanceof Timestamp) {
    return new Timestamp(a.milliseconds + b.milliseconds)
  }
  if (name === "_-_" && a instanceof Timestamp && b instanceof Timestamp) {
    return new Duration(a.milliseconds - b.milliseconds)
  }
  return undefined
}

/** What an expression makes may not grow without end. */
export function bounded<T extends string | unknown[]>(made: T): T {
  if (made.length <= expressionLimits.madeSizeMax) return made
  const what = typeof made === "string" ? "text" : "list"
  throw new EvaluationFault(`the expression makes a ${what} of more than ${expressionLimits.madeSizeMax}`)
}

export type Order = "_<_" | "_<=_" | "_>_" | "_>=_"

export function isOrder(name: string): name is Order {
  return ["_<_", "_<=_", "_>_", "_>=_"].includes(name)
}

export function order(name: Order): (a: unknown, b: unknown, budget: Budget) => boolean {
  switch (name) {
    case "_<_":
      return (a, b, budget) => (typeof a === "number" && typeof b === "number" ? a < b : compare(a, b, budget) < 0)
    case "_<=_":
      return (a, b, budget) => (typeof a === "number" && typeof b === "number" ? a <= b : compare(a, b, budget) <= 0)
    case "_>_":
      return (a, b, budget) => (typeof a === "number" && typeof b === "number" ? a > b : compare(a, b, budget) > 0)
    case "_>=_":
      return (a, b, budget) => (typeof a === "number" && typeof b === "number" ? a >= b : compare(a, b, budget) >= 0)
  }
}

function compare(a: unknown, b: unknown, budget: Budget): number {
  if (typeof a === "string" && typeof b === "string") {
    spend(budget, Math.min(a.length, b.length))
    return compareTexts(a, b)
  }
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b)
  if (a instanceof Timestamp && b instanceof Timestamp) return a.milliseconds - b.milliseconds
  if (a instanceof Duration && b instanceof Duration) return a.milliseconds - b.milliseconds
  throw new EvaluationFault(`${kindOfValue(a)} and ${kindOfValue(b)} have no order`)
}

/** By code point: JavaScript's own order is that of UTF-16 units. */
function compareTexts(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  let index = 0
  while (index < length && a.charCodeAt(index) === b.charCodeAt(index)) index++
  if (index === length) return a.length - b.length
  const [left, right] = [a.charCodeAt(index), b.charCodeAt(index)]
  const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff
  if (isSurrogate(left) !== isSurrogate(right)) return isSurrogate(left) ? 1 : -1
  return left - right
}

/** `item in container`: an item of a list, or a key of a map. */
export function isMember(item: unknown, container: unknown, budget: Budget): boolean {
  if (Array.isArray(container)) {
    spend(budget, container.length)
    return container.some((each) => isEqual(item, each, budget))
  }
  if (isMap(container)) return typeof item === "string" && Object.hasOwn(container, item)
  throw new EvaluationFault(`"in" needs a list or a map, not ${kindOfValue(container)}`)
}

/** `container[key]`. */
export function readItem(container: unknown, key: unknown): unknown {
  if (Array.isArray(container)) {
    const list = container as readonly unknown[]
    if (typeof key !== "number") throw new EvaluationFault("a list is indexed by whole numbers from 0")
    if (!Number.isInteger(key) || key < 0 || key >= list.length) {
      throw new EvaluationFault(`there is no item ${key} in a list of ${list.length}`)
    }
    return list[key]
  }
  if (!isMap(container)) throw new EvaluationFault(`${kindOfValue(container)} can't be indexed`)
  if (typeof key !== "string") throw new EvaluationFault("a map is indexed by texts")
  return readField(container, key)
}

/** `container.field`. An absent field is a fault, so that a wrong name is no silent `false`. */
export function readField(container: unknown, field: string): unknown {
  if (typeof container === "object" && container !== null && Object.hasOwn(container, field) && isMap(container)) {
    const value = container[field]
    if (value !== undefined) return value
  }
  if (isMap(container)) throw new EvaluationFault(`there is no field ${quote(field)}; guard it with has(…)`)
  throw new EvaluationFault(`${kindOfValue(container)} has no fields, so no ${quote(field)}`)
}

export function hasField(container: unknown, field: string): boolean {
  if (isMap(container)) return Object.hasOwn(container, field) && container[field] !== undefined
  throw new EvaluationFault(`${kindOfValue(container)} has no fields, so no ${quote(field)}`)
}
