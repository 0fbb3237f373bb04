import type { AnyOperation } from "@signalbox/contracts/operation"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Database } from "../../storage/database.ts"

/** What the service and its handlers are given. */
export interface IdentityOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly operations: ReadonlyMap<string, AnyOperation>
  /** Called after a commit that changed configuration, so that this server doesn't wait for its next poll. */
  readonly configurationChanged: () => void
}
