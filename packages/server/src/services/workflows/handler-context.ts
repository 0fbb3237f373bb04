import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { OperationCaller, WindowState } from "../../router/ports.ts"
import type { PartsFinder } from "./frozen-parts.ts"
import type { Blobs } from "../../storage/blobs.ts"
import type { Watches } from "./watches.ts"

/** What the handlers share. */
export interface WorkflowsContext extends PartsFinder {
  readonly clock: Clock
  readonly random: Random
  readonly operations: OperationCaller
  readonly watches: Watches
  readonly windows: WindowState
  readonly blobs: Pick<Blobs, "open">
  /** There is something to claim, or a wish to read. */
  hint(): void
}
