import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { OperationCaller, PrincipalDirectory, StandingCaller, StandingRecord } from "../../router/ports.ts"
import type { RuleMatcher } from "../../router/rule-ports.ts"
import type { Database, StorageLogger } from "../../storage/database.ts"

export interface ActionsOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: StorageLogger
  readonly rules: Pick<RuleMatcher, "eventTypes" | "isAwaited" | "matchEvent" | "find" | "isInForce">
  readonly operations: OperationCaller
  readonly standing: StandingCaller & StandingRecord
  readonly principals: PrincipalDirectory
  /** How people reach this server: addresses of runs begin with it. */
  readonly publicUrl: string
  /** Tells dispatchers that events were committed. */
  eventsWritten(): void
  /** Pauses between tries; `retryPausesMilliseconds` unless a test shortens them. */
  readonly retryPausesMilliseconds?: readonly number[]
  /** How often this server looks for what is due, besides when it queues a run itself. */
  readonly scanMilliseconds?: number
}

/** With how to tell that a run has been committed. */
export interface ActionsContext extends ActionsOptions {
  readonly performer: { wake(): void }
}
