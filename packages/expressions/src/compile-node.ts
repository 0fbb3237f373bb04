import { RE2JS } from "@bufbuild/re2"
import { findNearNames } from "@signalbox/kernel/near-names"
import { spend, workOf } from "./budget.ts"
import { compileComprehension, expectBool } from "./compile-comprehension.ts"
import { isSpent, type Compiled, type Run } from "./compiled.ts"
import { EvaluationFault, findPosition, invalidExpression } from "./expression-fault.ts"
import { expressionLimits } from "./expression-limits.ts"
import type { CallNode, ComprehensionNode, ExpressionNode, MapNode, SelectNode } from "./expression-tree.ts"
import type { FunctionEntry } from "./function-entry.ts"
import { findFunction, functionNames } from "./functions.ts"
import { calculate, findArithmeticType, hasField, isArithmetic, isMember, isOrder } from "./operators.ts"
import { order, readField, readItem, whole, type Arithmetic } from "./operators.ts"
import { findPatternLiterals, matchesWildcard } from "./pattern-literals.ts"
import { Duration, isEqual, kindOfValue, readDuration, readTimestamp } from "./values.ts"
import { isNumeric, itemTypeOf, joinTypes, kindOf, type Kind, type VariableType } from "./variable-type.ts"

/** The names that a part may use: those of the data, and the variables of the comprehensions around it. */
export interface Scope {
  readonly text: string
  readonly variables: Readonly<Record<string, VariableType>>
  readonly locals: ReadonlyArray<{ readonly name: string; readonly type: VariableType }>
}

/** Makes a closure of a part of an expression, types checked. @throws expressions.invalid */
export function compileNode(node: ExpressionNode, scope: Scope): Compiled {
  switch (node.is) {
    case "literal": {
      const { value } = node
      return { type: node.type, run: () => value }
    }
    case "name":
      return compileName(node.name, node.at, scope)
    case "select":
      return compileSelect(node, scope)
    case "list": {
      const items = node.items.map((item) => compileNode(item, scope))
      const [first, ...others] = items.map((item) => item.type)
      const type = first === undefined ? "dyn" : others.reduce(joinTypes, first)
      return { type: { list: type }, run: (frame) => items.map((item) => item.run(frame)) }
    }
    case "map":
      return compileMap(node, scope)
    case "comprehension":
      return compileLoop(node, scope)
    case "call":
      return compileCall(node, scope)
  }
}

function refuse(scope: Scope, at: number, message: string): never {
  throw invalidExpression(message, findPosition(scope.text, at))
}

function meant(name: string, names: readonly string[], introduction: string): string {
  const near = findNearNames(name, names)
  if (near.length > 0) return `did you mean ${near.join(", ")}?`
  return names.length === 0 ? "there are none here" : `${introduction} ${names.slice(0, 12).join(", ")}`
}

function compileName(name: string, at: number, scope: Scope): Compiled {
  const slot = scope.locals.findLastIndex((local) => local.name === name)
  const local = scope.locals[slot]
  if (local !== undefined) return { type: local.type, run: (frame) => frame.locals[slot] }
  const type = Object.hasOwn(scope.variables, name) ? scope.variables[name] : undefined
  if (type === undefined) {
    refuse(scope, at, `"${name}" is unknown here; ${meant(name, Object.keys(scope.variables), "there are")}`)
  }
  return bindType(type, (frame) => {
    const value = frame.data[name]
    if (value === undefined) throw new EvaluationFault(`"${name}" has no value here`)
    return value
  })
}

/** Sees to it that what comes from data is what its type says, where arithmetic relies on that. */
function bindType(type: VariableType, run: Run): Compiled {
  if (type === "int") {
    return {
      type,
      run: (frame) => {
        const value = run(frame)
        return typeof value === "number" ? whole(value) : value
      },
    }
  }
  if (type !== "timestamp" && type !== "duration") return { type, run }
  const read = type === "timestamp" ? readTimestamp : readDuration
  return {
    type,
    run: (frame) => {
      const value = run(frame)
      return typeof value === "string" ? read(value) : value
    },
  }
}

function compileSelect(node: SelectNode, scope: Scope): Compiled {
  const { field } = node
  const operand = compileNode(node.operand, scope)
  const kind = kindOf(operand.type)
  if (kind !== "map" && kind !== "dyn") refuse(scope, node.at, `${kind} has no fields, so no "${field}"`)
  const fields = typeof operand.type === "object" && "fields" in operand.type ? operand.type.fields : undefined
  if (fields !== undefined && !Object.hasOwn(fields, field)) {
    refuse(scope, node.at, `there is no field "${field}"; ${meant(field, Object.keys(fields), "there are")}`)
  }
  if (node.isTest) return { type: "bool", run: (frame) => hasField(operand.run(frame), field) }
  const inMap = typeof operand.type === "object" && "map" in operand.type ? operand.type.map : "dyn"
  return bindType(fields?.[field] ?? inMap, (frame) => readField(operand.run(frame), field))
}

function compileMap(node: MapNode, scope: Scope): Compiled {
  const entries = node.entries.map(([key, value]) => {
    const compiledKey = compileNode(key, scope)
    if (kindOf(compiledKey.type) !== "string" && kindOf(compiledKey.type) !== "dyn") {
      refuse(scope, key.at, "the keys of a map are texts")
    }
    return [compiledKey, compileNode(value, scope)] as const
  })
  const [first, ...others] = entries.map(([, value]) => value.type)
  const type = first === undefined ? "dyn" : others.reduce(joinTypes, first)
  return {
    type: { map: type },
    run: (frame) => {
      const made = new Map<string, unknown>()
      for (const [key, value] of entries) {
        const name = key.run(frame)
        if (typeof name !== "string") throw new EvaluationFault("the keys of a map are texts")
        if (made.has(name)) throw new EvaluationFault(`the map has the key "${name}" twice`)
        made.set(name, value.run(frame))
      }
      return Object.fromEntries(made)
    },
  }
}

function compileLoop(node: ComprehensionNode, scope: Scope): Compiled {
  const slot = scope.locals.length
  if (slot >= expressionLimits.comprehensionDepthMax) {
    const max = expressionLimits.comprehensionDepthMax
    refuse(scope, node.at, `${node.name}() stands more than ${max} deep; such an expression could run for too long`)
  }
  const range = compileNode(node.range, scope)
  const kind = kindOf(range.type)
  if (kind !== "list" && kind !== "map" && kind !== "dyn") refuse(scope, node.at, `${kind} has no items to go through`)
  const inner = { ...scope, locals: [...scope.locals, { name: node.variable, type: itemTypeOf(range.type) }] }
  const filter = node.filter === undefined ? undefined : compileCondition(node.filter, inner)
  const body = node.name === "map" ? compileNode(node.body, inner) : compileCondition(node.body, inner)
  return compileComprehension(node.name, { range, filter: filter?.run, body, slot })
}

function compileCondition(node: ExpressionNode, scope: Scope): Compiled {
  const compiled = compileNode(node, scope)
  const kind = kindOf(compiled.type)
  if (kind !== "bool" && kind !== "dyn") refuse(scope, node.at, `${kind} stands where true or false is needed`)
  return compiled
}

function compileCall(node: CallNode, scope: Scope): Compiled {
  const [first, second] = node.args
  if (node.name === "_&&_" || node.name === "_||_") return compileLogic(node, scope)
  if (node.name === "_?_:_") return compileChoice(node, scope)
  if (node.name === "matches") return compileMatches(node, scope)
  if (first !== undefined && second !== undefined && /^_.+_$|^_\[_\]$|^@in$/.test(node.name)) {
    return compileBinary({ node, left: compileNode(first, scope), right: compileNode(second, scope), scope })
  }
  if (first !== undefined && node.name === "!_") {
    const operand = compileCondition(first, scope)
    return { type: "bool", run: (frame) => !expectBool(operand.run(frame)) }
  }
  if (first !== undefined && node.name === "-_") return compileNegation(node, compileNode(first, scope), scope)
  return compileFunction(node, scope)
}

function compileNegation(node: CallNode, operand: Compiled, scope: Scope): Compiled {
  const kind = kindOf(operand.type)
  if (!isNumeric(kind) && kind !== "dyn" && kind !== "duration") refuse(scope, node.at, `there is no -${kind}`)
  return {
    type: operand.type,
    run: (frame) => {
      const value = operand.run(frame)
      if (typeof value === "number") return value === 0 && kind !== "double" ? 0 : -value
      if (value instanceof Duration) return new Duration(-value.milliseconds)
      throw new EvaluationFault(`there is no -${kindOfValue(value)}`)
    },
  }
}

/** Either side may decide alone: `false && fails` and `fails && false` are both false, as CEL wants it. */
function compileLogic(node: CallNode, scope: Scope): Compiled {
  const decisive = node.name === "_||_"
  const runs = node.args.map((arg) => compileCondition(arg, scope).run)
  return {
    type: "bool",
    run: (frame) => {
      let fault: EvaluationFault | undefined
      for (const run of runs) {
        try {
          if (expectBool(run(frame)) === decisive) return decisive
        } catch (error) {
          if (!(error instanceof EvaluationFault) || isSpent(frame)) throw error
          fault ??= error
        }
      }
      if (fault !== undefined) throw fault
      return !decisive
    },
  }
}

function compileChoice(node: CallNode, scope: Scope): Compiled {
  const [condition, yes, no] = node.args
  if (condition === undefined || yes === undefined || no === undefined) refuse(scope, node.at, "this choice is cut off")
  const test = compileCondition(condition, scope).run
  const [ifTrue, ifFalse] = [compileNode(yes, scope), compileNode(no, scope)]
  return {
    type: joinTypes(ifTrue.type, ifFalse.type),
    run: (frame) => (expectBool(test(frame)) ? ifTrue.run(frame) : ifFalse.run(frame)),
  }
}

interface Operation {
  readonly node: CallNode
  readonly left: Compiled
  readonly right: Compiled
  readonly scope: Scope
}

function compileBinary(operation: Operation): Compiled {
  const { node, left, right, scope } = operation
  const { name } = node
  const [a, b] = [left.run, right.run]
  if (isArithmetic(name)) return compileArithmetic(name, operation)
  if (name === "_[_]") return compileIndex(operation)
  if (name === "@in") {
    const kind = kindOf(right.type)
    if (kind !== "list" && kind !== "map" && kind !== "dyn") {
      refuse(scope, node.at, `"in" needs a list or a map, not ${kind}`)
    }
    return { type: "bool", run: (frame) => isMember(a(frame), b(frame), frame) }
  }
  if (name !== "_==_" && name !== "_!=_" && !isOrder(name)) refuse(scope, node.at, `there is no operator ${name}`)
  refuseUnlikeKinds(operation)
  if (name === "_==_") return { type: "bool", run: (frame) => isEqual(a(frame), b(frame), frame) }
  if (name === "_!=_") return { type: "bool", run: (frame) => !isEqual(a(frame), b(frame), frame) }
  const compare = order(name)
  return { type: "bool", run: (frame) => compare(a(frame), b(frame), frame) }
}

function compileArithmetic(name: Arithmetic, { node, left, right, scope }: Operation): Compiled {
  const found = findArithmeticType(name, left.type, right.type)
  if ("problem" in found) refuse(scope, node.at, found.problem)
  const [a, b] = [left.run, right.run]
  const run = calculate(name, found.type === "int")
  return { type: found.type, run: (frame) => run(a(frame), b(frame), frame) }
}

function compileIndex({ node, left, right, scope }: Operation): Compiled {
  const kind = kindOf(left.type)
  if (kind !== "list" && kind !== "map" && kind !== "dyn") refuse(scope, node.at, `${kind} can't be indexed`)
  const [a, b] = [left.run, right.run]
  let type: VariableType = "dyn"
  if (typeof left.type === "object" && "list" in left.type) type = left.type.list
  if (typeof left.type === "object" && "map" in left.type) type = left.type.map
  return bindType(type, (frame) => readItem(a(frame), b(frame)))
}

function refuseUnlikeKinds({ node, left, right, scope }: Operation): void {
  const [a, b] = [kindOf(left.type), kindOf(right.type)]
  if (a === b || a === "dyn" || b === "dyn" || (isNumeric(a) && isNumeric(b))) return
  if (!isOrder(node.name) && (a === "null" || b === "null")) return
  refuse(scope, node.at, `${a} and ${b} can't be compared; convert one, for example with string(…) or int(…)`)
}

/** The pattern is a constant, so that it is compiled and found bad when the expression is saved. RE2: linear time. */
function compileMatches(node: CallNode, scope: Scope): Compiled {
  const args = node.target === undefined ? node.args : [node.target, ...node.args]
  const [subject, pattern] = args
  if (args.length !== 2 || subject === undefined || pattern?.is !== "literal" || typeof pattern.value !== "string") {
    refuse(scope, node.at, 'matches() takes a text and a constant pattern: name.matches("^web-[0-9]+$")')
  }
  const { run, type } = compileNode(subject, scope)
  if (kindOf(type) !== "string" && kindOf(type) !== "dyn") refuse(scope, node.at, "matches() takes a text")
  const expression = compilePattern(pattern.value, pattern.at, scope)
  const instructions = expression.re2Input.prog.numInst()
  const literals = findPatternLiterals(pattern.value)
  const wildcard = literals?.isWildcard === true ? literals : undefined
  return {
    type: "bool",
    run: (frame) => {
      const value = run(frame)
      if (typeof value !== "string") throw new EvaluationFault(`matches() takes a text, not ${kindOfValue(value)}`)
      if (value.length > expressionLimits.matchedLengthMax)
        throw new EvaluationFault(`matches() takes a text of at most ${expressionLimits.matchedLengthMax} characters`)
      spend(frame, value.length * instructions)
      // `.` doesn't match the end of a line.
      return wildcard === undefined || value.includes("\n") ? expression.test(value) : matchesWildcard(wildcard, value)
    },
  }
}

function compilePattern(pattern: string, at: number, scope: Scope): RE2JS {
  try {
    return RE2JS.compile(pattern)
  } catch (error) {
    return refuse(scope, at, `this is no RE2 pattern: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function compileFunction(node: CallNode, scope: Scope): Compiled {
  const entry = findFunction(node.name)
  if (entry === undefined) {
    if (node.name === "has") refuse(scope, node.at, "has() takes a field: has(event.data.reason)")
    if (functionNames.includes(node.name)) {
      refuse(scope, node.at, `${node.name}() takes a variable and an expression: list.${node.name}(item, item > 1)`)
    }
    refuse(scope, node.at, `there is no function "${node.name}"; ${meant(node.name, functionNames, "there are")}`)
  }
  const isMethod = node.target !== undefined
  if (entry.called !== "both" && (entry.called === "method") !== isMethod) {
    const usage = isMethod ? `${node.name}(value)` : `value.${node.name}(…)`
    refuse(scope, node.at, `${node.name}() is called as ${usage}`)
  }
  const nodes = node.target === undefined ? node.args : [node.target, ...node.args]
  if (nodes.length !== entry.takes.length) {
    const count = entry.takes.length - (isMethod ? 1 : 0)
    refuse(scope, node.at, `${node.name}() takes ${count === 1 ? "one argument" : `${count} arguments`}`)
  }
  const args = nodes.map((arg, index) => {
    const compiled = compileNode(arg, scope)
    const kind = kindOf(compiled.type)
    if (kind === "dyn" || isTaken(entry, index, kind)) return compiled.run
    return refuse(scope, arg.at, `${node.name}() takes ${entry.takes[index]?.join(" or ") ?? "nothing"}, not ${kind}`)
  })
  return { type: entry.makes, run: callFunction(node.name, entry, args) }
}

function isTaken(entry: FunctionEntry, index: number, kind: Kind): boolean {
  return entry.takes[index]?.includes(kind) === true
}

function callFunction(name: string, entry: FunctionEntry, args: readonly Run[]): Run {
  return (frame) => {
    const values = args.map((run) => run(frame))
    for (const [index, value] of values.entries()) {
      const kind = kindOfValue(value)
      const isFine = isTaken(entry, index, kind) || (kind === "int" && isTaken(entry, index, "double"))
      if (!isFine) throw new EvaluationFault(`${name}() can't take ${kind}`)
      spend(frame, workOf(value))
    }
    return entry.run(...values)
  }
}
