import { rollbackStates } from "../rollback-machine.ts"
import { taskStates } from "../task-machine.ts"
import type {
  ExecutionRows,
  ExecutionState,
  RollbackState,
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

/** The durable rows of one simulated execution. What `commit` writes is there after any crash; nothing else is. */
export class SimStore {
  readonly tasks: TaskChange[]
  execution: ExecutionState = "planning"
  stop: Stop | null = null
  wish: Wish = "run"

  constructor(targetsCount: number) {
    this.tasks = Array.from({ length: targetsCount }, (_, ordinal) => {
      return { ordinal, state: "queued", rollback: "none", attempt: 0, class: null } as const
    })
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
  }

  /** The later half of the rest was not written yet when the server died: a range may take several transactions. */
  loseHalfOfRest(): void {
    const from = this.tasks.findIndex((row) => row.state === "never-started")
    if (from < 0) return
    for (let ordinal = Math.ceil((from + this.tasks.length) / 2); ordinal < this.tasks.length; ordinal++) {
      this.tasks[ordinal] = { ordinal, state: "queued", rollback: "none", attempt: 0, class: null }
    }
  }

  countTasks(): Record<TaskState, number> {
    const counts = Object.fromEntries(taskStates.map((name) => [name, 0])) as Record<TaskState, number>
    for (const row of this.tasks) counts[row.state] += 1
    return counts
  }

  countRollbacks(): Record<RollbackState, number> {
    const counts = Object.fromEntries(rollbackStates.map((name) => [name, 0])) as Record<RollbackState, number>
    for (const row of this.tasks) counts[row.rollback] += 1
    return counts
  }

  nextOrdinal(): number {
    return 1 + this.tasks.findLastIndex((row) => row.attempt > 0)
  }

  rows(): ExecutionRows {
    return {
      execution: this.execution,
      stop: this.stop,
      wish: this.wish,
      openTasks: this.tasks.filter(isRowOpen),
      nextOrdinal: this.nextOrdinal(),
      counts: this.countTasks(),
      rollbacks: this.countRollbacks(),
    }
  }
}
