import type { CallNode, ExpressionNode } from "@signalbox/expressions/expression-tree"
import { findPosition, invalidExpression } from "@signalbox/expressions/expression-fault"

export const ruleLimits = {
  /** What the cost of a condition takes texts and lists of unknown length for. */
  assumedTextLength: 200,
  assumedItems: 50,
  /** Characters and items that a condition may look at by its estimate: about 10 ms. */
  costMax: 200_000,
} as const

/**
 * About how many characters and items the condition looks at, at worst, where texts and lists are of the assumed length.
 * What an evaluation really does is bounded beside this by the limits of expressions.
 */
export function estimateCost(node: ExpressionNode): number {
  switch (node.is) {
    case "literal":
    case "name":
      return 1
    case "select":
      return 1 + estimateCost(node.operand)
    case "list":
      return node.items.reduce((sum, item) => sum + estimateCost(item), 1)
    case "map":
      return node.entries.flat().reduce((sum, each) => sum + estimateCost(each), 1)
    case "comprehension": {
      const turn = 1 + estimateCost(node.body) + (node.filter === undefined ? 0 : estimateCost(node.filter))
      return estimateCost(node.range) + ruleLimits.assumedItems * turn
    }
    case "call":
      return costOfCall(node)
  }
}

const onTexts: readonly string[] = [
  ...["contains", "startsWith", "endsWith", "lowerAscii", "upperAscii", "trim", "split", "join", "size"],
  ...["ip", "cidr", "isIP", "isCIDR", "containsIP", "containsCIDR", "semver", "isSemver", "timestamp", "duration"],
]

function costOfCall({ args, name, target }: CallNode): number {
  const inner = [...(target === undefined ? [] : [target]), ...args].reduce((sum, arg) => sum + estimateCost(arg), 1)
  const { assumedItems, assumedTextLength } = ruleLimits
  if (name === "matches") return inner + assumedTextLength * patternSize(args.at(-1))
  if (name === "@in") return inner + (args[1]?.is === "list" ? args[1].items.length : assumedItems)
  return onTexts.includes(name) ? inner + assumedTextLength : inner
}

/** RE2 looks at each character once for each part of the pattern; `{n}` repeats parts. */
export function patternSize(pattern: ExpressionNode | undefined): number {
  const text = pattern?.is === "literal" ? String(pattern.value) : ""
  const repeated = [...text.matchAll(/\{(\d+)(?:,(\d*))?\}/g)]
  return repeated.reduce((size, [, low, high]) => size * Math.max(1, Number(low), Number(high ?? 0)), text.length + 2)
}

/** @throws expressions.invalid where the condition would cost more than a rule may */
export function checkCost(node: ExpressionNode, text: string): number {
  const cost = estimateCost(node)
  if (cost <= ruleLimits.costMax) return cost
  const message = `the condition may look at ${cost} characters and items for each event; at most ${ruleLimits.costMax} are allowed`
  throw invalidExpression(message, findPosition(text, node.at))
}
