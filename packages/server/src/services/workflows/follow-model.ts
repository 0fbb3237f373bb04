/** Executions that are about the tasks of an execution before: retries and rollbacks. Pure. */
import { rollbackStates } from "@signalbox/engine/rollback-machine"
import { taskStates } from "@signalbox/engine/task-machine"
import type { RollbackCounts, TaskCounts } from "@signalbox/engine/types"
import { chooseLimits } from "./limit-choice.ts"
import type { NewExecution } from "./new-execution-store.ts"
import type { FrozenParts } from "./frozen-parts.ts"
import type { ParameterValues } from "../../parameters/parameter-values.ts"
import type { RunStrategy } from "./strategy-model.ts"

export type RollbackInclude = "failed" | "succeeded" | "all"

const failedStates = ["failed", "aborted", "interrupted"] as const
/** States of tasks that a rollback looks at. */
export const rollbackStatesOf: Readonly<Record<RollbackInclude, readonly string[]>> = {
  failed: failedStates,
  succeeded: ["succeeded"],
  all: [...failedStates, "succeeded"],
}

/** "automatic" is what an execution shows whose limit nobody gave. */
const givenOf = (limit: number | string): number | string | undefined => (limit === "automatic" ? undefined : limit)

export interface RollbackRequest {
  readonly id: string
  readonly account: string
  readonly of: {
    readonly id: string
    readonly workflowName: string
    readonly workflowVersion: number | null
  }
  /** JSON text. */
  readonly definition: string
  readonly parameters: ParameterValues
  readonly parts: FrozenParts
  readonly strategy: RunStrategy
  readonly targetsMax: number
  readonly targetsCount: number
  readonly include: RollbackInclude
  readonly concurrency: number | string
  readonly errorLimit: number | string
  readonly note: string | undefined
  readonly cause: string
  readonly causedBy: string
  readonly depth: number
  readonly createdBy: string
  readonly author?: string | undefined
  readonly scope?: string | undefined
}

const targetNames: Readonly<Record<RollbackInclude, string>> = {
  failed: "failed targets",
  succeeded: "succeeded targets",
  all: "targets",
}

export function newRollback(request: RollbackRequest): NewExecution {
  const { of, include, concurrency, errorLimit, targetsCount, strategy, definition, ...rest } = request
  const { failureDomain } = strategy
  return {
    ...rest,
    canonical: definition,
    workflowName: of.workflowName,
    workflowVersion: of.workflowVersion ?? undefined,
    // Rollbacks keep clear of one another as the tasks did; all else of the strategy is about going forward.
    strategy: { rollback: "never", ...(failureDomain === undefined ? {} : { failureDomain }) },
    targets: { follow: { kind: "rollback", execution: of.id, states: rollbackStatesOf[include] } },
    targetsText: `${targetNames[include]} of ${of.id}, the last first`,
    targetsCount,
    expectedDigest: undefined,
    ...chooseLimits({ concurrency: givenOf(concurrency), errorLimit: givenOf(errorLimit) }, targetsCount),
    ...initialCounts(targetsCount),
    retryOf: undefined,
    rollbackOf: of.id,
  }
}

export function initialCounts(targetsCount: number): { counts: TaskCounts; rollbacks: RollbackCounts } {
  const counts = Object.fromEntries(taskStates.map((state) => [state, 0])) as Record<keyof TaskCounts, number>
  const rollbacks = Object.fromEntries(rollbackStates.map((state) => [state, 0])) as Record<
    keyof RollbackCounts,
    number
  >
  return { counts: { ...counts, queued: targetsCount }, rollbacks: { ...rollbacks, none: targetsCount } }
}
