import { compileExpression, type Expression } from "@signalbox/expressions/compile-expression"
import type { VariableType } from "@signalbox/expressions/variable-type"
import { AppError, isAppError } from "@signalbox/kernel/app-error"
import { deliveryLimits } from "./notification-limits.ts"
import type { NotifiedEvent } from "./model.ts"

/** What a subscription's expressions may use. */
const variables: Readonly<Record<string, VariableType>> = {
  event: {
    fields: {
      specversion: "string",
      id: "string",
      source: "string",
      type: "string",
      subject: "string",
      subjectversion: "int",
      time: "timestamp",
      cause: "string",
      causedby: "string",
      depth: "int",
      principal: "string",
      data: "dyn",
    },
  },
}

const compiled = new Map<string, Expression>()

/** @throws expressions.invalid, its issue at `field` */
export function checkExpression(text: string, field: "when" | "throttleBy"): void {
  try {
    compileExpression(text, { variables, resultType: field === "when" ? "bool" : "string" })
  } catch (error) {
    if (!isAppError(error)) throw error
    throw new AppError(error.code, `${field}: ${error.message}`, {
      cause: error,
      issues: error.issues.map((issue) => ({ ...issue, path: field })),
    })
  }
}

/** @throws expressions.evaluation-failed, or expressions.invalid where an older version took what this one refuses */
export function evaluate(text: string, resultType: "bool" | "string", event: NotifiedEvent): unknown {
  const key = `${resultType} ${text}`
  const known = compiled.get(key)
  const expression = known ?? compileExpression(text, { variables, resultType })
  if (known === undefined) {
    if (compiled.size >= deliveryLimits.compiledMax) compiled.clear()
    compiled.set(key, expression)
  }
  return expression.evaluate({ event })
}
