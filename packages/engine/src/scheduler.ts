import { assert } from "@signalbox/kernel/assert"
import { closeDraft, moveExecution, openDraft, type Draft } from "./draft.ts"
import { newClock } from "./engine-clock.ts"
import { isExecutionEnded } from "./execution-machine.ts"
import { DomainCounts } from "./failure-domains.ts"
import { checkPlan, targetsCountMax, type EnginePlan } from "./plan.ts"
import { rollbackStates } from "./rollback-machine.ts"
import { isAtWaveEnd, hasDomainRoom, roomOf } from "./room.ts"
import { noClasses } from "./run-counts.ts"
import { SlotTable } from "./slot-table.ts"
import { findConditionStop, findUnavailableStop, stopMessageLengthMax } from "./stop-criteria.ts"
import { endedWell } from "./summarize.ts"
import { taskStates } from "./task-machine.ts"
import {
  applyAbortMode,
  applyTaskInput,
  expireDeadlines,
  startAttempt,
  startRetries,
  stopByItself,
  stopRun,
} from "./task-steps.ts"
import type {
  AbortMode,
  EngineInput,
  EngineState,
  Hold,
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
  const clock = newClock(now)
  counts.queued = plan.targetsCount
  rollbacks.none = plan.targetsCount
  return {
    plan,
    execution: "planning",
    stop: null,
    width: plan.width,
    wave: 1,
    bakeUntil: null,
    hold: null,
    nextOrdinal: 0,
    slots: new SlotTable(),
    counts,
    rollbacks,
    classes: noClasses,
    domains: plan.domains ? new DomainCounts() : null,
    clock,
    patientUntil: clock.time,
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
  if (draft.execution === "running" || draft.execution === "pausing") stopByItself(draft, findConditionStop(draft))
  startRetries(draft)
  endWave(draft)
  startMore(draft)
  stopByItself(draft, findUnavailableStop(draft))
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
    case "set-width":
      return setWidth(draft, input.width)
    case "hold-starts":
      return setHold(draft, { reason: input.reason, until: input.until ?? null })
    case "release-starts":
      return setHold(draft, null)
    case "health":
      return judgeHealth(draft, input)
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

/** Whether nothing will start any more, so that its pace can't change. */
function isOver(draft: Draft): boolean {
  return draft.execution === "aborting" || isExecutionEnded(draft.execution)
}

function setWidth(draft: Draft, width: number): IgnoredWhy | undefined {
  if (isOver(draft)) return "execution-state"
  if (!Number.isInteger(width) || width < 1 || width > targetsCountMax) return "out-of-range"
  if (width === draft.width) return "repeated"
  draft.width = width
  return undefined
}

function setHold(draft: Draft, hold: Hold | null): IgnoredWhy | undefined {
  if (isOver(draft)) return "execution-state"
  if (hold?.reason === draft.hold?.reason && hold?.until === draft.hold?.until) return "repeated"
  draft.hold = hold
  return undefined
}

function judgeHealth(draft: Draft, { ok, message }: { ok: boolean; message: string }): IgnoredWhy | undefined {
  if (isOver(draft)) return "execution-state"
  if (!ok) stopByItself(draft, { by: "health", message: message.slice(0, stopMessageLengthMax) })
  return undefined
}

/** Once every task of a wave has ended, rollbacks too, it bakes; in a pause as well. */
function endWave(draft: Draft): void {
  const { execution, slots, clock, plan } = draft
  if (execution !== "running" && execution !== "pausing" && execution !== "paused") return
  if (draft.bakeUntil !== null || slots.size > 0 || !isAtWaveEnd(draft)) return
  draft.bakeUntil = clock.time + (plan.bakeMilliseconds ?? 0)
}

function startMore(draft: Draft): void {
  const last = draft.nextOrdinal + Math.min(roomOf(draft).room, startsPerStepMax)
  if (draft.nextOrdinal < last && isAtWaveEnd(draft)) {
    draft.wave += 1
    draft.bakeUntil = null
  }
  while (draft.nextOrdinal < last && hasDomainRoom(draft, draft.nextOrdinal)) {
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
    moveExecution(draft, draft.stop?.by === "person" ? "settle-by-person" : "settle-by-itself")
  } else if (draft.execution === "running" || draft.execution === "pausing") {
    const ended = draft.nextOrdinal === draft.plan.targetsCount
    if (ended) moveExecution(draft, endedWell(draft.counts) ? "end-well" : "end-badly")
    else moveExecution(draft, "drain")
  }
}
