import { compileNode } from "@signalbox/expressions/compile-node"
import type { CallNode, ComprehensionNode, ExpressionNode } from "@signalbox/expressions/expression-tree"
import { findPatternLiterals } from "@signalbox/expressions/pattern-literals"
import { printExpression } from "@signalbox/expressions/print-expression"
import { kindOf, type VariableType } from "@signalbox/expressions/variable-type"
import { findReads } from "./find-reads.ts"
import { openCondition, type Condition, type Key, type Operand, type Range } from "./condition.ts"
import type { Path, TestOfValue } from "./condition.ts"

export interface ConditionScope {
  readonly text: string
  readonly variables: Readonly<Record<string, VariableType>>
  /** The variable of the comprehension around: paths begin there, and values of other names are not looked at. */
  readonly item?: { readonly name: string; readonly type: VariableType }
}

/** What the index can take from a condition; `isNegated` reads its opposite. What it can't take is left open. */
export function readCondition(node: ExpressionNode, scope: ConditionScope, isNegated = false): Condition {
  if (node.is === "literal") {
    return node.value === !isNegated ? { is: "all", parts: [] } : { is: "any", parts: [] }
  }
  if (node.is === "name" || (node.is === "select" && !node.isTest)) {
    return testOf(node, { is: "flag", value: !isNegated }, scope)
  }
  if (node.is === "select") return readPresence(node.operand, { field: node.field, isNegated }, scope)
  if (node.is === "comprehension") return readComprehension(node, scope, isNegated)
  return node.is === "call" ? readCall(node, scope, isNegated) : openCondition
}

function readCall(node: CallNode, scope: ConditionScope, isNegated: boolean): Condition {
  const [first, second] = node.args
  switch (node.name) {
    case "_&&_":
    case "_||_": {
      const parts = node.args.map((arg) => readCondition(arg, scope, isNegated))
      return { is: (node.name === "_&&_") === isNegated ? "any" : "all", parts }
    }
    case "!_":
      return first === undefined ? openCondition : readCondition(first, scope, !isNegated)
    case "_[_]":
      return testOf(node, { is: "flag", value: !isNegated }, scope)
    case "matches":
      return isNegated ? openCondition : readPattern(node, scope)
  }
  if (node.target !== undefined && first !== undefined) {
    const is = textTests[node.name]
    const key = keyOf(first)
    if (is === undefined || typeof key !== "string" || isNegated) return openCondition
    return testOf(node.target, { is, text: key }, scope)
  }
  return first === undefined || second === undefined
    ? openCondition
    : readRelation({ node, scope, isNegated }, first, second)
}

const textTests: Readonly<Record<string, "prefix" | "suffix" | "contains">> = {
  startsWith: "prefix",
  endsWith: "suffix",
  contains: "contains",
}

interface Relation {
  readonly node: CallNode
  readonly scope: ConditionScope
  readonly isNegated: boolean
}

function readRelation({ isNegated, node, scope }: Relation, left: ExpressionNode, right: ExpressionNode): Condition {
  const [leftKey, rightKey] = [keyOf(left), keyOf(right)]
  if (node.name === "@in") {
    if (leftKey !== undefined) {
      const equals: TestOfValue = { is: "equals", keys: [leftKey] }
      const item: Condition = { is: "test", test: { operand: { is: "path", path: [], isWhole: false }, ...equals } }
      return isNegated ? openCondition : testOf(right, { is: "some", item }, scope)
    }
    const keys = right.is === "list" ? right.items.map(keyOf) : [undefined]
    if (!keys.every((key) => key !== undefined)) return openCondition
    return testOf(left, { is: isNegated ? "differs" : "equals", keys }, scope)
  }
  const key = leftKey ?? rightKey
  if (key === undefined || (leftKey !== undefined && rightKey !== undefined)) return openCondition
  const operand = leftKey === undefined ? left : right
  if (node.name === "_==_" || node.name === "_!=_") {
    return testOf(operand, { is: (node.name === "_==_") === isNegated ? "differs" : "equals", keys: [key] }, scope)
  }
  const range =
    typeof key === "number" ? rangeOf(node.name, { key, isSwapped: leftKey !== undefined, isNegated }) : undefined
  return range === undefined ? openCondition : testOf(operand, { is: "range", range }, scope)
}

/** The numbers x with `x name key`, or `key name x` where they are swapped. */
function rangeOf(
  name: string,
  { isNegated, isSwapped, key }: { readonly key: number; readonly isSwapped: boolean; readonly isNegated: boolean },
): Range | undefined {
  if (!["_<_", "_<=_", "_>_", "_>=_"].includes(name)) return undefined
  const isIn = name.includes("=") !== isNegated
  const isBelow = name.startsWith("_<") !== (isSwapped !== isNegated)
  return isBelow
    ? { low: -Infinity, isLowIn: true, high: key, isHighIn: isIn }
    : { low: key, isLowIn: isIn, high: Infinity, isHighIn: true }
}

function readPresence(
  container: ExpressionNode,
  { field, isNegated }: { readonly field: string; readonly isNegated: boolean },
  scope: ConditionScope,
): Condition {
  const found = findPath(container, scope)
  if (found === undefined) return openCondition
  const operand: Operand = { is: "path", path: [...found.path, field], isWhole: false }
  return { is: "test", test: { operand, is: isNegated ? "absent" : "present" } }
}

/** A pattern is evaluated after all else, and only where the constant parts of it are in the text. */
function readPattern(node: CallNode, scope: ConditionScope): Condition {
  const [subject, pattern] = node.target === undefined ? node.args : [node.target, ...node.args]
  const key = pattern === undefined ? undefined : keyOf(pattern)
  if (subject === undefined || typeof key !== "string") return openCondition
  const literals = findPatternLiterals(key)
  if (literals === undefined) return openCondition
  const { isEnd, isStart, isWildcard, parts } = literals
  const wanted: Condition[] = []
  for (const [index, text] of parts.entries()) {
    if (isStart && index === 0) wanted.push(testOf(subject, { is: "prefix", text }, scope))
    else if (isEnd && index === parts.length - 1) wanted.push(testOf(subject, { is: "suffix", text }, scope))
    else wanted.push(testOf(subject, { is: "contains", text }, scope))
  }
  const rest = isWildcard ? testOf(subject, { is: "wildcard", literals }, scope) : openCondition
  return { is: "all", parts: [...wanted, rest] }
}

/** `!all(x, c)` is `exists(x, !c)`, faults included. */
function readComprehension(node: ComprehensionNode, scope: ConditionScope, isNegated: boolean): Condition {
  if (node.name !== (isNegated ? "all" : "exists")) return openCondition
  const path = findPath(node.range, scope)
  const type = path === undefined || typeof path.type === "string" || !("list" in path.type) ? "dyn" : path.type.list
  const item = readCondition(node.body, { ...scope, item: { name: node.variable, type } }, isNegated)
  return testOf(node.range, { is: "some", item }, scope)
}

function testOf(node: ExpressionNode, test: TestOfValue, scope: ConditionScope): Condition {
  const operand = findOperand(node, scope)
  return operand === undefined ? openCondition : { is: "test", test: { operand, ...test } }
}

function findOperand(node: ExpressionNode, scope: ConditionScope): Operand | undefined {
  const found = findPath(node, scope)
  const kind = found === undefined ? undefined : kindOf(found.type)
  if (found !== undefined && kind !== "timestamp" && kind !== "duration") {
    // An item itself is taken as it is; what is read of it is held to its type.
    const isRead = scope.item === undefined || found.path.length > 0
    return { is: "path", path: found.path, isWhole: isRead && kind === "int" }
  }
  if (scope.item !== undefined || node.is === "literal" || node.is === "list" || node.is === "map") return undefined
  const { text, variables } = scope
  const { run } = compileNode(node, { text, variables, locals: [] })
  return { is: "made", key: `${identify(node, variables)} ${printExpression(node)}`, run }
}

/** Rules that declare alike what they read share what is made of it, whoever wrote the declarations out. */
function identify(node: ExpressionNode, variables: ConditionScope["variables"]): string {
  const names = new Set(findReads(node).map(([name]) => String(name)))
  return [...names].map((name) => `${name}:${numberOf(variables[name] ?? "dyn")}`).join(" ")
}

const numbers = new WeakMap<object, number>()
const numbersByText = new Map<string, number>()
const numbersByTextMax = 10_000
let numbersGiven = 0

/** The same for equal types, as far as there is room to remember them. */
function numberOf(type: VariableType): number {
  const known = typeof type === "object" ? numbers.get(type) : undefined
  if (known !== undefined) return known
  const text = JSON.stringify(type)
  const number = numbersByText.get(text) ?? ++numbersGiven
  if (numbersByText.size >= numbersByTextMax) numbersByText.clear()
  numbersByText.set(text, number)
  if (typeof type === "object") numbers.set(type, number)
  return number
}

function findPath(node: ExpressionNode, scope: ConditionScope): { path: Path; type: VariableType } | undefined {
  if (node.is === "name") {
    const { item, variables } = scope
    if (item !== undefined) return item.name === node.name ? { path: [], type: item.type } : undefined
    return { path: [node.name], type: variables[node.name] ?? "dyn" }
  }
  const step = stepOf(node)
  if (step === undefined) return undefined
  const inner = findPath(step.of, scope)
  return inner && { path: [...inner.path, step.to], type: typeAt(inner.type, step.to) }
}

function stepOf(node: ExpressionNode): { of: ExpressionNode; to: string | number } | undefined {
  if (node.is === "select") return node.isTest ? undefined : { of: node.operand, to: node.field }
  const [of, index] = node.is === "call" && node.name === "_[_]" ? node.args : []
  if (of === undefined || index?.is !== "literal") return undefined
  if (typeof index.value === "string") return { of, to: index.value }
  return index.type === "int" && typeof index.value === "number" && index.value >= 0
    ? { of, to: index.value }
    : undefined
}

function typeAt(type: VariableType, step: string | number): VariableType {
  if (typeof type === "string") return "dyn"
  if ("list" in type) return typeof step === "number" ? type.list : "dyn"
  if ("map" in type) return type.map
  return type.fields[step] ?? "dyn"
}

/** As a field's name is kept: short texts of parsed JSON are so too, and two of them are compared without being read. */
function internalized(text: string): string {
  return text.length > 32 ? text : (Object.keys({ [text]: true })[0] ?? text)
}

function keyOf(node: ExpressionNode): Key | undefined {
  if (node.is === "literal") return typeof node.value === "string" ? internalized(node.value) : node.value
  if (node.is !== "call" || node.name !== "-_") return undefined
  const [operand] = node.args
  return operand?.is === "literal" && typeof operand.value === "number" ? 0 - operand.value : undefined
}
