import type { CallNode, ExpressionNode } from "@signalbox/expressions/expression-tree"
import { findPosition, invalidExpression } from "@signalbox/expressions/expression-fault"
import { printExpression } from "@signalbox/expressions/print-expression"
import { itemTypeOf, type VariableType } from "@signalbox/expressions/variable-type"

interface Guarding {
  readonly text: string
  readonly names: Readonly<Record<string, VariableType>>
  /** Fields that are there, as far as this part is concerned: otherwise another part has decided. */
  readonly guarded: ReadonlySet<string>
}

/**
 * Where a type tells which of its fields are `required`, each other one has to be guarded by `has()`: an absent field is
 * a failure, and a rule that fails is none.
 *
 * @throws expressions.invalid with line and column
 */
export function checkGuards(
  tree: ExpressionNode,
  { text, variables }: { readonly text: string; readonly variables: Readonly<Record<string, VariableType>> },
): void {
  check(tree, { text, names: variables, guarded: new Set() })
}

function check(node: ExpressionNode, scope: Guarding): void {
  switch (node.is) {
    case "literal":
    case "name":
      return
    case "select": {
      check(node.operand, scope)
      const type = typeOf(node.operand, scope.names)
      const required = typeof type === "object" && "fields" in type ? type.required : undefined
      if (node.isTest || required === undefined || required.includes(node.field)) return
      const field = printExpression(node)
      if (scope.guarded.has(field)) return
      const message = `${field} may be absent: write has(${field}) && …`
      throw invalidExpression(message, findPosition(scope.text, node.at))
    }
    case "list":
      return node.items.forEach((item) => check(item, scope))
    case "map":
      return node.entries.flat().forEach((each) => check(each, scope))
    case "comprehension": {
      check(node.range, scope)
      const names = { ...scope.names, [node.variable]: itemTypeOf(typeOf(node.range, scope.names)) }
      // What was known of a name outside is not of the item that hides it.
      const guarded = new Set([...scope.guarded].filter((each) => !each.startsWith(`${node.variable}.`)))
      if (node.filter !== undefined) check(node.filter, { ...scope, names, guarded })
      const known = node.filter === undefined ? guarded : union(guarded, presentIf(node.filter, true))
      return check(node.body, { ...scope, names, guarded: known })
    }
    case "call":
      return checkCall(node, scope)
  }
}

function checkCall(node: CallNode, scope: Guarding): void {
  const [condition, yes, no] = node.args
  if (node.name === "_?_:_" && condition && yes && no) {
    check(condition, scope)
    check(yes, { ...scope, guarded: union(scope.guarded, presentIf(condition, true)) })
    return check(no, { ...scope, guarded: union(scope.guarded, presentIf(condition, false)) })
  }
  const isAnd = node.name === "_&&_"
  const isLogic = isAnd || node.name === "_||_"
  if (node.target !== undefined) check(node.target, scope)
  for (const arg of node.args) {
    // Either side may decide for the other, whatever their order.
    const others = isLogic ? node.args.filter((each) => each !== arg) : []
    const guarded = others.reduce((known, other) => union(known, presentIf(other, isAnd)), scope.guarded)
    check(arg, { ...scope, guarded })
  }
}

/** The fields that are there if the condition has this outcome. */
function presentIf(node: ExpressionNode, outcome: boolean): ReadonlySet<string> {
  if (node.is === "select" && node.isTest && outcome) return new Set([printExpression({ ...node, isTest: false })])
  if (node.is !== "call") return nothing
  const [first] = node.args
  if (node.name === "!_" && first !== undefined) return presentIf(first, !outcome)
  const isSure = node.name === (outcome ? "_&&_" : "_||_")
  return isSure ? node.args.reduce((known, arg) => union(known, presentIf(arg, outcome)), nothing) : nothing
}

const nothing: ReadonlySet<string> = new Set()

function union(a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> {
  return b.size === 0 ? a : new Set([...a, ...b])
}

function typeOf(node: ExpressionNode, names: Guarding["names"]): VariableType {
  if (node.is === "name") return names[node.name] ?? "dyn"
  if (node.is === "select" && !node.isTest) return fieldType(typeOf(node.operand, names), node.field)
  const [container, index] = node.is === "call" && node.name === "_[_]" ? node.args : []
  if (container === undefined || index === undefined) return "dyn"
  const type = typeOf(container, names)
  if (typeof type === "object" && "list" in type) return type.list
  return fieldType(type, index.is === "literal" ? String(index.value) : "")
}

function fieldType(type: VariableType, field: string): VariableType {
  if (typeof type === "string" || "list" in type) return "dyn"
  return "map" in type ? type.map : (type.fields[field] ?? "dyn")
}
