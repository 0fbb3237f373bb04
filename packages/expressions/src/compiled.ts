import type { Budget } from "./budget.ts"
import type { VariableType } from "./variable-type.ts"

/** What one evaluation works on: the data, the variables of the comprehensions around, the turns and work that are left. */
export interface Frame extends Budget {
  readonly data: Readonly<Record<string, unknown>>
  readonly locals: unknown[]
  turnsLeft: number
}

export type Run = (frame: Frame) => unknown

/** A part of an expression, ready to run: its type, and the closure. */
export interface Compiled {
  readonly type: VariableType
  readonly run: Run
}

/** Over its limits an evaluation has no result: no other part of the expression may decide in its place. */
export function isSpent(frame: Frame): boolean {
  return frame.turnsLeft < 0 || frame.workLeft < 0
}
