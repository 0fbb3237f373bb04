import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { NodeMetrics } from "../../router/node-metrics.ts"
import type { OperationCaller, Sealer } from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"
import type { Notifier } from "../../storage/notifier.ts"

/** What the service is given. */
export interface TriggersOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Pick<Logger, "warn">
  readonly operations: OperationCaller
  /** What the nodes of this server's sessions measure. */
  readonly metrics: NodeMetrics
  readonly notifier: Pick<Notifier, "notify" | "subscribe">
  /** Seals what hooks are verified with. */
  readonly sealer: Sealer
  /** Addresses of hooks begin with it. */
  readonly publicUrl: string
  /** Called after a commit that changed configuration, so that this server doesn't wait for its next poll. */
  readonly configurationChanged: () => void | Promise<void>
  /** How often it is looked whether data is missing or a silence is over. */
  readonly scanMilliseconds?: number
}
