/** The decisions of executions that need neither the database nor the engine's state. Pure. */
import type { EnginePlan } from "@signalbox/engine/plan"
import { isExecutionEnded } from "@signalbox/engine/execution-machine"
import type { ExecutionState, Stop, TaskState, Wish } from "@signalbox/engine/types"
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import { AppError } from "@signalbox/kernel/app-error"
import { getDuration } from "@signalbox/kernel/duration"
import { approvalWaitsOf } from "./approval-ask.ts"
import { paceOf, stopOf, type RunStrategy } from "./strategy-model.ts"

/** Targets that a run may touch where it names no number of its own (D16). */
export const blastRadiusDefault = 100
/** What the engine waits for an agent's word beyond the agent's own timeout. */
export const graceMilliseconds = 10_000
/** Agents that found no server for a while look for one again within half a minute, and need some time to connect. */
export const reconnectMilliseconds = 40_000
const rollbackTimeoutMillisecondsMin = 600_000

/** What of a run the engine's plan follows from, beside its targets. */
export interface RunShape {
  readonly executionId: string
  readonly document: WorkflowDocument
  readonly strategy: RunStrategy
  /** The tasks are rollbacks of another execution's. */
  readonly isRollback: boolean
}

export function enginePlanOf(
  { executionId, document, strategy, isRollback }: RunShape,
  limits: Pick<EnginePlan, "targetsCount" | "width" | "errorsMax" | "domains">,
): EnginePlan {
  const { targetsCount, width, errorsMax, domains } = limits
  const workMilliseconds = Math.max(1, getDuration(document.timeout))
  const taskTimeoutMilliseconds = workMilliseconds + approvalWaitsOf(document)
  const rollbackTimeoutMilliseconds = Math.max(rollbackTimeoutMillisecondsMin, workMilliseconds)
  const fixed = {
    targetsCount,
    width,
    errorsMax,
    ...(domains && { domains }),
    startTimeoutMilliseconds: Math.max(1, getDuration(document.startTimeout)),
    rollbackTimeoutMilliseconds,
    graceMilliseconds,
    reconnectMilliseconds,
  }
  if (isRollback) {
    const once = { attemptsMax: 1, retryDelayMilliseconds: 0, rollbackOnFailure: false }
    return { ...fixed, ...once, taskTimeoutMilliseconds: rollbackTimeoutMilliseconds, countUnreachable: true }
  }
  return {
    ...fixed,
    ...paceOf(strategy, targetsCount),
    ...stopOf(strategy),
    ...retriesOf(document, executionId),
    rollbackOnFailure: strategy.rollback !== "never",
    taskTimeoutMilliseconds,
  }
}

function retriesOf({ retry }: WorkflowDocument, executionId: string) {
  return {
    attemptsMax: retry?.attempts ?? 1,
    retryDelayMilliseconds: getDuration(retry?.delay ?? "0s"),
    ...(retry && {
      retryBackoffFactor: retry.backoff,
      retryDelayMillisecondsMax: getDuration(retry.delayMax),
      retryJitterThousandths: Math.round(retry.jitter * 1000),
      seed: seedOf(executionId),
    }),
  }
}

/** Any number that is the same for the same execution (FNV-1a). */
function seedOf(text: string): number {
  let seed = 0x811c9dc5
  for (let index = 0; index < text.length; index++) seed = Math.imul(seed ^ text.charCodeAt(index), 0x01000193)
  return seed
}

export type Control = "pause" | "resume" | "abort-finish" | "abort-kill"

const wishOf = { pause: "pause", resume: "run", "abort-finish": "abort-finish", "abort-kill": "abort-kill" } as const

/**
 * What a person's call makes of the wish; undefined where it is so already.
 *
 * @throws executions.finished, executions.invalid-transition
 */
export function decideWish(
  execution: { readonly id: string; readonly state: ExecutionState; readonly wish: Wish; readonly stop: Stop | null },
  control: Control,
): Wish | undefined {
  const { id, state, wish, stop } = execution
  if (isExecutionEnded(state)) throw new AppError("executions.finished", `execution ${id} has ended: ${state}`)
  const stopping = state === "aborting" || wish === "abort-finish" || wish === "abort-kill"
  if (stopping && (control === "pause" || control === "resume"))
    throw new AppError("executions.invalid-transition", `execution ${id} is being stopped and can't ${control}`)
  if (control === "abort-finish") return stopping ? undefined : "abort-finish"
  if (control === "abort-kill") return stop?.mode === "kill" || wish === "abort-kill" ? undefined : "abort-kill"
  const wanted = wishOf[control]
  return wanted === wish ? undefined : wanted
}

/** Whether the number in flight can still be changed. @throws executions.finished, executions.invalid-transition */
export function checkResizable({ id, state, wish }: { id: string; state: ExecutionState; wish: Wish }): void {
  if (isExecutionEnded(state)) throw new AppError("executions.finished", `execution ${id} has ended: ${state}`)
  if (state === "aborting" || wish.startsWith("abort"))
    throw new AppError("executions.invalid-transition", `execution ${id} is being stopped: nothing starts any more`)
}

/** What is said of a task that the engine ended without a word of the node. */
export function describeEnd(state: TaskState, failureClass: string | null): string | undefined {
  if (state === "unreachable") return "the node took no order within the start timeout"
  if (state === "interrupted" && failureClass === "timeout") return "no word of the node within the task's timeout"
  return undefined
}

/** Targets for people. @example describeTargets({ query: "role=web" }) // "role=web" */
export function describeTargets(targets: {
  readonly nodes?: readonly string[] | undefined
  readonly query?: string | undefined
  readonly group?: string | undefined
}): string {
  if (targets.nodes) return targets.nodes.length === 1 ? `node ${targets.nodes[0]}` : `${targets.nodes.length} nodes`
  if (targets.query !== undefined) return targets.query
  return targets.group === undefined ? "all nodes" : `group ${targets.group}`
}
