import type { CallNode, ComprehensionNode, ExpressionNode } from "./expression-tree.ts"

const infix: Readonly<Record<string, readonly [sign: string, strength: number]>> = {
  "_||_": ["||", 2],
  "_&&_": ["&&", 3],
  "_==_": ["==", 4],
  "_!=_": ["!=", 4],
  "_<_": ["<", 4],
  "_<=_": ["<=", 4],
  "_>_": [">", 4],
  "_>=_": [">=", 4],
  "@in": ["in", 4],
  "_+_": ["+", 5],
  "_-_": ["-", 5],
  "_*_": ["*", 6],
  "_/_": ["/", 6],
  "_%_": ["%", 6],
}
const choice = 1
const prefix = 7
const whole = 8

/** The expression as text, with no more brackets than it needs. What is equal prints equally, however it was written. */
export function printExpression(node: ExpressionNode): string {
  switch (node.is) {
    case "literal":
      if (node.type === "string") return JSON.stringify(node.value)
      if (node.type === "double" && Number.isInteger(node.value)) return `${String(node.value)}.0`
      return String(node.value)
    case "name":
      return node.name
    case "select": {
      const text = `${printInside(node.operand, whole)}.${node.field}`
      return node.isTest ? `has(${text})` : text
    }
    case "list":
      return `[${node.items.map(printExpression).join(", ")}]`
    case "map":
      return `{${node.entries.map((entry) => entry.map(printExpression).join(": ")).join(", ")}}`
    case "comprehension":
      return printComprehension(node)
    case "call":
      return printCall(node)
  }
}

function printComprehension(node: ComprehensionNode): string {
  const filter = node.filter === undefined ? "" : `${printExpression(node.filter)}, `
  const body = printExpression(node.body)
  return `${printInside(node.range, whole)}.${node.name}(${node.variable}, ${filter}${body})`
}

function printCall({ name, target, args }: CallNode): string {
  const [first, second, third] = args
  const [sign, strength] = infix[name] ?? []
  if (sign !== undefined && strength !== undefined && args.length >= 2) {
    // Logic takes any number of operands; of the others the left one may be as strong as the operator, the right not.
    const isLogic = name === "_&&_" || name === "_||_"
    return args
      .map((arg, index) => printInside(arg, index === 0 || isLogic ? strength : strength + 1))
      .join(` ${sign} `)
  }
  if (name === "_[_]" && first && second) return `${printInside(first, whole)}[${printExpression(second)}]`
  if (name === "_?_:_" && first && second && third) {
    return `${printInside(first, choice + 1)} ? ${printInside(second, choice + 1)} : ${printInside(third, choice)}`
  }
  if ((name === "!_" || name === "-_") && first) return `${name.slice(0, 1)}${printInside(first, prefix)}`
  const called = `${name}(${args.map(printExpression).join(", ")})`
  return target === undefined ? called : `${printInside(target, whole)}.${called}`
}

/** In brackets where it binds less than its place demands. */
function printInside(node: ExpressionNode, demanded: number): string {
  const text = printExpression(node)
  return strengthOf(node) < demanded ? `(${text})` : text
}

function strengthOf(node: ExpressionNode): number {
  if (node.is === "literal") return typeof node.value === "number" ? (node.value < 0 ? prefix : whole - 0.5) : whole
  if (node.is !== "call") return whole
  if (node.name === "_?_:_") return choice
  if (node.name === "!_" || node.name === "-_") return prefix
  return infix[node.name]?.[1] ?? whole
}
