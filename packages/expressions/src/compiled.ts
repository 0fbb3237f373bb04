import type { VariableType } from "./variable-type.ts"

/** What one evaluation works on: the data, the variables of the comprehensions around, and the turns that are left. */
export interface Frame {
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
