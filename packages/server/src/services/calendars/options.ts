import type { AnyOperation } from "@signalbox/contracts/operation"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { Egress } from "../../egress/egress.ts"
import type { ExternalServices } from "../../router/external-ports.ts"
import type {
  OperationCaller,
  PrincipalDirectory,
  SecretReader,
  StandingCaller,
  StandingRecord,
  WindowState,
} from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"
import type { CalendarCompiler } from "./calendar-compiler.ts"
import type { CalendarDirectory } from "./calendar-directory.ts"

/** What the service is given. */
export interface CalendarsOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly operations: ReadonlyMap<string, AnyOperation>
  /** Operations of services outside, of each account. */
  readonly external?: Pick<ExternalServices, "findOperation">
  readonly caller: OperationCaller & StandingCaller & StandingRecord
  readonly principals: PrincipalDirectory
  /** Fetches subscribed calendars, whose addresses may be secrets. */
  readonly egress: Pick<Egress, "request">
  readonly secrets: Pick<SecretReader, "read" | "versions">
  /** How people reach this server: addresses of feeds begin with it. */
  readonly publicUrl: string
  /** Called after a commit that changed configuration, so that this server doesn't wait for its next poll. */
  readonly configurationChanged: () => void | Promise<void>
  readonly scanMilliseconds?: number
}

/** What its parts are given. */
export interface CalendarsContext extends CalendarsOptions {
  readonly windows: WindowState
  readonly compiler: CalendarCompiler
  readonly calendars: CalendarDirectory
  /** A hint that a schedule may be due. */
  readonly hint: () => void
  /** A hint that a subscribed calendar may be due. */
  readonly fetchHint: () => void
}
