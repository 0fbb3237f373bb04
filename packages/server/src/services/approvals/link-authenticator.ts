import { permissionsOf } from "@signalbox/contracts/identity/roles"
import type { Authenticator, Mac } from "../../router/ports.ts"
import { readLinkToken, type LinkPlace } from "./link-token.ts"

const permissions = permissionsOf(["link"])

/** Knows the texts of answer links. What a link may still do is the business of its operations, which say why not. */
export function createLinkAuthenticator(mac: Mac): Authenticator {
  return {
    authenticate({ token }) {
      const place = readLinkToken(token, mac)
      if (!place) return Promise.resolve(undefined)
      const principal = `link:${place.requestId}:${place.linkId}`
      return Promise.resolve({ account: place.account, principal, kind: "link", roles: ["link"], permissions })
    },
  }
}

/** The link that calls. */
export function linkOfCaller({ account, principal }: { account: string; principal: string }): LinkPlace | undefined {
  const [kind, requestId, linkId] = principal.split(":")
  if (kind !== "link" || requestId === undefined || linkId === undefined) return undefined
  return { account, requestId, linkId }
}
