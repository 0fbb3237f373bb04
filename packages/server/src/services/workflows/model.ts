/** The decisions of executions that need neither the database nor the engine's state. Pure. */
import type { EnginePlan } from "@signalbox/engine/plan"
import { resolveErrorsMax, resolveWidth, selfSizedLimits, type Limit } from "@signalbox/engine/limits"
import { isExecutionEnded } from "@signalbox/engine/execution-machine"
import type { ExecutionState, Stop, TaskState, Wish } from "@signalbox/engine/types"
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import { AppError } from "@signalbox/kernel/app-error"
import { getDuration } from "@signalbox/kernel/duration"

/** Targets that a run may touch where it names no number of its own (D16). */
export const blastRadiusDefault = 100
/** What the engine waits for an agent's word beyond the agent's own timeout. */
export const graceMilliseconds = 10_000
const rollbackTimeoutMillisecondsMin = 600_000

/** `7`, `"7"` and `"25%"` as the engine takes them. */
export function toLimit(given: number | string): Limit {
  return typeof given === "string" && given.endsWith("%") ? (given as `${string}%`) : Number(given)
}

export interface LimitChoice {
  readonly concurrency: string
  readonly errorLimit: string
  readonly width: number
  readonly errorsMax: number
}

interface LimitsGiven {
  readonly concurrency?: number | string | undefined
  readonly errorLimit?: number | string | undefined
}

/** The run's own limits, else the workflow's, else by the number of targets (W4, W5, W11). */
export function chooseLimits(run: LimitsGiven, workflow: LimitsGiven, targetsCount: number): LimitChoice {
  const sized = selfSizedLimits(targetsCount)
  const concurrency = run.concurrency ?? workflow.concurrency
  const errorLimit = run.errorLimit ?? workflow.errorLimit
  return {
    concurrency: concurrency === undefined ? automatic : String(concurrency),
    errorLimit: errorLimit === undefined ? automatic : String(errorLimit),
    width: concurrency === undefined ? sized.width : resolveWidth(toLimit(concurrency), targetsCount),
    errorsMax: errorLimit === undefined ? sized.errorsMax : resolveErrorsMax(toLimit(errorLimit), targetsCount),
  }
}

const automatic = "automatic"

/** The same choice again from the texts that are stored, for the number of targets that the plan found. */
export function resolveStoredLimits(
  stored: { readonly concurrency: string; readonly errorLimit: string },
  targetsCount: number,
): LimitChoice {
  const given = {
    concurrency: stored.concurrency === automatic ? undefined : stored.concurrency,
    errorLimit: stored.errorLimit === automatic ? undefined : stored.errorLimit,
  }
  return chooseLimits(given, {}, targetsCount)
}

export function enginePlanOf(
  document: WorkflowDocument,
  limits: { readonly targetsCount: number; readonly width: number; readonly errorsMax: number },
): EnginePlan {
  const undoable = document.save.length > 0 || document.steps.some((step) => step.undo !== undefined)
  const rollback = document.rollback ?? (undoable ? "on-failure" : "never")
  const taskTimeoutMilliseconds = Math.max(1, getDuration(document.timeout))
  return {
    ...limits,
    attemptsMax: document.retry?.attempts ?? 1,
    retryDelayMilliseconds: getDuration(document.retry?.delay ?? "0s"),
    rollbackOnFailure: rollback !== "never",
    startTimeoutMilliseconds: Math.max(1, getDuration(document.startTimeout)),
    taskTimeoutMilliseconds,
    rollbackTimeoutMilliseconds: Math.max(rollbackTimeoutMillisecondsMin, taskTimeoutMilliseconds),
    graceMilliseconds,
    countUnreachable: true,
  }
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
