import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Egress } from "../../egress/egress.ts"
import type { MailSettings } from "../../mail-settings.ts"
import type { OperationCaller, Sealer, SecretReader } from "../../router/ports.ts"
import type { Database, StorageLogger } from "../../storage/database.ts"

export interface NotificationsOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: StorageLogger
  readonly operations: OperationCaller
  readonly secrets: Pick<SecretReader, "read" | "versions">
  readonly sealer: Sealer
  readonly egress: Pick<Egress, "request">
  /** Absent where the server has no mail server: then there are no mail channels. */
  readonly mail?: MailSettings
  /** How people reach this server: links in messages begin with it. */
  readonly publicUrl: string
  /** Pauses between tries; `retryPausesMilliseconds` unless a test shortens them. */
  readonly retryPausesMilliseconds?: readonly number[]
  /** How often this server looks for what is due, besides when it makes a delivery itself. */
  readonly deliveryScanMilliseconds?: number
}

/** With how to tell that a delivery has been committed. */
export interface NotificationsContext extends NotificationsOptions {
  readonly sender: { wake(): void }
}
