import type { ExpressionNode, SelectNode } from "@signalbox/expressions/expression-tree"
import type { VariableType } from "@signalbox/expressions/variable-type"

/** A field that may be absent and is read without `has()` having said that it is there. */
export interface UnguardedField {
  /** `input.strategy.width` */
  readonly path: string
  /** Offset in the text. */
  readonly at: number
}

export interface GuardOptions {
  readonly variables: Readonly<Record<string, VariableType>>
  /** Whether a field of the variables may be absent: the path from the variable on. */
  readonly isOptional: (path: readonly string[]) => boolean
}

type Guards = ReadonlySet<string>

/**
 * The fields that a condition reads though they may be absent: an absent one would leave the condition without a result.
 * `has(a.b) && a.b > 1`, `!has(a.b) || a.b > 1` and `has(a.b) ? a.b > 1 : false` are guarded.
 */
export function findUnguarded(tree: ExpressionNode, options: GuardOptions): UnguardedField[] {
  const found = new Map<string, UnguardedField>()
  walk(tree, new Set(), { ...options, found })
  return [...found.values()]
}

interface Walking extends GuardOptions {
  readonly found: Map<string, UnguardedField>
}

function walk(node: ExpressionNode, guards: Guards, walking: Walking): void {
  switch (node.is) {
    case "literal":
    case "name":
      return
    case "select":
      return walkSelect(node, guards, walking)
    case "list":
      for (const item of node.items) walk(item, guards, walking)
      return
    case "map":
      for (const [key, value] of node.entries) {
        walk(key, guards, walking)
        walk(value, guards, walking)
      }
      return
    case "comprehension":
      for (const part of [node.range, node.filter, node.body]) if (part) walk(part, guards, walking)
      return
    case "call":
      return walkCall(node, guards, walking)
  }
}

function walkSelect(node: SelectNode, guards: Guards, walking: Walking): void {
  walk(node.operand, guards, walking)
  if (node.isTest) return
  const path = pathOf(node)
  const [variable] = path ?? []
  if (!path || variable === undefined || !Object.hasOwn(walking.variables, variable)) return
  const text = path.join(".")
  if (walking.isOptional(path) && !guards.has(text) && !walking.found.has(text))
    walking.found.set(text, { path: text, at: node.at })
}

function walkCall(node: Extract<ExpressionNode, { is: "call" }>, guards: Guards, walking: Walking): void {
  const [first, second, third] = node.args
  if (node.name === "_?_:_" && first && second && third) {
    walk(first, guards, walking)
    walk(second, joined(guards, present(first, true)), walking)
    return walk(third, joined(guards, present(first, false)), walking)
  }
  // Of `a && b` either part's fault gives way to the other's `false`, whichever comes first; of `a || b` to its `true`.
  const isAnd = node.name === "_&&_"
  if (isAnd || node.name === "_||_") {
    for (const arg of node.args) {
      const others = node.args.filter((other) => other !== arg).map((other) => present(other, isAnd))
      walk(arg, others.reduce(joined, guards), walking)
    }
    return
  }
  if (node.target) walk(node.target, guards, walking)
  for (const arg of node.args) walk(arg, guards, walking)
}

/** The fields that are surely there where the condition has this result. */
function present(node: ExpressionNode, result: boolean): Guards {
  if (node.is === "select" && node.isTest) return new Set(result ? [pathOf(node)?.join(".") ?? ""] : [])
  if (node.is !== "call") return new Set()
  if (node.name === "!_" && node.args[0]) return present(node.args[0], !result)
  const isWhole = node.name === (result ? "_&&_" : "_||_")
  return isWhole ? node.args.map((arg) => present(arg, result)).reduce(joined, new Set<string>()) : new Set()
}

function joined(some: Guards, more: Guards): Guards {
  return more.size === 0 ? some : new Set([...some, ...more])
}

/** `a.b.c` as its names; undefined where it begins with anything but a name. */
function pathOf(node: ExpressionNode): string[] | undefined {
  if (node.is === "name") return [node.name]
  if (node.is !== "select") return undefined
  const before = pathOf(node.operand)
  return before && [...before, node.field]
}
