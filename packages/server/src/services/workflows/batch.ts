/** Makes the batch that a commit writes from what a step decided. Pure. */
import { isExecutionEnded } from "@signalbox/engine/execution-machine"
import { describeExecution } from "@signalbox/engine/summarize"
import { isTaskEnded } from "@signalbox/engine/task-machine"
import { toInstant } from "@signalbox/kernel/clock"
import type { EngineState, ExecutionState, StepResult, TaskChange } from "@signalbox/engine/types"
import type { Batch, BatchEvent, TaskUpdate } from "./batch-store.ts"
import type { ClaimedExecution } from "./claimed-execution.ts"
import { describeEnd } from "./model.ts"
import { progressOf, progressType } from "./progress-event.ts"
import type { QueuedInput } from "./report-queue.ts"

export interface BatchInput {
  /** The state before the step; undefined where this is the first after a recovery or the plan. */
  readonly before: EngineState | undefined
  readonly result: StepResult
  readonly inputs: readonly QueuedInput[]
  readonly now: number
  /** When the task's first order was sent, where it is known. */
  sentAt(ordinal: number): number | undefined
  /** Notes that the task gets a row; true where it has none yet. */
  takesFirstRow(ordinal: number): boolean
  newEventId(): string
  /** Whose run it is, for those who are told of it. */
  readonly run: RunFacts
}

export type RunFacts = Pick<
  ClaimedExecution,
  "workflowName" | "workflowVersion" | "createdBy" | "wishBy" | "retryOf" | "rollbackOf"
>

const messageLengthMax = 2000

/** Undefined where the step changed nothing that is kept. */
export function makeBatch(input: BatchInput): Batch | undefined {
  const { before, result } = input
  const { state } = result
  const firstFrom = before?.nextOrdinal ?? state.nextOrdinal
  const written = result.taskChanges.filter((change) => !isFirstStart(change, firstFrom))
  const started = { from: firstFrom, to: state.nextOrdinal }
  const changed = written.length > 0 || started.to > started.from
  if (!changed && !result.execution && !result.neverStarted && before) return undefined
  const ended = isExecutionEnded(state.execution)
  const reported = reportsOf(input)
  const progress = progressOf(written, started)
  const events: BatchEvent[] = [
    ...(progress ? [{ type: progressType, data: progress }] : []),
    ...transitionEvents(before, result, input.run),
  ].map((event) => ({ ...event, id: input.newEventId() }))
  return {
    state: state.execution,
    stop: state.stop,
    reason: state.stop || ended ? describeExecution(state) : null,
    ended,
    nextOrdinal: state.nextOrdinal,
    inFlight: state.slots.size,
    counts: state.counts,
    rollbacks: state.rollbacks,
    classes: state.classes,
    pace: result.execution,
    tasks: written.map((change) => toUpdate(change, reported, input)),
    events,
    blobs: [...reported.values()].flatMap(({ task, rollback }) => [task?.blob ?? [], rollback?.blob ?? []].flat()),
  }
}

/** The first attempt of a task: `next_ordinal` says it, so its row need not be written. */
function isFirstStart(change: TaskChange, firstFrom: number): boolean {
  return change.ordinal >= firstFrom && change.state === "starting" && change.attempt === 1
}

interface Reported {
  task?: QueuedInput
  rollback?: QueuedInput
}

/** The finished reports that the step took in, by ordinal. */
function reportsOf({ inputs, result }: BatchInput): ReadonlyMap<number, Reported> {
  const ignored = new Set(result.ignored.map(({ input }) => input))
  const reported = new Map<number, Reported>()
  for (const item of inputs) {
    const { input } = item
    if (input.type !== "task-finished" && input.type !== "rollback-finished") continue
    if (ignored.has(input)) continue
    const entry = reported.get(input.ordinal) ?? {}
    entry[input.type === "task-finished" ? "task" : "rollback"] = item
    reported.set(input.ordinal, entry)
  }
  return reported
}

function toUpdate(change: TaskChange, reported: ReadonlyMap<number, Reported>, at: BatchInput): TaskUpdate {
  const { ordinal, state, rollback, attempt } = change
  const report = reported.get(ordinal)
  const message = report?.task?.message ?? describeEnd(state, change.class)
  const { outcome = null, rollbackOutcome } = report?.task ?? {}
  const startedAt = state === "running" ? at.now : (outcome ?? rollbackOutcome) ? at.sentAt(ordinal) : undefined
  return {
    ordinal,
    first: at.takesFirstRow(ordinal),
    state,
    rollback,
    attempt,
    class: change.class,
    message: message === undefined ? null : cleanText(message),
    startedAt: startedAt ?? null,
    ended: isTaskEnded(state),
    outcome,
    rollbackOutcome: report?.rollback?.outcome ?? rollbackOutcome ?? null,
  }
}

/** PostgreSQL keeps neither NUL nor half a surrogate pair in a text. */
function cleanText(text: string): string {
  return text.slice(0, messageLengthMax).replaceAll("\0", "\uFFFD").toWellFormed()
}

const eventOfState: Partial<Record<ExecutionState, string>> = {
  paused: "execution.paused",
  succeeded: "execution.succeeded",
  incomplete: "execution.incomplete",
  failed: "execution.failed",
  aborted: "execution.aborted",
}

function transitionEvents(
  before: EngineState | undefined,
  result: StepResult,
  run: RunFacts,
): Array<{ type: string; data: object }> {
  if (!result.execution) return []
  const { state, stop, reason, width, wave, bakeUntil, hold } = result.execution
  const { counts, rollbacks, classes } = result.state
  const was = before?.execution
  const types: string[] = []
  if (was === "planning" && state !== "aborting" && state !== "aborted") types.push("execution.started")
  if (state === "running" && (was === "paused" || was === "pausing")) types.push("execution.resumed")
  if (before && !isExecutionEnded(state)) types.push(...paceEvents(before, result.execution, result.state))
  if (stop && stop.by !== "person" && !before?.stop) types.push("execution.tripped")
  const reached = state === was ? undefined : eventOfState[state]
  if (reached !== undefined) types.push(reached)
  const data = {
    execution: state,
    reason,
    counts,
    rollbacks,
    classes,
    width,
    wave,
    ...(bakeUntil === null ? {} : { bakeUntil: toInstant(bakeUntil) }),
    ...(hold ? { hold: hold.reason } : {}),
    ...factsOf(run),
    ...(stop ? { stoppedBy: stop.by === "person" ? (run.wishBy ?? "person") : stop.by } : {}),
  }
  return types.map((type) => ({ type, data }))
}

function paceEvents(before: EngineState, change: NonNullable<StepResult["execution"]>, state: EngineState): string[] {
  const types: string[] = []
  if (change.width !== before.width) types.push("execution.resized")
  if (change.hold !== before.hold) types.push(change.hold ? "execution.held" : "execution.released")
  if (state.bakeUntil !== null && before.bakeUntil === null && (state.plan.bakeMilliseconds ?? 0) > 0)
    types.push("execution.baking")
  return types
}

function factsOf({ workflowName, workflowVersion, createdBy, retryOf, rollbackOf }: RunFacts): object {
  return {
    workflow: workflowName,
    ...(workflowVersion === null ? {} : { version: workflowVersion }),
    createdBy,
    ...(retryOf === null ? {} : { retryOf }),
    ...(rollbackOf === null ? {} : { rollbackOf }),
  }
}
