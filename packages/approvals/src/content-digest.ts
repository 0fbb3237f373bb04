import { canonicalJson } from "@signalbox/kernel/canonical-json"

/** SHA-256 of a text in UTF-8, in hexadecimal; pure code has none of its own. */
export type Sha256Hex = (text: string) => string

/**
 * What a vote binds to (A14): SHA-256 of the canonical JSON of the whole content, in hexadecimal.
 *
 * @example contentDigest({ operation: "executions.create", input }, sha256Hex)
 */
export function contentDigest(content: unknown, sha256Hex: Sha256Hex): string {
  return sha256Hex(canonicalJson(content ?? null))
}
