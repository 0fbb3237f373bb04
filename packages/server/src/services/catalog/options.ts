import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { PeopleDirectory, Sealer } from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"
import type { Notifier } from "../../storage/notifier.ts"
import type { OrderWaiters } from "./order-waiters.ts"

/** What the service is given. */
export interface CatalogOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly principals: PeopleDirectory
  readonly sealer: Sealer
  /** Tells other servers of new orders, so that a wait there ends at once; a wait ends without it too. */
  readonly notifier: Pick<Notifier, "notify" | "subscribe">
}

/** What its parts are given. */
export interface CatalogContext extends CatalogOptions {
  readonly waiters: OrderWaiters
}
