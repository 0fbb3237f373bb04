import type { ExpressionNode } from "@signalbox/expressions/expression-tree"
import type { Path } from "./condition.ts"

/**
 * What an expression reads of its data, each as far as its way is written out: `input.body.a > 1` reads
 * `["input", "body", "a"]`, and `size(input)` or `input[caller.kind]` all of `["input"]`.
 */
export function findReads(tree: ExpressionNode): Path[] {
  const found = new Map<string, Path>()
  collect(tree, new Set(), (path) => found.set(JSON.stringify(path), path))
  return [...found.values()]
}

function collect(node: ExpressionNode, locals: ReadonlySet<string>, note: (path: Path) => void): void {
  const path = pathOf(node)
  if (path !== undefined) {
    if (!locals.has(String(path[0]))) note(path)
    return
  }
  const all = (nodes: readonly ExpressionNode[]): void => nodes.forEach((each) => collect(each, locals, note))
  switch (node.is) {
    case "literal":
    case "name":
      return
    case "select":
      return collect(node.operand, locals, note)
    case "list":
      return all(node.items)
    case "map":
      return all(node.entries.flat())
    case "call":
      return all(node.target === undefined ? node.args : [node.target, ...node.args])
    case "comprehension": {
      collect(node.range, locals, note)
      const inner = new Set([...locals, node.variable])
      for (const part of [node.filter, node.body]) if (part !== undefined) collect(part, inner, note)
    }
  }
}

/** A name and the fields that are read of it by name; of `has(a.b)` too. */
function pathOf(node: ExpressionNode): Path | undefined {
  if (node.is === "name") return [node.name]
  if (node.is === "select") {
    const before = pathOf(node.operand)
    return before && [...before, node.field]
  }
  const [of, key] = node.is === "call" && node.name === "_[_]" ? node.args : []
  if (of === undefined || key?.is !== "literal" || typeof key.value !== "string") return undefined
  const before = pathOf(of)
  return before && [...before, key.value]
}
