import { AppError } from "@signalbox/kernel/app-error"
import { compileNode } from "./compile-node.ts"
import type { Frame } from "./compiled.ts"
import { EvaluationFault, findPosition, invalidExpression } from "./expression-fault.ts"
import { expressionLimits } from "./expression-limits.ts"
import type { ExpressionNode } from "./expression-tree.ts"
import { parseExpression } from "./parse-expression.ts"
import { kindOfValue, quote, toJsonValue } from "./values.ts"
import { kindOf, type VariableType } from "./variable-type.ts"

export interface ExpressionOptions {
  /** The names that the expression may use, with their types. */
  readonly variables: Readonly<Record<string, VariableType>>
  /** What it has to result in; `any` leaves that open. */
  readonly resultType: "bool" | "string" | "any"
}

/** A compiled expression. Has no state: it may be kept, shared and evaluated any number of times. */
export interface Expression {
  readonly text: string
  /**
   * The result for these data, as a JSON value of the `resultType`. Runs no longer than its limits allow.
   * @throws expressions.evaluation-failed
   */
  evaluate(data: Readonly<Record<string, unknown>>): unknown
}

/**
 * Compiles a CEL expression to a closure: unknown names, unlike types, bad patterns and anything over the limits are
 * refused here, with line and column.
 *
 * @throws expressions.invalid
 * @example compileExpression("event.data.failed > 3", { variables: { event: "dyn" }, resultType: "bool" })
 */
export function compileExpression(text: string, options: ExpressionOptions): Expression {
  return compileTree(parseExpression(text), { ...options, text })
}

/** Compiles an expression that has been read before. @throws expressions.invalid */
export function compileTree(tree: ExpressionNode, options: ExpressionOptions & { readonly text: string }): Expression {
  const { resultType, text, variables } = options
  const compiled = compileNode(tree, { text, variables, locals: [] })
  const kind = kindOf(compiled.type)
  if (resultType !== "any" && kind !== "dyn" && kind !== resultType) {
    throw invalidExpression(`the expression has to be a ${resultType}; it is a ${kind}`, findPosition(text, tree.at))
  }
  const wanted = resultType === "bool" ? "boolean" : resultType
  return {
    text,
    evaluate(data) {
      const frame: Frame = {
        data,
        locals: [],
        turnsLeft: expressionLimits.turnsMax,
        workLeft: expressionLimits.workMax,
      }
      try {
        const value = compiled.run(frame)
        if (resultType === "any") return toJsonValue(value, frame)
        if (typeof value === wanted) return value
        throw new EvaluationFault(`the result has to be a ${resultType}; it is ${kindOfValue(value)}`)
      } catch (error) {
        if (!(error instanceof EvaluationFault)) throw error
        throw new AppError("expressions.evaluation-failed", `${quote(text)}: ${error.message}`, { cause: error })
      }
    },
  }
}
