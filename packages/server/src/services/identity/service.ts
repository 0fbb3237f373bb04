import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { Service } from "../../router/handler.ts"
import { makeKeyText } from "../../router/key-text.ts"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import type { Tx } from "../../storage/database.ts"
import { identityHandlers } from "./handlers.ts"
import { createKeyDirectory, keysComponent, type KeyDirectory } from "./key-directory.ts"
import type { IdentityOptions } from "./options.ts"
import { insertAccount, insertKey } from "./store.ts"

/** The account that the first start makes. */
export const firstAccount = "main"

/** Accounts, API keys, who may do what. */
export function createIdentityService(options: IdentityOptions): { service: Service; keys: KeyDirectory } {
  return {
    service: { name: "identity", handlers: identityHandlers(options) },
    keys: createKeyDirectory(options.database),
  }
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
