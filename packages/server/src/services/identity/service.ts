import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { Service } from "../../router/handler.ts"
import type { Authenticator } from "../../router/ports.ts"
import { makeKeyText } from "../../router/key-text.ts"
import { raiseConfigurationVersion, type ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Tx } from "../../storage/database.ts"
import { identityTasks, startFlushing } from "./background.ts"
import { identityHandlers } from "./handlers.ts"
import { createKeyDirectory, keysComponent, type KeyDirectory } from "./key-directory.ts"
import type { IdentityOptions } from "./options.ts"
import { createPasswords } from "./password.ts"
import { createPeople } from "./people-directory.ts"
import { createSessionDirectory } from "./session-directory.ts"
import { insertAccount, insertKey } from "./store.ts"

export type { IdentityOptions } from "./options.ts"

/** The account that the first start makes. */
export const firstAccount = "main"

/** Accounts, users and their sessions, service accounts, API keys, who may do what. */
export function createIdentityService(options: IdentityOptions): {
  readonly service: Service
  /** Knows API keys, and everybody of an account. */
  readonly keys: KeyDirectory
  readonly authenticators: readonly Authenticator[]
  readonly listeners: readonly ConfigurationListener[]
} {
  const { database, clock, random } = options
  const people = createPeople(database)
  const keys = createKeyDirectory(database, people)
  const { idleMilliseconds } = options.sessions
  const sessions = createSessionDirectory({ sql: database, people, idleMilliseconds, now: () => clock.now() })
  const passwords = createPasswords({ random, ...(options.passwordCost ? { cost: options.passwordCost } : {}) })
  let flushing: ReturnType<typeof startFlushing> | undefined
  const service: Service = {
    name: "identity",
    handlers: identityHandlers({ ...options, directory: keys, passwords }),
    cronTasks: identityTasks(() => clock.now()),
    start() {
      flushing = startFlushing(sessions, options)
      return Promise.resolve()
    },
    stop: async () => flushing?.stop(),
  }
  return { service, keys, authenticators: [keys, sessions], listeners: [people, keys, sessions] }
}

/**
 * Makes the first account and its administrator's key where there is no account yet. The key's text is handed to
 * `keep` before the commit: a server that dies in between has written a key that opens nothing, and the next start
 * makes another; never is there a key that nobody knows.
 */
export async function bootstrapIdentity(
  options: Pick<IdentityOptions, "database" | "clock" | "random">,
  keep: (keyText: string) => Promise<void>,
): Promise<void> {
  const { database, clock, random } = options
  await database.transaction(async (tx) => {
    await tx.query("lock table accounts in share row exclusive mode")
    const [existing] = await tx.query("select 1 from accounts limit 1")
    if (existing) return
    await insertAccount(tx, firstAccount, "Main")
    await keep(await addAdministrator(tx, { clock, random, account: firstAccount }))
  })
}

async function addAdministrator(tx: Tx, options: { clock: Clock; random: Random; account: string }): Promise<string> {
  const id = newId("key", options.clock, options.random)
  const { text, secretHash } = makeKeyText({ account: options.account, id }, options.random)
  await insertKey(tx, {
    account: options.account,
    id,
    name: "first administrator",
    roles: ["platform"],
    secretHash,
    createdBy: "system:bootstrap",
  })
  await raiseConfigurationVersion(tx, options.account, keysComponent)
  return text
}
