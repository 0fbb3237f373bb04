import { permissionsOf, type RoleName } from "@signalbox/contracts/identity/roles"
import { isSameHash, parseKeyText } from "../../router/key-text.ts"
import type { Caller } from "../../router/handler.ts"
import type { Authenticator, PrincipalDirectory } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import { readKeys } from "./store.ts"

/**
 * Every API key of the installation in memory, so that no call asks the database who it is. An account's keys are
 * replaced whole when their version grows; a revoked key is refused within the poll interval on every server.
 */
interface KnownKey {
  readonly secretHash: string
  readonly expiresAt: number | null
  readonly caller: Caller
}

export interface KeyDirectory extends Authenticator, PrincipalDirectory, ConfigurationListener {}

export const keysComponent = "identity.keys"

export function createKeyDirectory(sql: Sql): KeyDirectory {
  const accounts = new Map<string, ReadonlyMap<string, KnownKey>>()
  return {
    component: keysComponent,
    async load(account) {
      const keys = new Map<string, KnownKey>()
      for (const row of await readKeys(sql, account)) {
        if (row.revoked_at !== null) continue
        const roles = row.roles as RoleName[]
        const caller: Caller = {
          account,
          principal: `key:${row.id}`,
          kind: "key",
          roles,
          permissions: permissionsOf(roles),
          ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
        }
        keys.set(row.id, { secretHash: row.secret_hash, expiresAt: row.expires_at, caller })
      }
      accounts.set(account, keys)
    },
    authenticate({ token, now }) {
      const parsed = parseKeyText(token)
      const known = parsed && accounts.get(parsed.account)?.get(parsed.id)
      const good =
        known && isSameHash(known.secretHash, parsed.secretHash) && (known.expiresAt === null || known.expiresAt > now)
      return Promise.resolve(good ? known.caller : undefined)
    },
    findPrincipal(account, principal, now) {
      const known = accounts.get(account)?.get(principal.replace(/^key:/, ""))
      return known && principal === known.caller.principal && (known.expiresAt ?? Infinity) > now
        ? known.caller
        : undefined
    },
  }
}
