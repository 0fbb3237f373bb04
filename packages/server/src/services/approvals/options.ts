import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { OperationCaller, PeopleDirectory } from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"
import type { SigningKey } from "../../storage/signing-key.ts"
import type { Notifier } from "../../storage/notifier.ts"
import type { ApprovalDirectory } from "./approval-directory.ts"
import type { RequestWaiters } from "./request-waiters.ts"

/** What the service is given. */
export interface ApprovalsOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly operations: OperationCaller
  readonly principals: PeopleDirectory
  /** Tells other servers of changes, so that a wait there ends at once; a wait ends without it too. */
  readonly notifier?: Pick<Notifier, "notify" | "subscribe">
  /** Told after a commit whose events somebody waits for: a hint that spares them the dispatcher's next look. */
  readonly eventsWritten?: () => void
  /** How people and backends reach this server: the URL of a request begins with it. */
  readonly publicUrl: string
  /** What votes and results are signed with. */
  readonly signingKey: SigningKey
  /** Called after a commit that changed configuration, so that this server doesn't wait for its next poll. */
  readonly configurationChanged: () => void | Promise<void>
  /** Whether the change calendars let changes through now. */
  readonly isCalendarOpen?: (account: string, now: number) => boolean
  readonly timerScanMilliseconds?: number
  readonly waitScanMilliseconds?: number
}

/** What its parts are given. */
export interface ApprovalsContext extends ApprovalsOptions {
  readonly directory: ApprovalDirectory
  readonly waiters: RequestWaiters
}
