import { decide } from "../decide.ts"
import { findTie, matchAssociation, type Association } from "../match-association.ts"
import { nextTimerAt } from "../next-timer-at.ts"

/** What is simulated; faults are planted by giving another one. */
export interface ApprovalCore {
  readonly decide: typeof decide
  readonly nextTimerAt: typeof nextTimerAt
  readonly matchAssociation: typeof matchAssociation<Association>
  readonly findTie: typeof findTie<Association>
}

export const realCore: ApprovalCore = { decide, nextTimerAt, matchAssociation, findTie }

/** A broken promise, by its number in SPEC.md. */
export class InvariantError extends Error {
  override readonly name = "InvariantError"
  readonly invariant: string

  constructor(invariant: string, message: string) {
    super(`${invariant}: ${message}`)
    this.invariant = invariant
  }
}

export function hold(condition: unknown, invariant: string, message: string): asserts condition {
  if (!condition) throw new InvariantError(invariant, message)
}
