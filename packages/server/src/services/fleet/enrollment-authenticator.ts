import { permissionsOf } from "@signalbox/contracts/identity/roles"
import type { Authenticator } from "../../router/ports.ts"
import { isSameHash, parseKeyText } from "../../router/key-text.ts"
import type { Sql } from "../../storage/database.ts"
import { findEnrollmentKey } from "./enrollment-key-store.ts"

const permissions = permissionsOf(["enrollment"])

/**
 * Knows the texts of enrolment keys. Only whether the key is genuine is decided here; its expiry, uses and source
 * range have their own errors in `nodes.enroll`.
 */
export function createEnrollmentAuthenticator(sql: Sql): Authenticator {
  return {
    async authenticate({ token }) {
      const given = parseKeyText(token)
      if (!given?.id.startsWith("enk_")) return undefined
      const key = await findEnrollmentKey(sql, given.account, given.id)
      if (!key || key.revokedAt !== null || !isSameHash(key.secretHash, given.secretHash)) return undefined
      return {
        account: key.account,
        principal: `enrollment:${key.id}`,
        kind: "enrollment",
        roles: ["enrollment"],
        permissions,
      }
    },
  }
}
