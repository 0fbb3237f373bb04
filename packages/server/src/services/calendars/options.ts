import type { AnyOperation } from "@signalbox/contracts/operation"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type {
  OperationCaller,
  PrincipalDirectory,
  StandingCaller,
  StandingRecord,
  WindowState,
} from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"

/** What the service is given. */
export interface CalendarsOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly operations: ReadonlyMap<string, AnyOperation>
  readonly caller: OperationCaller & StandingCaller & StandingRecord
  readonly principals: PrincipalDirectory
  /** Called after a commit that changed configuration, so that this server doesn't wait for its next poll. */
  readonly configurationChanged: () => void
  readonly scanMilliseconds?: number
}

/** What its parts are given. */
export interface CalendarsContext extends CalendarsOptions {
  readonly windows: WindowState
  /** A hint that a schedule may be due. */
  readonly hint: () => void
}
