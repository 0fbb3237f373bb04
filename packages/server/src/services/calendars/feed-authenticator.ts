import { permissionsOf } from "@signalbox/contracts/identity/roles"
import { isSameHash, parseKeyText } from "../../router/key-text.ts"
import type { Authenticator } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import { findFeed } from "./feed-store.ts"

const permissions = permissionsOf(["feed"])

export const feedPrincipal = (id: string): string => `feed:${id}`

/** Knows the tokens in the addresses of calendar feeds. */
export function createFeedAuthenticator(sql: Sql): Authenticator {
  return {
    async authenticate({ token }) {
      const given = parseKeyText(token)
      if (!given?.id.startsWith("cfd_")) return undefined
      const feed = await findFeed(sql, given.account, given.id)
      if (!feed || !isSameHash(feed.secretHash, given.secretHash)) return undefined
      const { account, id } = feed
      return { account, principal: feedPrincipal(id), kind: "feed", roles: ["feed"], permissions }
    },
  }
}
