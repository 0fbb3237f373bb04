import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Logger } from "pino"
import type { EgressOptions } from "../egress/egress.ts"
import type { Executor } from "../router/ports.ts"
import type { IdentityOptions } from "../services/identity/service.ts"
import type { NotificationsOptions } from "../services/notifications/service.ts"
import type { SecretsOptions } from "../services/secrets/service.ts"
import type { BlobStore } from "../storage/blob-store.ts"
import type { Connection, Database } from "../storage/database.ts"
import type { SigningKey } from "../storage/signing-key.ts"

export interface CompositionOptions {
  readonly database: Database
  /** Where the database is: background work has connections of its own. */
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly serverId: string
  /** No other server can use this database, so whoever owned an execution before is gone. */
  readonly isOnlyServer?: boolean
  /** How nodes and people reach this server. */
  readonly publicUrl: string
  /** Where members of approval groups reach the pages on which they answer; left out, the public URL. */
  readonly membersUrl?: string
  readonly caFingerprint?: string
  /** Where long outputs and artifacts are kept, and how many bytes of them. */
  readonly blobs: { readonly store: BlobStore; readonly bytesMax: number }
  /** Where the master key of the secrets is kept. */
  readonly masterKey: SecretsOptions["masterKey"]
  /** What this installation signs with; left out, a key that goes with the process. */
  readonly signingKey?: SigningKey
  /** What the routing map calls this server, where others may send it calls; left out, it takes none. */
  readonly destination?: string
  /** Public keys (PEM) of other installations whose servers may send it calls too. */
  readonly trustedSigners?: readonly string[]
  /** Which references to this machine secrets may be; left out, none. */
  readonly secretReferences?: SecretsOptions["references"]
  /** What outgoing calls may reach; left out, public and private networks. */
  readonly egress?: EgressOptions
  /** The mail server that notifications go through; left out, there are no mail channels. */
  readonly mail?: NotificationsOptions["mail"]
  /** How long sessions of users last; left out, the settings' defaults. */
  readonly sessions?: IdentityOptions["sessions"]
  /** What hashing a password takes; left out, today's choice. */
  readonly passwordCost?: NonNullable<IdentityOptions["passwordCost"]>
  /** Takes the place of agents' sessions where there are no agents: in benchmarks. */
  readonly executor?: Executor
  /** Keeps the first administrator's key, where this start makes it. */
  keepFirstKey(keyText: string): Promise<void>
}
