import { timingSafeEqual } from "node:crypto"
import { encodeBase32 } from "@signalbox/kernel/id"
import type { Mac } from "../../router/ports.ts"

/**
 * The text of an answer link: `sbl_<account>_<request>_<link>_<mac>`. The mac is over account, request and link under a
 * key of the installation; what the link is bound to (person, seat, level, content) stands in its row, whose id is made
 * of all that. Pure.
 */
export interface LinkPlace {
  readonly account: string
  /** `apr_…` */
  readonly requestId: string
  /** `apl_…` */
  readonly linkId: string
}

const pattern = /^sbl_([a-z0-9-]{1,32})_([0-9a-z]{26})_([0-9a-z]{26})_([0-9a-z]{52})$/

export function makeLinkToken(place: LinkPlace, mac: Mac): string {
  const { account, requestId, linkId } = place
  return `sbl_${account}_${bare(requestId)}_${bare(linkId)}_${textOf(mac.make(signedOf(place)))}`
}

/** Undefined where it is no link of ours, or was altered. */
export function readLinkToken(text: string, mac: Mac): LinkPlace | undefined {
  const match = pattern.exec(text)
  if (!match) return undefined
  const [, account = "", request = "", link = "", given = ""] = match
  const place = { account, requestId: `apr_${request}`, linkId: `apl_${link}` }
  const isOurs = mac.all(signedOf(place)).some((made) => timingSafeEqual(Buffer.from(given), Buffer.from(textOf(made))))
  return isOurs ? place : undefined
}

function signedOf({ account, requestId, linkId }: LinkPlace): string {
  return JSON.stringify([account, requestId, linkId])
}

function textOf(bytes: Uint8Array): string {
  return encodeBase32(bytes.subarray(0, 16)) + encodeBase32(bytes.subarray(16, 32))
}

function bare(id: string): string {
  return id.slice(id.indexOf("_") + 1)
}
