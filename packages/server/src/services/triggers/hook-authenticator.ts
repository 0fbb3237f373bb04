import { permissionsOf } from "@signalbox/contracts/identity/roles"
import { isSameHash, parseKeyText } from "../../router/key-text.ts"
import type { Authenticator } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { findHookKeys } from "./hook-store.ts"

const permissions = permissionsOf(["hook"])

export const hookPrincipal = (id: string): string => `hook:${id}`

/** Knows the tokens in the addresses of hooks. */
export function createHookAuthenticator(sql: Sql): Authenticator {
  return {
    async authenticate({ token, now }) {
      const given = parseKeyText(token)
      if (!given?.id.startsWith("hok_")) return undefined
      const hook = await findHookKeys(sql, given.account, given.id)
      if (!hook?.spec.enabled) return undefined
      const previous = (hook.previousUntil ?? 0) > now ? hook.previousTokenHash : null
      const isKnown = [hook.tokenHash, previous].some((hash) => hash !== null && isSameHash(hash, given.secretHash))
      if (!isKnown) return undefined
      const { account, id } = hook
      return { account, principal: hookPrincipal(id), kind: "hook", roles: ["hook"], permissions }
    },
  }
}
