import type { AnyOperation } from "@signalbox/contracts/operation"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { Egress } from "../../egress/egress.ts"
import type { ExternalServices } from "../../router/external-ports.ts"
import type { SecretReader } from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"
import type { PasswordCost } from "./password.ts"

/** What the service and its handlers are given. */
export interface IdentityOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Pick<Logger, "warn">
  readonly operations: ReadonlyMap<string, AnyOperation>
  /** Operations of services outside, of each account. */
  readonly external?: Pick<ExternalServices, "findOperation">
  readonly sessions: SessionLimits
  /** The secrets of identity providers. */
  readonly secrets: SecretReader
  /** By which identity providers are called. */
  readonly egress: Pick<Egress, "request">
  /** Left out, today's. */
  readonly passwordCost?: PasswordCost
  /** Called after a commit that changed configuration, so that this server doesn't wait for its next poll. */
  readonly configurationChanged: () => void | Promise<void>
}

export interface SessionLimits {
  /** A session ends then in any case. */
  readonly lifetimeMilliseconds: number
  /** A session that was not used for so long has ended. */
  readonly idleMilliseconds: number
}
