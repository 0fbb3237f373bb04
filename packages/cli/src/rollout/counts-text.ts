import type { Execution } from "./rollout-fold.ts"

const names: ReadonlyArray<readonly [keyof Execution["counts"], string]> = [
  ["succeeded", "succeeded"],
  ["failed", "failed"],
  ["interrupted", "interrupted"],
  ["unreachable", "unreachable"],
  ["aborted", "aborted"],
  ["skipped", "skipped"],
  ["neverStarted", "never started"],
  ["rolledBack", "rolled back"],
  ["rollbackFailed", "rollback failed"],
  ["rollbackUnknown", "rollback unknown"],
  ["notReversible", "not reversible"],
]

/** The counts that are not nought. @example countsText(counts) // "10 succeeded, 2 failed, 2 rolled back" */
export function countsText(counts: Execution["counts"]): string {
  return names
    .filter(([name]) => counts[name] > 0)
    .map(([name, text]) => `${counts[name]} ${text}`)
    .join(", ")
}
