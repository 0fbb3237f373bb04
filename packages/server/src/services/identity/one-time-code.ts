import { createHash } from "node:crypto"
import { encodeBase32 } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"

const groups = 5
const groupCharacters = 4

/** A code that a person can read out: 100 random bits. @example "k7qf-9m2t-x4wd-p8rc-3hn6" */
export function makeOneTimeCode(random: Random): string {
  // The last characters of the text are all of random bits.
  const text = encodeBase32(random.bytes(16)).slice(-groups * groupCharacters)
  return Array.from({ length: groups }, (_, i) => text.slice(i * groupCharacters, (i + 1) * groupCharacters)).join("-")
}

/** Case, dashes and spaces don't count; letters that look like digits are those digits. */
export function hashOneTimeCode(code: string): string {
  const plain = code.toLowerCase().replace(/[\s-]/g, "").replaceAll("o", "0").replaceAll(/[il]/g, "1")
  return createHash("sha256").update(plain).digest("hex")
}
