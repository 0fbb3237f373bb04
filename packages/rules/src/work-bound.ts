import type { CallNode, ComprehensionNode, ExpressionNode } from "@signalbox/expressions/expression-tree"
import { expressionLimits } from "@signalbox/expressions/expression-limits"
import { isMap } from "@signalbox/expressions/values"
import { patternSize } from "./rule-cost.ts"

/**
 * Up to which size of the data an evaluation can't go over its limits. Beyond them a condition has no result even where a
 * part of it alone would decide, which an index that looks at parts does not see.
 */
const sizesMax = 2 ** 30

/** At most so much work and so many turns, and a result of at most so many characters and items. */
interface Bound {
  readonly work: number
  readonly turns: number
  readonly size: number
}

interface Bounding {
  /** Of all the data together. */
  readonly size: number
  readonly locals: ReadonlyMap<string, number>
}

/** Characters, items and fields of the data, in powers of two; Infinity where no data are too large. */
export function findSafeSize(tree: ExpressionNode): number {
  const isSafe = (size: number): boolean => {
    const { turns, work } = boundOf(tree, { size, locals: new Map() })
    return work <= expressionLimits.workMax && turns <= expressionLimits.turnsMax
  }
  if (isSafe(sizesMax)) return Infinity
  let size = sizesMax
  while (size > 0 && !isSafe(size)) size = Math.floor(size / 2)
  return size
}

function boundOf(node: ExpressionNode, within: Bounding): Bound {
  switch (node.is) {
    case "literal":
      return { work: 0, turns: 0, size: typeof node.value === "string" ? node.value.length : 1 }
    case "name":
      return { work: 0, turns: 0, size: within.locals.get(node.name) ?? within.size }
    case "select":
      return boundOf(node.operand, within)
    case "list":
      return joined(node.items, within)
    case "map":
      return joined(node.entries.flat(), within)
    case "comprehension":
      return boundOfLoop(node, within)
    case "call":
      return boundOfCall(node, within)
  }
}

/** All of them, and a value that holds them. */
function joined(nodes: readonly ExpressionNode[], within: Bounding): Bound {
  return nodes
    .map((node) => boundOf(node, within))
    .reduce(
      (sum, each) => ({
        work: sum.work + each.work,
        turns: sum.turns + each.turns,
        size: sum.size + each.size,
      }),
      { work: 0, turns: 0, size: nodes.length },
    )
}

function boundOfLoop({ body, filter, range, variable }: ComprehensionNode, within: Bounding): Bound {
  const over = boundOf(range, within)
  const inner = { ...within, locals: new Map([...within.locals, [variable, over.size]]) }
  const turn = joined(filter === undefined ? [body] : [filter, body], inner)
  return {
    work: over.work + over.size * turn.work,
    turns: over.turns + over.size * (1 + turn.turns),
    size: over.size * (1 + turn.size),
  }
}

function boundOfCall(node: CallNode, within: Bounding): Bound {
  const nodes = node.target === undefined ? node.args : [node.target, ...node.args]
  const all = joined(nodes, within)
  const [first, second] = nodes
  if (["_&&_", "_||_", "!_", "-_", "_?_:_", "_[_]"].includes(node.name)) return all
  const own = ownWork(node, { all, first, second })
  // What a function makes of values is no longer than they are, or bounded; a moment or a number as text is short.
  return {
    ...all,
    work: all.work + own,
    size: all.size + expressionLimits.madeSizeMax * Number(node.name === "join") + 64,
  }
}

function ownWork(
  { args, name }: CallNode,
  { all, first, second }: { all: Bound; first: ExpressionNode | undefined; second: ExpressionNode | undefined },
): number {
  if (name === "matches") return Math.min(all.size, expressionLimits.matchedLengthMax) * 2 * patternSize(args.at(-1))
  if (name === "_==_" || name === "_!=_") {
    // A text costs something only beside another of its length.
    const literal = [first, second].find((each) => each?.is === "literal")
    return literal?.is === "literal" ? lengthOf(literal) : all.size
  }
  // Each item is compared with the whole of what is sought.
  if (name === "@in") return second?.is === "list" && second.items.every(isLiteral) ? all.size : all.size * all.size
  return all.size
}

const isLiteral = (node: ExpressionNode): boolean => node.is === "literal"
const lengthOf = ({ value }: { readonly value: unknown }): number => (typeof value === "string" ? value.length : 1)

/** Characters, items and fields of JSON data; of more than `max` that it is more. */
export function measureData(data: unknown, max: number): number {
  let size = 0
  const open: unknown[] = [data]
  while (open.length > 0 && size <= max) {
    const value = open.pop()
    if (typeof value === "string") size += value.length
    else if (Array.isArray(value)) {
      size += value.length
      if (size <= max) for (const item of value as readonly unknown[]) open.push(item)
    } else if (isMap(value)) {
      for (const field of Object.keys(value)) {
        size += 1 + field.length
        open.push(value[field])
      }
    }
  }
  return size
}
