import { noClasses } from "../run-counts.ts"
import { rollbackStates } from "../rollback-machine.ts"
import { taskStates } from "../task-machine.ts"
import type {
  ExecutionRows,
  ExecutionState,
  FailureClass,
  Hold,
  RollbackState,
  RunSettings,
  StepResult,
  Stop,
  TaskChange,
  TaskState,
  Wish,
} from "../types.ts"

/** Whether a row stands for a held slot. */
export function isRowOpen(row: TaskChange): boolean {
  if (row.rollback === "pending" || row.rollback === "running") return true
  return row.state === "starting" || row.state === "running" || (row.state === "queued" && row.attempt > 0)
}

const isRowEnded = ({ state }: TaskChange): boolean => state !== "queued" && state !== "starting" && state !== "running"

/** What a look over all rows counts. */
export interface Tally {
  readonly tasks: Record<TaskState, number>
  readonly rollbacks: Record<RollbackState, number>
  readonly classes: Record<FailureClass, number>
  /** The rows that hold a slot, in order. */
  readonly open: TaskChange[]
  /** Ended badly, hold no slot, and were not rolled back. */
  lost: number
  /** Started, and may still end either way. */
  undecided: number
  /** One above the last ordinal that was started. */
  nextOrdinal: number
}

function zeros<Name extends string>(names: readonly Name[]): Record<Name, number> {
  const counts = {} as Record<Name, number>
  for (const name of names) counts[name] = 0
  return counts
}

/** The durable rows of one simulated execution. What `commit` writes is there after any crash; nothing else is. */
export class SimStore {
  readonly tasks: TaskChange[]
  execution: ExecutionState = "planning"
  stop: Stop | null = null
  wish: Wish = "run"
  settings: RunSettings
  width: number
  wave = 1
  bakeUntil: number | null = null
  hold: Hold | null = null

  constructor({ targetsCount, width }: { readonly targetsCount: number; readonly width: number }) {
    this.tasks = Array.from({ length: targetsCount }, (_, ordinal) => {
      return { ordinal, state: "queued", rollback: "none", attempt: 0, class: null } as const
    })
    this.width = width
    this.settings = { width, hold: null }
  }

  commit(result: StepResult): void {
    for (const change of result.taskChanges) this.tasks[change.ordinal] = change
    const { from, to } = result.neverStarted ?? { from: 0, to: 0 }
    for (let ordinal = from; ordinal < to; ordinal++) {
      this.tasks[ordinal] = { ordinal, state: "never-started", rollback: "none", attempt: 0, class: null }
    }
    if (!result.execution) return
    this.execution = result.execution.state
    this.stop = result.execution.stop
    this.width = result.execution.width
    this.wave = result.execution.wave
    this.bakeUntil = result.execution.bakeUntil
    this.hold = result.execution.hold
  }

  /** The later half of the rest was not written yet when the server died: a range may take several transactions. */
  loseHalfOfRest(): void {
    const from = this.tasks.findIndex((row) => row.state === "never-started")
    if (from < 0) return
    for (let ordinal = Math.ceil((from + this.tasks.length) / 2); ordinal < this.tasks.length; ordinal++) {
      this.tasks[ordinal] = { ordinal, state: "queued", rollback: "none", attempt: 0, class: null }
    }
  }

  tally(): Tally {
    const tally: Tally = {
      tasks: zeros(taskStates),
      rollbacks: zeros(rollbackStates),
      classes: { ...noClasses },
      open: [],
      lost: 0,
      undecided: 0,
      nextOrdinal: 0,
    }
    for (const row of this.tasks) {
      const { state, rollback } = row
      tally.tasks[state] += 1
      tally.rollbacks[rollback] += 1
      if (row.attempt > 0) tally.nextOrdinal = row.ordinal + 1
      const ended = isRowEnded(row)
      if (ended && row.class !== null) tally.classes[row.class] += 1
      if (isRowOpen(row)) {
        tally.open.push(row)
        if (!ended) tally.undecided += 1
      } else if (ended && row.attempt > 0 && state !== "succeeded" && state !== "skipped") {
        if (rollback !== "rolled-back") tally.lost += 1
      }
    }
    return tally
  }

  rows(tally: Tally = this.tally()): ExecutionRows {
    return {
      execution: this.execution,
      stop: this.stop,
      wish: this.wish,
      openTasks: tally.open,
      nextOrdinal: tally.nextOrdinal,
      counts: tally.tasks,
      rollbacks: tally.rollbacks,
      classes: tally.classes,
      width: this.width,
      bakeUntil: this.bakeUntil,
      hold: this.hold,
      settings: this.settings,
    }
  }
}
