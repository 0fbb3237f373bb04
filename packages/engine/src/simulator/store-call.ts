import type { EngineInput, EngineState, ExecutionRows, StepResult } from "../types.ts"

/**
 * What a run asked of its store, in order, for a repetition against another store. `commit`: is to be written, after which the
 * rows are those of the next `recover`. `lost`: the server died before it, so it must never be written, also if it
 * comes late from an owner that lost its lease. `recover`: another server has taken over and reads these rows.
 */
export type StoreCall =
  | ({ readonly kind: "commit" } & StoreWrite)
  | ({ readonly kind: "lost" } & StoreWrite)
  | { readonly kind: "recover"; readonly rows: ExecutionRows; readonly now: number }

export interface StoreWrite {
  /** The state before; undefined in the first commit of a recovery. */
  readonly before: EngineState | undefined
  readonly inputs: readonly EngineInput[]
  readonly result: StepResult
  readonly now: number
}
