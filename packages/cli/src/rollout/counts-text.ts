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

const resultNames: ReadonlyArray<readonly [keyof Execution["results"], string]> = [
  ["ok", "ok"],
  ["failed", "failed"],
  ["rolledBack", "rolled back"],
  ["rollbackFailed", "rollback failed"],
  ["notReversible", "not reversible"],
  ["unknown", "unknown"],
  ["untouched", "untouched"],
]

/** What became of the nodes. @example resultsText(results) // "10 ok, 2 rolled back, 3 untouched" */
export function resultsText(results: Execution["results"]): string {
  return resultNames
    .filter(([name]) => results[name] > 0)
    .map(([name, text]) => `${results[name]} ${text}`)
    .join(", ")
}
