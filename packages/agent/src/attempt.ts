import type {
  AttemptPhase,
  RollbackOutcome,
  StepResult,
  TaskOrder,
  TaskOutcome,
} from "@signalbox/contracts/fleet/agent-protocol"
import type { ProcessIdentity } from "./process-identity.ts"
import type { ServiceState } from "./service-manager.ts"

/**
 * An attempt as the journal's records make it. Each phase goes
 *
 *     none -> accepted -> running -> finished (-> acknowledged)
 *        \________\___________________^   refused, killed or interrupted: finished without having run
 *
 * and never back: a record that would change a finished phase is ignored.
 */
export type PhaseState = "none" | "accepted" | "running" | "finished"

/** What was so before a step, as far as it isn't files. */
export interface StepBefore {
  readonly service?: ServiceState
}

export interface Attempt {
  readonly key: string
  readonly phases: Readonly<Record<AttemptPhase, PhaseState>>
  readonly acknowledged: Readonly<Record<AttemptPhase, boolean>>
  /** Milliseconds of the server's clock. */
  readonly startBefore?: number
  readonly killedReason?: string
  /** Milliseconds of this machine's clock at which it has waited long enough for its turn. */
  readonly waitUntil?: number
  /** False: may run beside others. */
  readonly exclusive: boolean
  /** How long its saved state is wanted after its end; undefined: as long as there is room. */
  readonly keepMilliseconds?: number
  readonly finishedAt?: number
  readonly startedAt?: number
  /** Steps whose command may have run. */
  readonly stepsBegun: number
  readonly undoBegun: boolean
  readonly stepResults: readonly StepResult[]
  /** A command was about to run, and its end was not noted. */
  readonly stepUnderWay: { readonly phase: AttemptPhase; readonly step: number } | undefined
  /** That command's process, once it had one. */
  readonly process: ProcessIdentity | undefined
  readonly savedBytes: number
  /** Milliseconds of this machine's clock at the last record. */
  readonly changedAt: number
  /** Records in the middle of its file were unreadable: what ran is not known. */
  readonly damaged: boolean
}

export type JournalRecord = { readonly at: number } & (
  | { readonly type: "accepted"; readonly phase: "task"; readonly startBefore: number; readonly order: TaskOrder }
  | { readonly type: "accepted"; readonly phase: "rollback" }
  | { readonly type: "started"; readonly phase: AttemptPhase; readonly savedBytes?: number }
  /** About to start a command: from here on it may have run. */
  | {
      readonly type: "step"
      readonly phase: AttemptPhase
      readonly step: number
      /** What was so before it, for the way back. */
      readonly before?: StepBefore
      /** Saved before it, in bytes. */
      readonly savedBytes?: number
    }
  | { readonly type: "process"; readonly process: ProcessIdentity }
  | { readonly type: "step-ended"; readonly result: StepResult }
  | { readonly type: "finished"; readonly phase: "task"; readonly outcome: TaskOutcome }
  | { readonly type: "finished"; readonly phase: "rollback"; readonly outcome: RollbackOutcome }
  | { readonly type: "acknowledged"; readonly phase: AttemptPhase }
  | { readonly type: "killed"; readonly reason: string }
  | { readonly type: "damaged" }
)

/** A record without its time, which the journal adds. */
export type NewRecord = JournalRecord extends infer R ? (R extends JournalRecord ? Omit<R, "at"> : never) : never

export function newAttempt(key: string): Attempt {
  return {
    key,
    phases: { task: "none", rollback: "none" },
    acknowledged: { task: false, rollback: false },
    exclusive: true,
    stepsBegun: 0,
    undoBegun: false,
    stepUnderWay: undefined,
    process: undefined,
    damaged: false,
    stepResults: [],
    savedBytes: 0,
    changedAt: 0,
  }
}

const order: readonly PhaseState[] = ["none", "accepted", "running", "finished"]

/** The attempt after one more record. Pure; a step back is ignored, so a repeated record changes nothing. */
export function applyRecord(attempt: Attempt, record: JournalRecord): Attempt {
  const next = { ...attempt, changedAt: record.at }
  switch (record.type) {
    case "accepted":
      return advance(record.phase === "task" ? applyOrder(next, record) : next, record.phase, "accepted")
    case "started": {
      if (record.phase === "rollback") return advance(next, "rollback", "running")
      return advance({ ...next, startedAt: record.at, savedBytes: record.savedBytes ?? 0 }, "task", "running")
    }
    case "step":
      return beginStep(next, record)
    case "process":
      return { ...next, process: record.process }
    case "step-ended":
      return {
        ...next,
        stepUnderWay: undefined,
        process: undefined,
        stepResults: [...next.stepResults, inMemory(record.result)],
      }
    case "finished":
      return advance(record.phase === "task" ? { ...next, finishedAt: record.at } : next, record.phase, "finished")
    case "acknowledged":
      if (next.phases[record.phase] !== "finished") return attempt
      return { ...next, acknowledged: { ...next.acknowledged, [record.phase]: true } }
    case "killed":
      return { ...next, killedReason: record.reason }
    case "damaged":
      return { ...next, damaged: true }
  }
}

function applyOrder(attempt: Attempt, record: Extract<JournalRecord, { order: unknown }>): Attempt {
  const { startBefore, order: taken, at } = record
  const { keepMilliseconds, timeoutMilliseconds } = taken
  return {
    ...{ ...attempt, startBefore, waitUntil: at + timeoutMilliseconds, exclusive: taken.exclusive !== false },
    ...(keepMilliseconds !== undefined && { keepMilliseconds }),
  }
}

/** The journal holds what the step passed on. */
function inMemory({ outputs: _outputs, ...result }: StepResult): StepResult {
  return result
}

function beginStep(attempt: Attempt, record: Extract<JournalRecord, { type: "step" }>): Attempt {
  const { phase, step, savedBytes = 0 } = record
  const saved = attempt.savedBytes + savedBytes
  const next = { ...attempt, stepUnderWay: { phase, step }, process: undefined, savedBytes: saved }
  if (phase === "rollback") return { ...next, undoBegun: true }
  return { ...next, stepsBegun: Math.max(attempt.stepsBegun, step + 1) }
}

function advance(attempt: Attempt, phase: AttemptPhase, to: PhaseState): Attempt {
  if (order.indexOf(attempt.phases[phase]) >= order.indexOf(to)) return attempt
  return { ...attempt, phases: { ...attempt.phases, [phase]: to } }
}

/** What its steps did, as the journal has it: what a way back needs to know. */
export interface Deeds {
  /** Steps that may have done something, in their sequence. */
  readonly begun: ReadonlyArray<{ readonly index: number; readonly before?: StepBefore }>
  /** What the steps passed on, by step id and name. */
  readonly outputs: Readonly<Record<string, Readonly<Record<string, string>>>>
}

export function deedsOf(records: readonly JournalRecord[], order: TaskOrder): Deeds {
  const begun = new Map<number, { index: number; before?: StepBefore }>()
  const outputs: Record<string, Readonly<Record<string, string>>> = {}
  let ended = 0
  for (const record of records) {
    if (record.type === "step" && record.phase === "task" && !begun.has(record.step)) {
      begun.set(record.step, { index: record.step, ...(record.before && { before: record.before }) })
    }
    if (record.type !== "step-ended") continue
    const id = order.steps[ended++]?.id
    if (id !== undefined) outputs[id] = record.result.outputs ?? {}
  }
  return { begun: [...begun.values()].toSorted((a, b) => a.index - b.index), outputs }
}

/** Where a task goes on that only waited for people when its agent ended. */
export interface Resumption {
  readonly step: number
  /** Of the steps before it. */
  readonly results: readonly StepResult[]
  /** Milliseconds of this machine's clock since which it waits. */
  readonly since: number
}

/** Undefined where anything else may have been under way: then how far it came is not known. */
export function findResumption(records: readonly JournalRecord[], order: TaskOrder): Resumption | undefined {
  const results: StepResult[] = []
  let under: { readonly step: number; readonly since: number } | undefined
  for (const record of records) {
    if (record.type === "damaged") return undefined
    if (record.type === "step" && record.phase === "task" && under?.step !== record.step)
      under = { step: record.step, since: record.at }
    if (record.type !== "step-ended") continue
    results.push(record.result)
    under = undefined
  }
  if (!under || order.steps[under.step]?.server !== "approval" || results.length !== under.step) return undefined
  return { ...under, results }
}

/** True where nothing is under way and the server knows every result. */
export function isSettled(attempt: Attempt): boolean {
  return (["task", "rollback"] as const).every(
    (phase) =>
      attempt.phases[phase] === "none" || (attempt.phases[phase] === "finished" && attempt.acknowledged[phase]),
  )
}

export function isOpen(attempt: Attempt, phase: AttemptPhase): boolean {
  return attempt.phases[phase] !== "none" && !attempt.acknowledged[phase]
}

/** The name of an attempt's files: `exe_….3.1`. */
export function attemptFileName(key: string): string {
  return key.replaceAll("/", ".")
}
