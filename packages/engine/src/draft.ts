/**
 * The one mutable thing of a step: a copy of the state that the step's parts change, together with what they have to
 * tell. Every change of a slot goes through `put`, so counters, window, changed rows and the earliest deadline can't disagree.
 * Only the scheduler's own files use it, and it does not outlive the step.
 */
import { assert } from "@signalbox/kernel/assert"
import { advanceClock, wallTimeOf } from "./engine-clock.ts"
import { nextExecutionState, type ExecutionEvent } from "./execution-machine.ts"
import type { EnginePlan } from "./plan.ts"
import { isRollbackOpen } from "./rollback-machine.ts"
import { SlotTable } from "./slot-table.ts"
import { describeExecution } from "./summarize.ts"
import { isTaskEnded } from "./task-machine.ts"
import type {
  EngineClock,
  EngineCommand,
  EngineState,
  ExecutionState,
  Ignored,
  NeverStarted,
  RollbackState,
  Slot,
  StepResult,
  Stop,
  TaskChange,
  TaskState,
} from "./types.ts"

export interface Draft {
  readonly base: EngineState
  readonly plan: EnginePlan
  readonly clock: EngineClock
  readonly slots: SlotTable
  readonly counts: Record<TaskState, number>
  readonly rollbacks: Record<RollbackState, number>
  readonly changes: Map<number, TaskChange>
  readonly commands: EngineCommand[]
  readonly ignored: Ignored[]
  execution: ExecutionState
  stop: Stop | null
  nextOrdinal: number
  nextDeadline: number
  neverStarted: NeverStarted | undefined
}

export function openDraft(base: EngineState, now: number): Draft {
  assert(base.slots instanceof SlotTable, "a state is made by newState, recoverState or step")
  return {
    base,
    plan: base.plan,
    clock: advanceClock(base.clock, now, base.nextDeadline),
    slots: base.slots.fork(),
    counts: { ...base.counts },
    rollbacks: { ...base.rollbacks },
    changes: new Map(),
    commands: [],
    ignored: [],
    execution: base.execution,
    stop: base.stop,
    nextOrdinal: base.nextOrdinal,
    nextDeadline: base.nextDeadline,
    neverStarted: undefined,
  }
}

/** Whether this task keeps its slot: not ended, or on its way back (a node being rolled back is not available). */
function holdsSlot(slot: Slot): boolean {
  return !isTaskEnded(slot.state) || isRollbackOpen(slot.rollback)
}

/** Replaces a slot; the only way a task changes. */
export function put(draft: Draft, before: Slot, after: Slot): void {
  if (before.state !== after.state) {
    draft.counts[before.state] -= 1
    draft.counts[after.state] += 1
  }
  if (before.rollback !== after.rollback) {
    draft.rollbacks[before.rollback] -= 1
    draft.rollbacks[after.rollback] += 1
  }
  if (holdsSlot(after)) {
    draft.slots.set(after)
    if (after.deadline < draft.nextDeadline) draft.nextDeadline = after.deadline
  } else {
    draft.slots.delete(after.ordinal)
  }
  const { ordinal, state, rollback, attempt } = after
  if (state === before.state && rollback === before.rollback && attempt === before.attempt) return
  draft.changes.set(ordinal, { ordinal, state, rollback, attempt, class: after.class })
}

export function moveExecution(draft: Draft, event: ExecutionEvent): boolean {
  const next = nextExecutionState(draft.execution, event)
  if (next === undefined) return false
  draft.execution = next
  return true
}

/** Whether room is left for a start that this step did not use. */
function hasRoomLeft(draft: Draft): boolean {
  return (
    draft.execution === "running" && draft.nextOrdinal < draft.plan.targetsCount && draft.slots.size < draft.plan.width
  )
}

export function closeDraft(draft: Draft): StepResult {
  const nextDeadline = draft.slots.size === 0 ? Number.POSITIVE_INFINITY : draft.nextDeadline
  const state: EngineState = {
    plan: draft.plan,
    execution: draft.execution,
    stop: draft.stop,
    nextOrdinal: draft.nextOrdinal,
    slots: draft.slots,
    counts: draft.counts,
    rollbacks: draft.rollbacks,
    clock: draft.clock,
    nextDeadline,
  }
  const wakeAt = hasRoomLeft(draft) ? draft.clock.wall : wallTimeOf(draft.clock, nextDeadline)
  const executionChanged = draft.execution !== draft.base.execution || draft.stop !== draft.base.stop
  return {
    state,
    taskChanges: [...draft.changes.values()],
    commands: draft.commands,
    ignored: draft.ignored,
    ...(draft.neverStarted && { neverStarted: draft.neverStarted }),
    ...(executionChanged && {
      execution: { state: draft.execution, stop: draft.stop, reason: describeExecution(state) },
    }),
    ...(Number.isFinite(wakeAt) && { wakeAt }),
  }
}
