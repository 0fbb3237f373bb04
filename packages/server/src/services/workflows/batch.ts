/** Makes the batch that a commit writes from what a step decided. Pure. */
import { isExecutionEnded } from "@signalbox/engine/execution-machine"
import { describeExecution } from "@signalbox/engine/summarize"
import { isTaskEnded } from "@signalbox/engine/task-machine"
import type { EngineState, ExecutionState, StepResult, TaskChange } from "@signalbox/engine/types"
import type { Batch, BatchEvent, TaskUpdate } from "./batch-store.ts"
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
}

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
    ...transitionEvents(before, result),
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
    tasks: written.map((change) => toUpdate(change, reported, input)),
    events,
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
  const startedAt = state === "running" ? at.now : report?.task?.outcome ? at.sentAt(ordinal) : undefined
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
    outcome: report?.task?.outcome ?? null,
    rollbackOutcome: report?.rollback?.outcome ?? null,
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

function transitionEvents(before: EngineState | undefined, result: StepResult): Array<{ type: string; data: object }> {
  if (!result.execution) return []
  const { state, stop, reason } = result.execution
  const { counts, rollbacks } = result.state
  const data = { execution: state, reason, counts, rollbacks }
  const types: string[] = []
  const was = before?.execution
  if (was === "planning" && state !== "aborting" && state !== "aborted") types.push("execution.started")
  if (state === "running" && (was === "paused" || was === "pausing")) types.push("execution.resumed")
  if (stop?.by === "error-limit" && !before?.stop) types.push("execution.tripped")
  const reached = state === was ? undefined : eventOfState[state]
  if (reached !== undefined) types.push(reached)
  return types.map((type) => ({ type, data }))
}
