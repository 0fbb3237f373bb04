import { AppError } from "@signalbox/kernel/app-error"
import type { Database } from "../../storage/database.ts"
import { fingerprintOf } from "./envelope.ts"
import { claimFingerprint, findFingerprint } from "./store.ts"

/** Where the master key is kept: a file beside the server, never the database. */
export interface MasterKeySource {
  /** For messages. */
  readonly place: string
  read(): Promise<Uint8Array | undefined>
  /** Makes a key and keeps it; only called where no secret can depend on another one. */
  create(): Promise<Uint8Array>
}

/**
 * The installation's master key. A new one is made only where the database knows none: over existing secrets it would
 * make them unreadable for ever.
 *
 * @throws secrets.master-key-missing, secrets.master-key-wrong
 */
export async function openMasterKey(database: Database, source: MasterKeySource): Promise<Uint8Array> {
  const existing = await source.read()
  if (!existing && (await findFingerprint(database)) !== undefined)
    throw new AppError(
      "secrets.master-key-missing",
      `the database has secrets under a master key, and ${source.place} has none`,
    )
  const masterKey = existing ?? (await source.create())
  const fingerprint = fingerprintOf(masterKey)
  const recorded = await claimFingerprint(database, fingerprint)
  if (recorded !== fingerprint)
    throw new AppError(
      "secrets.master-key-wrong",
      `the master key in ${source.place} (${fingerprint}) is not the installation's (${recorded})`,
      { details: { fingerprint, recorded } },
    )
  return masterKey
}
