import { hash } from "node:crypto"
import { encodeBase32 } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"

/**
 * The text of a key: `sbx_<account>_<id>_<secret>`, where `<id>` is the key's id without its underscore (`key…` for an
 * API key, `enk…` for an enrolment key, `uss…` for a user's session, `cfd…` for a calendar feed, `hok…` for a hook) and the secret is 256 random bits. The account stands in it, so that every
 * server finds the right directory without asking (D22). Only the secret's SHA-256 is kept: it has full entropy, so a
 * slow password hash would add nothing but load.
 */
export interface KeyText {
  readonly account: string
  /** `key_…`, `enk_…`, `uss_…`, `cfd_…` or `hok_…`. */
  readonly id: string
  readonly secretHash: string
}

const pattern = /^sbx_([a-z0-9-]{1,32})_(key|enk|uss|cfd|hok)([0-9a-z]{26})_([0-9a-z]{52})$/

export function makeKeyText(
  key: { account: string; id: string },
  random: Random,
): { text: string; secretHash: string } {
  const secret = encodeBase32(random.bytes(16)) + encodeBase32(random.bytes(16))
  return { text: `sbx_${key.account}_${key.id.replace("_", "")}_${secret}`, secretHash: hashSecret(secret) }
}

/** The parts of a key's text; undefined where it is none. */
export function parseKeyText(text: string): KeyText | undefined {
  const match = pattern.exec(text)
  if (!match) return undefined
  const [, account = "", kind = "", id = "", secret = ""] = match
  return { account, id: `${kind}_${id}`, secretHash: hashSecret(secret) }
}

/** Of texts of the same length in the same time, wherever they differ; in less than it takes to make bytes of them. */
export function isSameHash(a: string, b: string): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let at = 0; at < a.length; at++) difference |= a.charCodeAt(at) ^ b.charCodeAt(at)
  return difference === 0
}

function hashSecret(secret: string): string {
  return hash("sha256", secret, "hex")
}
