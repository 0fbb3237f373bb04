import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { Service } from "../../router/handler.ts"
import type { Mac, SealedTexts, Sealer, SecretReader } from "../../router/ports.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Database, StorageLogger } from "../../storage/database.ts"
import { createMac, markSecretInput } from "./envelope.ts"
import { secretsHandlers } from "./handlers.ts"
import { KeyKeeper, keysComponent } from "./key-keeper.ts"
import { firstGeneration } from "./key-ring.ts"
import type { MasterKeySource } from "./master-key.ts"
import type { ReferencePolicy } from "./reference.ts"
import { rotationHandlers } from "./rotation-handlers.ts"
import { createSealer } from "./sealer.ts"
import { createSecretReader } from "./secret-reader.ts"
import { namesRetention } from "./store.ts"

export interface SecretsOptions {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly logger: StorageLogger
  readonly masterKey: MasterKeySource
  readonly references: ReferencePolicy
  /** Left out, this process only reads: it takes no part in rotations of the master key. */
  readonly serverId?: string
  readonly configurationChanged?: () => Promise<void>
  readonly rotationPollMilliseconds?: number
}

export interface SecretsService {
  readonly service: Service
  readonly reader: SecretReader
  /** What stands for a secret input in the router's digests. The same for ever, since digests are compared. */
  readonly markInput: (text: string) => string
  /** For those who say where their sealed texts are, so that a rotation of the master key finds them. */
  readonly sealerFor: (texts: SealedTexts) => Sealer
  /** Signs with keys that are derived from the installation's for one use. */
  readonly macFor: (use: string) => Mac
  readonly listener: ConfigurationListener
}

/**
 * The encrypted store of values that steps use. Resolves once the master key is known to be the installation's.
 *
 * @throws secrets.master-key-missing, secrets.master-key-wrong
 */
export async function createSecretsService(options: SecretsOptions): Promise<SecretsService> {
  const { database, references, masterKey: source, rotationPollMilliseconds: pollMilliseconds } = options
  const keeper = await KeyKeeper.open({ ...options, source, ...(pollMilliseconds && { pollMilliseconds }) })
  const { ring } = keeper
  const sealer = createSealer(ring)
  return {
    service: {
      name: "secrets",
      handlers: [
        ...secretsHandlers({ ring, references }),
        ...rotationHandlers({ keeper, changed: options.configurationChanged ?? (() => Promise.resolve()) }),
      ],
      cronTasks: [namesRetention(() => options.clock.now())],
      start: () => {
        keeper.start()
        return Promise.resolve()
      },
      stop: () => keeper.stop(),
    },
    reader: createSecretReader({ sql: database, ring, reload: () => keeper.load(), references }),
    markInput: markSecretInput(ring.get(firstGeneration)),
    sealerFor(texts) {
      keeper.watch(texts)
      return sealer
    },
    macFor: (use) => ({
      make: (text) => createMac(ring.get(ring.current), use)(text),
      all: (text) => ring.generations.map((generation) => createMac(ring.get(generation), use)(text)),
    }),
    listener: { component: keysComponent, load: () => keeper.load() },
  }
}
