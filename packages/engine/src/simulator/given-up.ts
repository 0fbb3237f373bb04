import type { EnginePlan } from "../plan.ts"
import type { EngineInput } from "../types.ts"
import type { SimStore } from "./sim-store.ts"

type TaskReport = Extract<EngineInput, { type: "task-accepted" | "task-started" | "task-finished" }>

/** A report of a node that was given up without its word, and that has begun after all (a duty of the server). */
export function isToGoBack(input: EngineInput, plan: EnginePlan, { tasks }: SimStore): input is TaskReport {
  if (input.type !== "task-accepted" && input.type !== "task-started" && input.type !== "task-finished") return false
  const row = tasks[input.ordinal]
  const refused = input.type === "task-finished" && input.outcome.class === "refused"
  const isGivenUp = row?.state === "unreachable" && row.rollback === "none" && row.attempt === input.attempt
  return isGivenUp && !refused && plan.rollbackOnFailure
}
