import type { ExecutionState, RollbackCounts, Stop, TaskCounts, Wish } from "@signalbox/engine/types"

/** Who writes: the owner's name and the epoch of its lease. */
export interface Fence {
  readonly account: string
  readonly id: string
  readonly owner: string
  readonly epoch: number
}

/** What people wish of an execution, as last read from its row. */
export interface Wished {
  readonly wish: Wish
  readonly wishVersion: number
}

/** An execution as its new owner finds it. */
export interface ClaimedExecution extends Fence {
  readonly state: ExecutionState
  readonly stop: Stop | null
  readonly wish: Wish
  readonly wishVersion: number
  readonly targetsCount: number
  readonly width: number
  readonly errorsMax: number
  readonly concurrency: string
  readonly errorLimit: string
  readonly nextOrdinal: number
  readonly counts: TaskCounts
  readonly rollbacks: RollbackCounts
  readonly cause: string
  readonly depth: number
}
