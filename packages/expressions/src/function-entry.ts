import type { Kind, VariableType } from "./variable-type.ts"

/** A function by name. A method's target is its first argument. Each argument lists the kinds that it may be. */
export interface FunctionEntry {
  readonly called: "function" | "method" | "both"
  readonly takes: ReadonlyArray<readonly Kind[]>
  readonly makes: VariableType
  /** The kinds of the arguments are checked before, so it may rely on them. */
  readonly run: (...values: unknown[]) => unknown
}
