/**
 * The one mutable thing of a step: a copy of the state that the step's parts change, together with what they have to
 * tell. Every change of a slot goes through `put`, so counters, window, changed rows and the earliest deadline can't disagree.
 * Only the scheduler's own files use it, and it does not outlive the step.
 */
import { assert } from "@signalbox/kernel/assert"
import { advanceClock, wallTimeOf } from "./engine-clock.ts"
import { nextExecutionState, type ExecutionEvent } from "./execution-machine.ts"
import type { EnginePlan } from "./plan.ts"
import { DomainCounts } from "./failure-domains.ts"
import { isRollbackOpen } from "./rollback-machine.ts"
import { roomOf } from "./room.ts"
import { SlotTable } from "./slot-table.ts"
import { describeExecution } from "./summarize.ts"
import { isTaskEnded } from "./task-machine.ts"
import type {
  EngineClock,
  EngineCommand,
  EngineState,
  ExecutionChange,
  ExecutionState,
  FailureClass,
  Hold,
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
  readonly classes: Record<FailureClass, number>
  readonly domains: DomainCounts | null
  readonly changes: Map<number, TaskChange>
  readonly commands: EngineCommand[]
  readonly ignored: Ignored[]
  execution: ExecutionState
  stop: Stop | null
  width: number
  wave: number
  bakeUntil: number | null
  hold: Hold | null
  nextOrdinal: number
  nextDeadline: number
  neverStarted: NeverStarted | undefined
}

export function openDraft(base: EngineState, now: number): Draft {
  const { domains } = base
  const made = base.slots instanceof SlotTable && (domains === null || domains instanceof DomainCounts)
  assert(made, "a state is made by newState, recoverState or step")
  return {
    base,
    plan: base.plan,
    clock: advanceClock(base.clock, now, base.nextDeadline),
    slots: base.slots.fork(),
    counts: { ...base.counts },
    rollbacks: { ...base.rollbacks },
    classes: { ...base.classes },
    domains: domains?.fork() ?? null,
    changes: new Map(),
    commands: [],
    ignored: [],
    execution: base.execution,
    stop: base.stop,
    width: base.width,
    wave: base.wave,
    bakeUntil: base.bakeUntil,
    hold: base.hold,
    nextOrdinal: base.nextOrdinal,
    nextDeadline: base.nextDeadline,
    neverStarted: undefined,
  }
}

/** Whether this task keeps its slot: not ended, or on its way back (a node being rolled back is not available). */
function holdsSlot(slot: Slot): boolean {
  return !isTaskEnded(slot.state) || isRollbackOpen(slot.rollback)
}

function countClass(draft: Draft, slot: Slot, change: 1 | -1): void {
  if (slot.class !== null && isTaskEnded(slot.state)) draft.classes[slot.class] += change
}

/** The domain of a target; -1 where it has none. */
export function domainOf(plan: EnginePlan, ordinal: number): number {
  return plan.domains?.[ordinal] ?? -1
}

/** Replaces a slot; the only way a task changes. */
export function put(draft: Draft, before: Slot, after: Slot): void {
  if (before.state !== after.state) {
    draft.counts[before.state] -= 1
    draft.counts[after.state] += 1
    countClass(draft, before, -1)
    countClass(draft, after, 1)
  }
  if (before.rollback !== after.rollback) {
    draft.rollbacks[before.rollback] -= 1
    draft.rollbacks[after.rollback] += 1
  }
  const held = draft.slots.size
  if (holdsSlot(after)) {
    draft.slots.set(after)
    if (after.deadline < draft.nextDeadline) draft.nextDeadline = after.deadline
  } else {
    draft.slots.delete(after.ordinal)
  }
  const { ordinal, state, rollback, attempt } = after
  if (draft.slots.size !== held) {
    draft.domains?.add(domainOf(draft.plan, ordinal), draft.slots.size > held ? 1 : -1)
  }
  if (state === before.state && rollback === before.rollback && attempt === before.attempt) return
  draft.changes.set(ordinal, { ordinal, state, rollback, attempt, class: after.class })
}

export function moveExecution(draft: Draft, event: ExecutionEvent): boolean {
  const next = nextExecutionState(draft.execution, event)
  if (next === undefined) return false
  draft.execution = next
  return true
}

/** The next time at which something is due: a slot's deadline, or the end of a bake that a start waits for. */
function dueAt(draft: Draft): number {
  if (draft.slots.size > 0) return draft.nextDeadline
  const { bakeUntil, execution, hold, clock } = draft
  const bakes = bakeUntil !== null && bakeUntil > clock.time && execution === "running" && hold === null
  return bakes ? bakeUntil : Number.POSITIVE_INFINITY
}

/** The execution's row where something of it changed. */
function changeOf(base: EngineState, state: EngineState): ExecutionChange | undefined {
  const { execution, stop, width, wave, hold, clock } = state
  const same =
    execution === base.execution &&
    stop === base.stop &&
    width === base.width &&
    wave === base.wave &&
    state.bakeUntil === base.bakeUntil &&
    hold === base.hold
  if (same) return undefined
  const bakeUntil = state.bakeUntil === null ? null : wallTimeOf(clock, state.bakeUntil)
  return { state: execution, stop, reason: describeExecution(state), width, wave, bakeUntil, hold }
}

export function closeDraft(draft: Draft): StepResult {
  const state: EngineState = {
    plan: draft.plan,
    execution: draft.execution,
    stop: draft.stop,
    width: draft.width,
    wave: draft.wave,
    bakeUntil: draft.bakeUntil,
    hold: draft.hold,
    nextOrdinal: draft.nextOrdinal,
    slots: draft.slots,
    counts: draft.counts,
    rollbacks: draft.rollbacks,
    classes: draft.classes,
    domains: draft.domains,
    clock: draft.clock,
    patientUntil: draft.base.patientUntil,
    nextDeadline: dueAt(draft),
  }
  // Room that is left was not used because a step starts no more at once: the next one is due now.
  const wakeAt = roomOf(state).room > 0 ? state.clock.wall : wallTimeOf(state.clock, state.nextDeadline)
  const execution = changeOf(draft.base, state)
  return {
    state,
    taskChanges: [...draft.changes.values()],
    commands: draft.commands,
    ignored: draft.ignored,
    ...(draft.neverStarted && { neverStarted: draft.neverStarted }),
    ...(execution && { execution }),
    ...(Number.isFinite(wakeAt) && { wakeAt }),
  }
}
