import { formatDuration } from "@signalbox/kernel/duration"
import { exitCodes } from "../exit-codes.ts"
import { safeLine } from "../output/safe-text.ts"
import { countsText } from "./counts-text.ts"
import type { Execution } from "./rollout-fold.ts"

/** How a run ended, in one line. */
export function conclusion(execution: Execution): string {
  const { startedAt, finishedAt, createdAt } = execution
  const took =
    finishedAt === undefined ? "" : formatDuration(Date.parse(finishedAt) - Date.parse(startedAt ?? createdAt))
  const facts = [countsText(execution.counts), took].filter((fact) => fact !== "").join(", ")
  const reason = execution.reason ? `: ${execution.reason}` : ""
  return safeLine(`${execution.id} ${execution.state}${reason}${facts === "" ? "" : ` (${facts})`}`)
}

/** Zero only where the run succeeded. */
export function exitCodeOfExecution(execution: Execution): number {
  return execution.state === "succeeded" ? exitCodes.ok : exitCodes.negative
}
