/** What happens to single tasks within a step: reports, deadlines, kills. Only the scheduler calls these. */
import { assert } from "@signalbox/kernel/assert"
import { moveExecution, put, type Draft } from "./draft.ts"
import { isRollbackOpen, nextRollbackState, type RollbackEvent } from "./rollback-machine.ts"
import { retryDelayOf } from "./retry-delay.ts"
import { findFailureStop } from "./stop-criteria.ts"
import { isTaskEnded, nextTaskState, type TaskEvent } from "./task-machine.ts"
import type {
  AbortMode,
  EngineInput,
  FailureClass,
  IgnoredWhy,
  KillReason,
  RollbackOutcome,
  Slot,
  Stop,
  StopCause,
  TaskOutcome,
  TaskState,
} from "./types.ts"

export type TaskInput = Extract<EngineInput, { ordinal: number }>

const taskEvents: Readonly<Record<TaskOutcome["state"], TaskEvent>> = {
  succeeded: "succeed",
  failed: "fail",
  interrupted: "interrupt",
  aborted: "abort",
  skipped: "skip",
  unreachable: "unreach",
}

/** The class of an outcome that names none; null where the outcome is no failure of its own. */
const usualClasses: Readonly<Record<TaskOutcome["state"], FailureClass | null>> = {
  succeeded: null,
  failed: "command",
  interrupted: "interrupted",
  aborted: null,
  skipped: null,
  unreachable: "unreachable",
}

const rollbackEvents: Readonly<Record<RollbackOutcome, RollbackEvent>> = {
  "rolled-back": "restored",
  "rollback-failed": "break",
  "not-reversible": "refuse",
  unknown: "lose",
}

function runDeadline(draft: Draft): number {
  return draft.clock.time + draft.plan.taskTimeoutMilliseconds + draft.plan.graceMilliseconds
}

function rollbackDeadline(draft: Draft): number {
  return draft.clock.time + draft.plan.rollbackTimeoutMilliseconds + draft.plan.graceMilliseconds
}

function getNextTaskState(slot: Slot, event: TaskEvent): TaskState {
  const state = nextTaskState(slot.state, event)
  assert(state !== undefined, `a task can't ${event} while ${slot.state}`)
  return state
}

function kill(draft: Draft, slot: Slot, reason: KillReason): void {
  draft.commands.push({ type: "kill", ordinal: slot.ordinal, attempt: slot.attempt, reason })
}

/** Sends the slot's next attempt. */
export function startAttempt(draft: Draft, slot: Slot): void {
  const attempt = slot.attempt + 1
  const deadline = Math.max(draft.clock.time + draft.plan.startTimeoutMilliseconds, draft.base.patientUntil)
  const state = getNextTaskState(slot, "start")
  put(draft, slot, { ...slot, state, attempt, class: null, accepted: false, deadline })
  draft.commands.push({ type: "start", ordinal: slot.ordinal, attempt })
}

/** Ends a task for good; asks for its way back where the node may be changed, and stops the run over the error limit. */
function endTask(draft: Draft, slot: Slot, end: { event: TaskEvent; class: FailureClass | null }): void {
  const state = getNextTaskState(slot, end.event)
  const endedBadly = state !== "succeeded" && state !== "skipped"
  const back = endedBadly && slot.touched && draft.plan.rollbackOnFailure
  const ended: Slot = { ...slot, state, class: end.class }
  if (back) {
    put(draft, slot, { ...ended, rollback: "pending", deadline: rollbackDeadline(draft) })
    draft.commands.push({ type: "rollback", ordinal: slot.ordinal, attempt: slot.attempt })
  } else {
    put(draft, slot, ended)
  }
  if (draft.execution === "running" || draft.execution === "pausing") stopByItself(draft, findFailureStop(draft))
}

/** Stops the run for a cause other than a person's will, if there is one. */
export function stopByItself(draft: Draft, cause: StopCause | undefined): void {
  if (cause) stopRun(draft, { ...cause, mode: draft.plan.stopMode ?? "finish" })
}

/** Nothing starts from here on: the rest is never started, waiting retries are given up, running tasks are killed if so asked. */
export function stopRun(draft: Draft, stop: Stop): void {
  const moved = moveExecution(draft, "stop")
  assert(moved, `a run can't stop while ${draft.execution}`)
  draft.stop = stop
  draft.hold = null
  draft.bakeUntil = null
  const { nextOrdinal, plan } = draft
  const rest = plan.targetsCount - nextOrdinal
  if (rest > 0) {
    draft.neverStarted = { from: nextOrdinal, to: plan.targetsCount }
    draft.counts.queued -= rest
    draft.counts["never-started"] += rest
  }
  for (const slot of [...draft.slots.values()]) {
    if (slot.state === "queued") endTask(draft, slot, { event: "give-up", class: slot.class })
  }
  applyAbortMode(draft, stop.mode)
}

/** Sends the kills of a harsh abort; without an answer within the grace the task is given up. */
export function applyAbortMode(draft: Draft, mode: AbortMode): void {
  if (mode !== "kill") return
  const killDeadline = Math.max(draft.clock.time + draft.plan.graceMilliseconds, draft.base.patientUntil)
  for (const slot of [...draft.slots.values()]) {
    if (isTaskEnded(slot.state)) continue
    kill(draft, slot, "abort")
    put(draft, slot, { ...slot, killSent: true, deadline: Math.min(slot.deadline, killDeadline) })
  }
}

function finishTask(draft: Draft, slot: Slot, outcome: TaskOutcome): void {
  const { state } = outcome
  const usualClass = usualClasses[state]
  const end = { event: taskEvents[state], class: usualClass === null ? null : (outcome.class ?? usualClass) }
  const refused = end.class === "refused" || end.class === "unapproved"
  // Who said no is not asked again by another attempt.
  const final = refused || end.class === "denied"
  const ran = state === "interrupted" || state === "aborted" || (state === "failed" && !refused)
  const reported: Slot = { ...slot, touched: slot.touched || ran }
  if (state === "failed" && !final && mayRetry(draft, slot)) {
    const deadline = draft.clock.time + retryDelayOf(draft.plan, slot.ordinal, slot.attempt)
    put(draft, slot, { ...reported, state: getNextTaskState(slot, "retry"), class: end.class, deadline })
  } else {
    endTask(draft, reported, end)
  }
}

/** An attempt is left and the run goes on; a pause lets retries go on, since the node may be half changed. */
function mayRetry(draft: Draft, slot: Slot): boolean {
  return slot.attempt < draft.plan.attemptsMax && (draft.execution === "running" || draft.execution === "pausing")
}

function finishRollback(draft: Draft, slot: Slot, event: RollbackEvent): void {
  const rollback = nextRollbackState(slot.rollback, event)
  assert(rollback !== undefined, `a rollback can't ${event} while ${slot.rollback}`)
  put(draft, slot, { ...slot, rollback })
}

/** Why this input says nothing about an attempt in flight; undefined where it does. */
function whyForeign(draft: Draft, input: TaskInput): IgnoredWhy | undefined {
  const { ordinal, attempt } = input
  if (!Number.isInteger(ordinal) || ordinal < 0 || ordinal >= draft.plan.targetsCount) return "unknown-task"
  if (ordinal >= draft.nextOrdinal) return "not-started"
  const slot = draft.slots.get(ordinal)
  if (!slot) return "ended"
  if (attempt === slot.attempt) return undefined
  return attempt < slot.attempt ? "old-attempt" : "not-started"
}

function applyToTask(draft: Draft, slot: Slot, input: TaskInput): IgnoredWhy | undefined {
  if (isTaskEnded(slot.state)) return "ended"
  if (slot.state === "queued") return "repeated"
  if (input.type === "task-finished") {
    finishTask(draft, slot, input.outcome)
    return undefined
  }
  const started = input.type === "task-started"
  if (started ? slot.state === "running" : slot.accepted) return "repeated"
  const state = started ? getNextTaskState(slot, "started") : slot.state
  const deadline = slot.killSent ? slot.deadline : runDeadline(draft)
  put(draft, slot, { ...slot, state, accepted: true, touched: true, deadline })
  return undefined
}

function applyToRollback(draft: Draft, slot: Slot, input: TaskInput): IgnoredWhy | undefined {
  // What this very step asks for has not been sent yet, so no answer to it can be true.
  const asked = draft.base.slots.get(slot.ordinal)?.rollback ?? "none"
  if (!isRollbackOpen(slot.rollback) || !isRollbackOpen(asked)) return "no-rollback"
  if (input.type === "rollback-finished") {
    finishRollback(draft, slot, rollbackEvents[input.outcome])
    return undefined
  }
  const rollback = nextRollbackState(slot.rollback, "started")
  if (rollback === undefined) return "repeated"
  put(draft, slot, { ...slot, rollback, deadline: rollbackDeadline(draft) })
  return undefined
}

/** Applies one report; returns why it was ignored. A node that still works on a task that has ended here is told to stop. */
export function applyTaskInput(draft: Draft, input: TaskInput): IgnoredWhy | undefined {
  const foreign = whyForeign(draft, input)
  if (foreign !== undefined) {
    const working = input.type === "task-accepted" || input.type === "task-started"
    if (foreign === "ended" && working) {
      draft.commands.push({ type: "kill", ordinal: input.ordinal, attempt: input.attempt, reason: "stale" })
    }
    return foreign
  }
  const slot = draft.slots.get(input.ordinal)
  assert(slot, "an input that is not foreign has a slot")
  const isRollback = input.type === "rollback-started" || input.type === "rollback-finished"
  return isRollback ? applyToRollback(draft, slot, input) : applyToTask(draft, slot, input)
}

function expire(draft: Draft, slot: Slot): void {
  if (isTaskEnded(slot.state)) {
    finishRollback(draft, slot, "lose")
  } else if (slot.state === "starting" && !slot.accepted) {
    kill(draft, slot, "unreachable")
    endTask(draft, slot, { event: "unreach", class: "unreachable" })
  } else {
    kill(draft, slot, "timeout")
    endTask(draft, slot, { event: "interrupt", class: "timeout" })
  }
}

/** Gives up what is over its time. Costs nothing before the earliest deadline, the width after it. */
export function expireDeadlines(draft: Draft): void {
  const { time } = draft.clock
  if (time < draft.nextDeadline) return
  const due = [...draft.slots.values()].filter((slot) => slot.deadline <= time && slot.state !== "queued")
  for (const slot of due) expire(draft, slot)
}

/**
 * Sends the attempts that are due. Last of all, once everything that may stop the run has been looked at: what it
 * stops gives the waiting retries up.
 */
export function startRetries(draft: Draft): void {
  const { time } = draft.clock
  if (time < draft.nextDeadline) return
  const due = [...draft.slots.values()].filter((slot) => slot.deadline <= time && slot.state === "queued")
  for (const slot of due) startAttempt(draft, slot)
  let earliest = Number.POSITIVE_INFINITY
  for (const slot of draft.slots.values()) earliest = Math.min(earliest, slot.deadline)
  draft.nextDeadline = earliest
}
