import type { Service } from "../../router/handler.ts"
import type { Sealer, SecretReader } from "../../router/ports.ts"
import type { Database } from "../../storage/database.ts"
import { createMac, markSecretInput } from "./envelope.ts"
import { secretsHandlers } from "./handlers.ts"
import { openMasterKey, type MasterKeySource } from "./master-key.ts"
import type { ReferencePolicy } from "./reference.ts"
import { createSealer } from "./sealer.ts"
import { createSecretReader } from "./secret-reader.ts"

export interface SecretsOptions {
  readonly database: Database
  readonly masterKey: MasterKeySource
  readonly references: ReferencePolicy
}

/**
 * The encrypted store of values that steps use. Resolves once the master key is known to be the installation's.
 *
 * @throws secrets.master-key-missing, secrets.master-key-wrong
 */
export async function createSecretsService(options: SecretsOptions): Promise<{
  readonly service: Service
  readonly reader: SecretReader
  /** What stands for a secret input in the router's digests. */
  readonly markInput: (text: string) => string
  readonly sealer: Sealer
  /** HMAC-SHA256 under a key that is derived from the master key for one use. */
  readonly macFor: (use: string) => (text: string) => Uint8Array
}> {
  const { database, references } = options
  const masterKey = await openMasterKey(database, options.masterKey)
  return {
    service: { name: "secrets", handlers: secretsHandlers({ masterKey, references }) },
    reader: createSecretReader({ sql: database, masterKey, references }),
    markInput: markSecretInput(masterKey),
    sealer: createSealer(masterKey),
    macFor: (use) => createMac(masterKey, use),
  }
}
