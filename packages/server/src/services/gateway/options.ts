import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { Egress } from "../../egress/egress.ts"
import type { SecretReader } from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"

export interface GatewayOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly egress: Egress
  readonly serverId: string
  readonly secrets: SecretReader
  /** Looks at once at what configuration grew. */
  readonly configurationChanged: () => void | Promise<void>
}
