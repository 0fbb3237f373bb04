import { isSpent, type Compiled, type Frame, type Run } from "./compiled.ts"
import { EvaluationFault } from "./expression-fault.ts"
import { expressionLimits } from "./expression-limits.ts"
import type { ComprehensionNode } from "./expression-tree.ts"
import { isMap, kindOfValue } from "./values.ts"

export interface ComprehensionParts {
  readonly range: Compiled
  readonly filter: Run | undefined
  readonly body: Compiled
  /** Where the frame keeps the variable. */
  readonly slot: number
}

/** `all`, `exists`, `exists_one`, `filter` and `map` over the items of a list or the keys of a map. */
export function compileComprehension(name: ComprehensionNode["name"], parts: ComprehensionParts): Compiled {
  switch (name) {
    case "all":
      return { type: "bool", run: decide(parts, false) }
    case "exists":
      return { type: "bool", run: decide(parts, true) }
    case "exists_one":
      return { type: "bool", run: (frame) => collect({ ...parts, filter: parts.body.run }, frame).length === 1 }
    case "filter": {
      const type = typeof parts.range.type === "object" && "list" in parts.range.type ? parts.range.type : undefined
      return { type: type ?? { list: "dyn" }, run: (frame) => collect({ ...parts, filter: parts.body.run }, frame) }
    }
    case "map":
      return { type: { list: parts.body.type }, run: (frame) => collect(parts, frame, parts.body.run) }
  }
}

/** As `||` (or `&&`) over all items: one that decides wins over others that fail. */
function decide({ range, body, slot }: ComprehensionParts, decisive: boolean): Run {
  return (frame) => {
    let fault: EvaluationFault | undefined
    for (const item of itemsOf(range.run(frame), frame)) {
      frame.locals[slot] = item
      try {
        if (expectBool(body.run(frame)) === decisive) return decisive
      } catch (error) {
        if (!(error instanceof EvaluationFault) || isSpent(frame)) throw error
        fault ??= error
      }
    }
    if (fault !== undefined) throw fault
    return !decisive
  }
}

function collect({ range, filter, slot }: ComprehensionParts, frame: Frame, make?: Run): unknown[] {
  const made: unknown[] = []
  for (const item of itemsOf(range.run(frame), frame)) {
    frame.locals[slot] = item
    if (filter !== undefined && !expectBool(filter(frame))) continue
    made.push(make === undefined ? item : make(frame))
  }
  return made
}

function itemsOf(range: unknown, frame: Frame): readonly unknown[] {
  const isList = Array.isArray(range)
  if (!isList && !isMap(range)) throw new EvaluationFault(`${kindOfValue(range)} has no items to go through`)
  const items: readonly unknown[] = isList ? range : Object.keys(range)
  frame.turnsLeft -= items.length
  if (frame.turnsLeft >= 0) return items
  throw new EvaluationFault(`the expression goes through more than ${expressionLimits.turnsMax} items`)
}

export function expectBool(value: unknown): boolean {
  if (typeof value === "boolean") return value
  throw new EvaluationFault(`${kindOfValue(value)} stands where true or false is needed`)
}
