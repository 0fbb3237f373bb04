import { AppError } from "@signalbox/kernel/app-error"

/** Line and column, counted from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** What goes wrong while an expression runs. Stays inside this package: `evaluate` turns it into an AppError. */
export class EvaluationFault extends Error {
  override readonly name = "EvaluationFault"
}

export function findPosition(text: string, offset: number): Position {
  const before = text.slice(0, Math.max(0, offset)).split("\n")
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 }
}

export function invalidExpression(message: string, position: Position): AppError {
  return new AppError("expressions.invalid", `${message} (line ${position.line}, column ${position.column})`, {
    issues: [{ path: "", message, ...position }],
    details: { ...position },
  })
}
