import { assert } from "@signalbox/kernel/assert"
import { closeDraft, moveExecution, openDraft, type Draft } from "./draft.ts"
import { newClock } from "./engine-clock.ts"
import { isExecutionEnded } from "./execution-machine.ts"
import { checkPlan, type EnginePlan } from "./plan.ts"
import { rollbackStates } from "./rollback-machine.ts"
import { SlotTable } from "./slot-table.ts"
import { endedWell } from "./summarize.ts"
import { taskStates } from "./task-machine.ts"
import { applyAbortMode, applyTaskInput, expireDeadlines, startAttempt, stopRun } from "./task-steps.ts"
import type {
  AbortMode,
  EngineInput,
  EngineState,
  IgnoredWhy,
  RollbackState,
  Slot,
  StepResult,
  TaskState,
} from "./types.ts"

/** More starts than this wait for the next step, which `wakeAt` then asks for at once. */
export const startsPerStepMax = 1000
/** Inputs of one step; the caller gathers no more than this into a batch. */
export const inputsPerStepMax = 10_000

/** A new execution in `planning`, which the input `planned` sets off. `now` is wall-clock milliseconds. */
export function newState(plan: EnginePlan, now: number): EngineState {
  checkPlan(plan)
  const counts = Object.fromEntries(taskStates.map((name) => [name, 0])) as Record<TaskState, number>
  const rollbacks = Object.fromEntries(rollbackStates.map((name) => [name, 0])) as Record<RollbackState, number>
  counts.queued = plan.targetsCount
  rollbacks.none = plan.targetsCount
  return {
    plan,
    execution: "planning",
    stop: null,
    nextOrdinal: 0,
    slots: new SlotTable(),
    counts,
    rollbacks,
    clock: newClock(now),
    nextDeadline: Number.POSITIVE_INFINITY,
  }
}

/**
 * The scheduler: applies `inputs` in order at wall-clock `now` (milliseconds) and says what to store, what to send and
 * when to call again. Pure: `state` is untouched, so a step whose commit failed is simply forgotten. Deadlines are
 * looked at after the inputs, so a report that has arrived always wins over its timeout. Costs inputs + width.
 *
 * @example
 * const { state, commands } = step(newState(plan, now), [{ type: "planned" }], now)
 */
export function step(state: EngineState, inputs: readonly EngineInput[], now: number): StepResult {
  assert(inputs.length <= inputsPerStepMax, `a step takes at most ${inputsPerStepMax} inputs`)
  const draft = openDraft(state, now)
  for (const input of inputs) {
    const why = applyInput(draft, input)
    if (why !== undefined) draft.ignored.push({ input, why })
  }
  expireDeadlines(draft)
  startMore(draft)
  settle(draft)
  return closeDraft(draft)
}

function applyInput(draft: Draft, input: EngineInput): IgnoredWhy | undefined {
  switch (input.type) {
    case "tick":
      return undefined
    case "abort":
      return abort(draft, input.mode)
    case "planned":
    case "pause":
    case "resume":
      return moveExecution(draft, input.type) ? undefined : "execution-state"
    default:
      return applyTaskInput(draft, input)
  }
}

/** A person's abort. While the run is stopping already it can only make the mode harsher. */
function abort(draft: Draft, mode: AbortMode): IgnoredWhy | undefined {
  if (isExecutionEnded(draft.execution)) return "execution-state"
  if (draft.execution !== "aborting") {
    stopRun(draft, { by: "person", mode })
    return undefined
  }
  if (draft.stop?.mode === "kill" || mode === "finish") return "repeated"
  assert(draft.stop, "an execution that is aborting has a stop")
  draft.stop = { ...draft.stop, mode }
  applyAbortMode(draft, mode)
  return undefined
}

/** How many targets may start now. The place for ramp, waves and the strict bound. */
function roomOf(draft: Draft): number {
  if (draft.execution !== "running") return 0
  const { plan, slots, nextOrdinal } = draft
  return Math.min(plan.width - slots.size, plan.targetsCount - nextOrdinal, startsPerStepMax)
}

function startMore(draft: Draft): void {
  const last = draft.nextOrdinal + roomOf(draft)
  while (draft.nextOrdinal < last) {
    startAttempt(draft, newSlot(draft.nextOrdinal))
    draft.nextOrdinal += 1
  }
}

function newSlot(ordinal: number): Slot {
  return {
    ordinal,
    attempt: 0,
    state: "queued",
    rollback: "none",
    class: null,
    accepted: false,
    touched: false,
    killSent: false,
    deadline: Number.POSITIVE_INFINITY,
  }
}

/** Moves the execution on once no slot is held. */
function settle(draft: Draft): void {
  if (draft.slots.size > 0) return
  if (draft.execution === "aborting") {
    moveExecution(draft, draft.stop?.by === "error-limit" ? "settle-by-itself" : "settle-by-person")
  } else if (draft.execution === "running" || draft.execution === "pausing") {
    const ended = draft.nextOrdinal === draft.plan.targetsCount
    if (ended) moveExecution(draft, endedWell(draft.counts) ? "end-well" : "end-badly")
    else moveExecution(draft, "drain")
  }
}
