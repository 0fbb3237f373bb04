import type { AbortMode, EnginePlan, FailureGroup } from "./plan.ts"

export type { AbortMode, FailureGroup } from "./plan.ts"

/** Last four terminal: ended with every target well / ended with failures within the limit / stopped by itself / by a person. */
export type ExecutionState =
  | "planning"
  | "running"
  | "pausing"
  | "paused"
  | "aborting"
  | "succeeded"
  | "incomplete"
  | "failed"
  | "aborted"

/** Last seven terminal (D14). A task waiting for its next attempt is `queued` with an attempt above 0. */
export type TaskState =
  | "queued"
  | "starting"
  | "running"
  | "succeeded"
  | "failed"
  | "aborted"
  | "interrupted"
  | "unreachable"
  | "skipped"
  | "never-started"

/** Last four terminal; `none` is terminal too once the task has ended with it. */
export type RollbackState =
  | "none"
  | "pending"
  | "running"
  | "rolled-back"
  | "rollback-failed"
  | "not-reversible"
  | "unknown"

export type FailureClass =
  | "command"
  | "timeout"
  | "unreachable"
  | "interrupted"
  | "system"
  | "refused"
  | "denied"
  | "unapproved"

export type TaskOutcomeState = "succeeded" | "failed" | "interrupted" | "aborted" | "skipped" | "unreachable"
export type RollbackOutcome = "rolled-back" | "rollback-failed" | "not-reversible" | "unknown"

export interface TaskOutcome {
  readonly state: TaskOutcomeState
  /** Absent: `command` where failed, the state's own class where interrupted or unreachable. */
  readonly class?: FailureClass
}

/** What a person wants of the execution, as stored in its row; "run" where nobody wished anything. */
export type Wish = "run" | "pause" | "abort-finish" | "abort-kill"

/** Something that happened. The first five come from agents and may be late, repeated, reordered or lies. */
export type EngineInput =
  | { readonly type: "task-accepted"; readonly ordinal: number; readonly attempt: number }
  | { readonly type: "task-started"; readonly ordinal: number; readonly attempt: number }
  | {
      readonly type: "task-finished"
      readonly ordinal: number
      readonly attempt: number
      readonly outcome: TaskOutcome
    }
  | { readonly type: "rollback-started"; readonly ordinal: number; readonly attempt: number }
  | {
      readonly type: "rollback-finished"
      readonly ordinal: number
      readonly attempt: number
      readonly outcome: RollbackOutcome
    }
  | { readonly type: "planned" }
  | { readonly type: "pause" }
  | { readonly type: "resume" }
  | { readonly type: "abort"; readonly mode: AbortMode }
  /** How many may be in flight from now on. Where that is fewer than there are, the run drains down to it. */
  | { readonly type: "set-width"; readonly width: number }
  /** No target starts from now on (a closed window, a calendar); what runs goes on, retries too. Another hold replaces it. */
  | { readonly type: "hold-starts"; readonly reason: string; readonly until?: number }
  | { readonly type: "release-starts" }
  /** What a health check found; the first that is not well stops the run. How many in a row that takes is the caller's to count. */
  | { readonly type: "health"; readonly ok: boolean; readonly message: string }
  | { readonly type: "tick" }

/** Why a kill is sent: a person's abort, a node that did not accept in time, a task over its time, or a report of a task that has ended here. */
export type KillReason = "abort" | "unreachable" | "timeout" | "stale"

/**
 * What has to be told to a node, after the step's changes are durable and never before. All are safe to repeat:
 * agents run an attempt at most once and answer a repeat from their journal.
 */
export type EngineCommand =
  | { readonly type: "start"; readonly ordinal: number; readonly attempt: number }
  | { readonly type: "rollback"; readonly ordinal: number; readonly attempt: number }
  | { readonly type: "kill"; readonly ordinal: number; readonly attempt: number; readonly reason: KillReason }

/** The row of one task after the step; at most one per ordinal and step. */
export interface TaskChange {
  readonly ordinal: number
  readonly state: TaskState
  readonly rollback: RollbackState
  readonly attempt: number
  readonly class: FailureClass | null
}

/** Ordinals from ≤ o < to become `never-started` (rollback none, attempt 0): one range, however many. */
export interface NeverStarted {
  readonly from: number
  readonly to: number
}

/** Why a run ended before its end. */
export type StopCause =
  | { readonly by: "person" }
  | { readonly by: "error-limit"; readonly failures: number; readonly errorsMax: number }
  | {
      readonly by: "class-limit"
      readonly group: FailureGroup
      readonly failures: number
      readonly errorsMax: number
    }
  /** `thousandths` as in the plan's `errorRate`. */
  | { readonly by: "error-rate"; readonly failures: number; readonly completed: number; readonly thousandths: number }
  /** `error` is null where the expression held, else why it could not be evaluated: then the run stops too. */
  | { readonly by: "expression"; readonly text: string; readonly error: string | null }
  | { readonly by: "health"; readonly message: string }
  /** Too many targets ended badly, and were not put back, for another one to start. */
  | { readonly by: "unavailable-limit"; readonly unavailable: number; readonly unavailableMax: number }

/** What ended the run before its end; the first stop stays, a later abort can only make the mode harsher. */
export type Stop = StopCause & { readonly mode: AbortMode }

/** Why no target may start although the run goes on. */
export interface Hold {
  readonly reason: string
  /** Wall-clock milliseconds, for people: only `release-starts` ends a hold. Null where nobody knows. */
  readonly until: number | null
}

/** The execution's row after the step; present where any member but `reason` changed. All of it is to be stored. */
export interface ExecutionChange {
  readonly state: ExecutionState
  readonly stop: Stop | null
  /** One sentence for people; null while nothing needs saying. */
  readonly reason: string | null
  /** The width in force. */
  readonly width: number
  /** Number of the wave in hand, from 1; always 1 where the plan has no waves. */
  readonly wave: number
  /** Wall-clock milliseconds up to which the wave that has ended bakes; null unless a wave waits for that or for a start. */
  readonly bakeUntil: number | null
  readonly hold: Hold | null
}

export type IgnoredWhy =
  | "unknown-task" // no such ordinal in this execution
  | "not-started" // the ordinal exists, this task or attempt was never started
  | "old-attempt" // a report of an attempt that a later one has replaced
  | "ended" // the task has ended; terminal states never change
  | "repeated" // says what is known already, or comes after what follows it
  | "no-rollback" // a rollback report where none was asked for
  | "execution-state" // the execution's state does not allow it
  | "out-of-range" // no such width

export interface Ignored {
  readonly input: EngineInput
  readonly why: IgnoredWhy
}

export type TaskCounts = Readonly<Record<TaskState, number>>
export type RollbackCounts = Readonly<Record<RollbackState, number>>
/** Tasks that have ended for good, by the class of their failure. */
export type ClassCounts = Readonly<Record<FailureClass, number>>

/** One target that holds a place in the window. Immutable: a change is a new slot. */
export interface Slot {
  readonly ordinal: number
  readonly attempt: number
  readonly state: TaskState
  readonly rollback: RollbackState
  readonly class: FailureClass | null
  /** The node said that it has this attempt (not durable: asked again after a recovery). */
  readonly accepted: boolean
  /** An attempt of this task has, or may have, changed the node. */
  readonly touched: boolean
  readonly killSent: boolean
  /** Engine time at which waiting ends: not accepted, over time, retry due or rollback given up. */
  readonly deadline: number
}

/** Engine time: never goes back, and does not count the time in which the server itself stood still. */
export interface EngineClock {
  readonly wall: number
  readonly time: number
  readonly stalled: boolean
}

/** The slots by ordinal. Read-only to everyone but the scheduler. */
export interface SlotView {
  readonly size: number
  get(ordinal: number): Slot | undefined
  values(): IterableIterator<Slot>
}

/** How many slots each failure domain holds. Read-only to everyone but the scheduler. */
export interface DomainView {
  get(domain: number): number
}

/** A window over the execution, not the fleet: its size grows with `plan.width`, never with `plan.targetsCount`. */
export interface EngineState {
  readonly plan: EnginePlan
  readonly execution: ExecutionState
  readonly stop: Stop | null
  /** The width in force: the plan's, until a person changes it. */
  readonly width: number
  /** Number of the wave in hand, from 1: that of the last target which was started. */
  readonly wave: number
  /** Engine time at which the wave that has ended is baked; null before its end and once the next one has begun. */
  readonly bakeUntil: number | null
  readonly hold: Hold | null
  /** Ordinals below have been started at least once; this one and those above never. */
  readonly nextOrdinal: number
  readonly slots: SlotView
  readonly counts: TaskCounts
  readonly rollbacks: RollbackCounts
  readonly classes: ClassCounts
  /** Slots held by failure domain; null where the plan has none. */
  readonly domains: DomainView | null
  readonly clock: EngineClock
  /** Engine time up to which nodes may still be looking for this owner: what it found is not given up before. */
  readonly patientUntil: number
  /** Engine time before which no deadline passes (a lower bound; Infinity where there is none). */
  readonly nextDeadline: number
}

/**
 * The result of a step. Order of use: commit `taskChanges`, `neverStarted` and `execution` in one fenced transaction,
 * then acknowledge the inputs, send `commands`, keep `state`, and call again at `wakeAt` at the latest. Where the commit
 * fails, drop the result: the old state is untouched.
 */
export interface StepResult {
  readonly state: EngineState
  readonly taskChanges: readonly TaskChange[]
  /** May be written by later transactions too: `recoverState` gives it again while the execution is `aborting`. */
  readonly neverStarted?: NeverStarted
  readonly execution?: ExecutionChange
  readonly commands: readonly EngineCommand[]
  /** Wall-clock milliseconds of the next `tick`; absent where nothing is waited for. */
  readonly wakeAt?: number
  readonly ignored: readonly Ignored[]
}

/** A task's row as `recoverState` reads it. */
export interface OpenTask {
  readonly ordinal: number
  readonly state: TaskState
  readonly rollback: RollbackState
  readonly attempt: number
  readonly class: FailureClass | null
}

/** The pace that people, or a calendar, want of a run, as the server has it on record. */
export interface RunSettings {
  readonly width: number
  readonly hold: Hold | null
}

/**
 * The durable rows of one execution, enough to go on after any crash. Ramp, strict bound, unavailable targets, error rate,
 * wave and domains follow from counts, `nextOrdinal` and the open tasks; nothing is stored for them.
 */
export interface ExecutionRows {
  readonly execution: ExecutionState
  readonly stop: Stop | null
  readonly wish: Wish
  /** Rows that hold a slot: starting, running, queued with attempt > 0, or with rollback pending or running. */
  readonly openTasks: readonly OpenTask[]
  /** One above the largest ordinal with attempt > 0; 0 where there is none. */
  readonly nextOrdinal: number
  /** All rows of the execution by state; rows not (yet) written as `never-started` count as `queued`. */
  readonly counts: TaskCounts
  /** All rows of the execution by rollback. */
  readonly rollbacks: RollbackCounts
  /** As `state.classes` was. May be absent only where the plan has neither `errorsMaxByClass` nor `stopWhen`. */
  readonly classes?: ClassCounts
  /** As the last `ExecutionChange` gave it; absent is the plan's width. */
  readonly width?: number
  /** As the last `ExecutionChange` gave it; where absent or null, a wave that has ended bakes anew. */
  readonly bakeUntil?: number | null
  /** As the last `ExecutionChange` gave it. */
  readonly hold?: Hold | null
  /** What is wanted of the pace by now; applied like the wish. Absent: what the other members say. */
  readonly settings?: RunSettings
}

export interface ExecutionSummary {
  readonly execution: ExecutionState
  readonly counts: TaskCounts
  readonly rollbacks: RollbackCounts
  /** Slots held: tasks on their way, waiting for a retry, or being rolled back. */
  readonly inFlight: number
  /** What still has to end before `paused` or the end; 0 unless pausing or aborting. */
  readonly draining: number
  /** Targets that count against `errorsMax`. */
  readonly failures: number
  /** Targets that count against `unavailableMax`: in flight, or ended badly and not rolled back. */
  readonly unavailable: number
  readonly width: number
  readonly wave: number
  readonly wavesCount: number
  /** Wall-clock milliseconds up to which the wave bakes; null where none does. */
  readonly bakeUntil: number | null
  readonly hold: Hold | null
  /** What keeps the next target from starting now; null where nothing does or where the run is not running. */
  readonly waitsFor: StartLimit | null
  readonly whyStopped: string | null
}

/** What can keep the next target from starting while the run goes on; see "What may start" in SPEC.md. */
export type StartLimit = "hold" | "wave" | "bake" | "width" | "ramp" | "unavailable" | "strict" | "domain"
