import { assert } from "./assert.ts"
import type { Clock } from "./clock.ts"
import type { Random } from "./random.ts"

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
const pairs = Array.from(alphabet, (first) => Array.from(alphabet, (second) => first + second)).flat()

/** What an id names, by its prefix. */
export const idPrefixes = {
  account: "acc",
  key: "key",
  principal: "prn",
  user: "usr",
  serviceAccount: "sva",
  userSession: "uss",
  identityProvider: "idp",
  request: "req",
  event: "evt",
  node: "nod",
  enrollmentKey: "enk",
  group: "grp",
  session: "ses",
  execution: "exe",
  server: "srv",
  audit: "aud",
  artifact: "art",
  schedule: "sch",
  firing: "fir",
  window: "win",
  changeCalendar: "cal",
  calendarFeed: "cfd",
  breakGlassReview: "bgr",
  channel: "chn",
  subscription: "sub",
  delivery: "dlv",
  approvalRequest: "apr",
  approvalLink: "apl",
  approvalTemplate: "apt",
  approvalGroup: "apg",
  association: "aas",
  delegation: "apd",
  product: "prd",
  portfolio: "pfo",
  instance: "ins",
  externalService: "svc",
  signal: "sig",
  silence: "sil",
  hook: "hok",
  hookMessage: "hkm",
  trigger: "trg",
  triggerFiring: "tfr",
  rule: "rul",
  action: "act",
} as const

export type IdKind = keyof typeof idPrefixes

/** 16 bytes as 26 characters of lower-case Crockford base32 (the first two bits are padding). */
export function encodeBase32(bytes: Uint8Array): string {
  assert(bytes.length === 16, "an id has 16 bytes")
  let text = ""
  // The padding, then two characters as soon as their ten bits are there.
  let bits = 2
  let value = 0
  for (const byte of bytes) {
    value = (value << 8) | byte
    bits += 8
    if (bits < 10) continue
    bits -= 10
    text += pairs[value >>> bits] ?? ""
    value &= (1 << bits) - 1
  }
  return text
}

/** The 16 bytes of such a text; undefined where it is none. */
export function decodeBase32(text: string): Uint8Array | undefined {
  if (text.length !== 26) return undefined
  let value = 0n
  for (const character of text) {
    const digit = alphabet.indexOf(character)
    if (digit === -1) return undefined
    value = (value << 5n) | BigInt(digit)
  }
  const bytes = new Uint8Array(16)
  for (let index = 15; index >= 0; index--, value >>= 8n) bytes[index] = Number(value & 255n)
  return value === 0n ? bytes : undefined
}

/**
 * A new id: prefix, `_`, and a UUIDv7 in base32, so ids of one kind sort by the millisecond in which they were made.
 *
 * @example newId("execution", clock, random) // "exe_01jd3v0n9wfx2s8q4r6t8v0xya"
 */
export function newId(kind: IdKind, clock: Clock, random: Random): string {
  const bytes = new Uint8Array(16)
  const now = clock.now()
  assert(Number.isSafeInteger(now) && now >= 0, "the clock gives whole milliseconds since 1970")
  let rest = now
  for (let i = 5; i >= 0; i--) {
    bytes[i] = rest % 256
    rest = Math.floor(rest / 256)
  }
  bytes.set(random.bytes(10), 6)
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  return `${idPrefixes[kind]}_${encodeBase32(bytes)}`
}

/** The id of a task as people see it: `tsk_` + the execution's characters + `_` + ordinal (D23). */
export function taskId(executionId: string, ordinal: number): string {
  return `tsk_${executionId.slice(4)}_${ordinal}`
}

/** The parts of a task's id, or undefined where the text is none. */
export function parseTaskId(text: string): { executionId: string; ordinal: number } | undefined {
  const match = /^tsk_([0-9a-z]{26})_(\d{1,9})$/.exec(text)
  return match ? { executionId: `exe_${match[1]}`, ordinal: Number(match[2]) } : undefined
}
