import type { ClassCounts, ExecutionState, Hold, RollbackCounts, Stop, TaskCounts, Wish } from "@signalbox/engine/types"

/** Who writes: the owner's name and the epoch of its lease. */
export interface Fence {
  readonly account: string
  readonly id: string
  readonly owner: string
  readonly epoch: number
}

/** What a commit has to find: its owner's lease, and that nothing before it is missing. */
export interface CommitFence extends Fence {
  /** Commits of this execution that are durable, or on their way before this one. */
  readonly batches: number
}

/** What people wish of an execution, as last read from its row. */
export interface Wished {
  readonly wish: Wish
  readonly wishVersion: number
  readonly wishBy: string | null
  /** The width that a person set; null where nobody did. */
  readonly wishWidth: number | null
  /** Once the run has stopped, all targets are to be rolled back. */
  readonly wishRollback: boolean
}

/** An execution as its new owner finds it. */
export interface ClaimedExecution extends CommitFence, Wished {
  readonly state: ExecutionState
  readonly stop: Stop | null
  readonly workflowName: string
  readonly workflowVersion: number | null
  readonly createdBy: string
  readonly targetsCount: number
  readonly width: number
  readonly errorsMax: number
  readonly concurrency: string
  readonly errorLimit: string
  readonly nextOrdinal: number
  readonly counts: TaskCounts
  readonly rollbacks: RollbackCounts
  readonly classes: ClassCounts | null
  readonly bakeUntil: number | null
  readonly hold: Hold | null
  readonly health: HealthRow | null
  readonly retryOf: string | null
  readonly rollbackOf: string | null
  readonly cause: string
  readonly depth: number
}

/** The health check's last result, as it is stored. */
export interface HealthRow {
  readonly ok: boolean
  readonly message: string
  /** Milliseconds. */
  readonly at: number
  readonly checks: number
  /** In a row. */
  readonly failures: number
}
