import { EvaluationFault } from "./expression-fault.ts"
import { expressionLimits } from "./expression-limits.ts"

/** The work that one evaluation may still do: characters and items that it looks at or makes. */
export interface Budget {
  workLeft: number
}

/** Pays for work that grows with the data, before it is done. */
export function spend(budget: Budget, work: number): void {
  budget.workLeft -= work
  if (budget.workLeft < 0)
    throw new EvaluationFault(`the expression takes more work than ${expressionLimits.workMax} characters and items`)
}

/** What looking at a value once costs. */
export function workOf(value: unknown): number {
  return typeof value === "string" || Array.isArray(value) ? value.length : 1
}
