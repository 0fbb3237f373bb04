import { parse } from "@bufbuild/cel"
import type { AppError } from "@signalbox/kernel/app-error"
import { unreachable } from "@signalbox/kernel/assert"
import { findPosition, invalidExpression } from "./expression-fault.ts"
import { expressionLimits } from "./expression-limits.ts"
import { comprehensionNames, type ComprehensionName, type ExpressionNode } from "./expression-tree.ts"

type Parsed = ReturnType<typeof parse>
type Source = Parsed["expr"]
type SourceCall = Extract<Source["exprKind"], { case: "callExpr" }>["value"]

/** Reads CEL text into our own tree, within the limits. @throws expressions.invalid */
export function parseExpression(text: string): ExpressionNode {
  if (text.length > expressionLimits.textLengthMax) {
    const over = `the expression has ${text.length} characters; at most ${expressionLimits.textLengthMax} are allowed`
    throw invalidExpression(over, { line: 1, column: 1 })
  }
  if (text.trim() === "") throw invalidExpression("the expression is empty", { line: 1, column: 1 })
  return new TreeReader(text, parseSource(text)).read()
}

function parseSource(text: string): Parsed {
  try {
    return parse(text)
  } catch (error) {
    throw describeParseError(text, error)
  }
}

function describeParseError(text: string, error: unknown): AppError {
  if (error instanceof RangeError) {
    return invalidExpression(`the expression is nested too deep: ${error.message}`, { line: 1, column: 1 })
  }
  const start = (error as { location?: { start?: { offset?: unknown } } }).location?.start
  const offset = typeof start?.offset === "number" ? start.offset : 0
  const rest = text.slice(offset).split("\n", 1)[0] ?? ""
  const what = rest.trim() === "" ? "it ends too early" : `it can't be read from \`${rest.slice(0, 40)}\` on`
  return invalidExpression(
    `this is no complete CEL expression: ${what}; look for a missing operand, quote or bracket`,
    findPosition(text, offset),
  )
}

/** Owns: one reading of one expression. Macros, which the parser has expanded into loops, become nodes again. */
class TreeReader {
  readonly #text: string
  readonly #root: Source
  readonly #positions: Readonly<Record<string, number>>
  readonly #macroCalls: Readonly<Record<string, Source>>
  readonly #byId = new Map<bigint, Source>()
  #nodes = 0

  constructor(text: string, parsed: Parsed) {
    this.#text = text
    this.#root = parsed.expr
    this.#positions = parsed.sourceInfo?.positions ?? {}
    this.#macroCalls = parsed.sourceInfo?.macroCalls ?? {}
  }

  read(): ExpressionNode {
    this.#index(this.#root, 0)
    return this.#convert(this.#root, 0)
  }

  /** A recorded macro call holds nested macros as empty nodes, which are to be found by their id in the whole tree. */
  #index(source: Source | undefined, depth: number): void {
    if (source === undefined) return
    if (depth > expressionLimits.depthMax * 4) throw this.#tooLarge(source)
    this.#byId.set(source.id, source)
    for (const child of childrenOf(source)) this.#index(child, depth + 1)
  }

  #convert(source: Source | undefined, depth: number): ExpressionNode {
    const real = source?.exprKind.case === undefined ? this.#byId.get(source?.id ?? 0n) : source
    if (real === undefined) throw invalidExpression("the expression can't be read", { line: 1, column: 1 })
    this.#nodes++
    if (this.#nodes > expressionLimits.nodesMax || depth > expressionLimits.depthMax) throw this.#tooLarge(real)
    const at = this.#positions[String(real.id)] ?? 0
    const macro = this.#macroCalls[String(real.id)]
    const kind = real.exprKind
    switch (kind.case) {
      case "constExpr":
        return this.#literal(kind.value.constantKind, at)
      case "identExpr":
        return { is: "name", at, name: kind.value.name.replace(/^\./, "") }
      case "selectExpr": {
        const operand = this.#convert(kind.value.operand, depth + 1)
        return { is: "select", at, operand, field: kind.value.field, isTest: kind.value.testOnly }
      }
      case "callExpr":
        return {
          is: "call",
          at,
          name: kind.value.function,
          target: kind.value.target === undefined ? undefined : this.#convert(kind.value.target, depth + 1),
          args: kind.value.args.map((arg) => this.#convert(arg, depth + 1)),
        }
      case "listExpr":
        return { is: "list", at, items: kind.value.elements.map((item) => this.#convert(item, depth + 1)) }
      case "structExpr":
        return this.#map(kind.value, { at, depth })
      case "comprehensionExpr": {
        if (macro?.exprKind.case !== "callExpr") throw this.#refuse("this loop can't be read", at)
        return this.#comprehension(macro.exprKind.value, { at, depth })
      }
      case undefined:
        throw this.#refuse("this part of the expression can't be read", at)
      default:
        return unreachable(kind, "kind of expression")
    }
  }

  #literal(
    constant: Extract<Source["exprKind"], { case: "constExpr" }>["value"]["constantKind"],
    at: number,
  ): ExpressionNode {
    switch (constant.case) {
      case "boolValue":
        return { is: "literal", at, type: "bool", value: constant.value }
      case "doubleValue":
        return { is: "literal", at, type: "double", value: constant.value }
      case "stringValue":
        return { is: "literal", at, type: "string", value: constant.value }
      case "nullValue":
        return { is: "literal", at, type: "null", value: null }
      case "int64Value":
        if (!Number.isSafeInteger(Number(constant.value))) {
          throw this.#refuse("whole numbers may have at most 53 bits; write a larger one with a decimal point", at)
        }
        return { is: "literal", at, type: "int", value: Number(constant.value) }
      case "uint64Value":
        throw this.#refuse("there are no unsigned numbers here; leave the `u` out", at)
      default:
        throw this.#refuse("constants are numbers, texts, true, false and null", at)
    }
  }

  #map(
    struct: Extract<Source["exprKind"], { case: "structExpr" }>["value"],
    place: { at: number; depth: number },
  ): ExpressionNode {
    const entries = struct.entries.map((entry) => {
      if (entry.keyKind.case !== "mapKey") {
        throw this.#refuse(`there are no messages here; write a map: {"${String(entry.keyKind.value)}": …}`, place.at)
      }
      const key = this.#convert(entry.keyKind.value, place.depth + 1)
      return [key, this.#convert(entry.value, place.depth + 1)] as const
    })
    if (struct.messageName !== "") throw this.#refuse(`there is no message "${struct.messageName}" here`, place.at)
    return { is: "map", at: place.at, entries }
  }

  #comprehension(call: SourceCall, { at, depth }: { at: number; depth: number }): ExpressionNode {
    const [variable, ...bodies] = call.args
    const name = call.function
    const isKnown = (comprehensionNames as readonly string[]).includes(name)
    if (!isKnown || variable?.exprKind.case !== "identExpr") throw this.#refuse(`${name}() can't be read here`, at)
    const filter = bodies.length === 2 ? this.#convert(bodies[0], depth + 1) : undefined
    return {
      is: "comprehension",
      at,
      name: name as ComprehensionName,
      range: this.#convert(call.target, depth + 1),
      variable: variable.exprKind.value.name,
      filter,
      body: this.#convert(bodies.at(-1), depth + 1),
    }
  }

  #refuse(message: string, at: number): AppError {
    return invalidExpression(message, findPosition(this.#text, at))
  }

  #tooLarge(source: Source): AppError {
    const { nodesMax, depthMax } = expressionLimits
    const limits = `at most ${nodesMax} parts, and ${depthMax} inside one another, are allowed`
    return this.#refuse(`the expression is too large: ${limits}`, this.#positions[String(source.id)] ?? 0)
  }
}

function childrenOf(source: Source): Array<Source | undefined> {
  const kind = source.exprKind
  switch (kind.case) {
    case "selectExpr":
      return [kind.value.operand]
    case "callExpr":
      return [kind.value.target, ...kind.value.args]
    case "listExpr":
      return kind.value.elements
    case "structExpr":
      return kind.value.entries.flatMap((entry) => [
        entry.keyKind.case === "mapKey" ? entry.keyKind.value : undefined,
        entry.value,
      ])
    case "comprehensionExpr":
      return [kind.value.iterRange, kind.value.loopStep]
    default:
      return []
  }
}
