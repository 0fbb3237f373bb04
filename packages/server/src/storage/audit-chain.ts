/**
 * The audit chain of an account, as plain computing: how a record is sealed, and how a chain is checked. Each seal's
 * hash covers its number, the whole record and the hash before it, so that nothing can be changed, taken out, put in
 * or swapped without every later hash saying so. What cuts off the tail is found by the chain's head and by signed
 * checkpoints; one that is kept elsewhere finds it even where the head and all checkpoints here were cut with it.
 */
import { createHash, createPublicKey, type KeyObject } from "node:crypto"
import { readStatement, signStatement } from "@signalbox/attestation/signed-envelope"
import type { SignedEnvelope } from "@signalbox/contracts/approvals/signed-votes"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import type { SigningKey } from "./signing-key.ts"

/**
 * A record as it is sealed: every column of `audit`. Members that are null in the database are left out, so that a
 * column that comes later changes no hash of before.
 */
export interface ChainRecord {
  readonly id: string
  readonly aggregate: string
  readonly account: string
  /** RFC 3339, UTC, microseconds. */
  readonly time: string
  /** The place in the order of commits, as text. */
  readonly position: string
  readonly principal: string
  readonly operation: string
  readonly subject: string
  readonly outcome: string
  readonly cause: string
  readonly causedBy?: string | undefined
  readonly sourceAddress?: string | undefined
  readonly inputDigest: string
}

/** The place of a record in its chain. */
export interface ChainLink {
  /** From 1, without a gap. */
  readonly number: number
  /** SHA-256 in hex. */
  readonly hash: string
}

/** Before the first record. */
export const chainStart: ChainLink = { number: 0, hash: "0".repeat(64) }

export function sealRecord(before: ChainLink, record: ChainRecord): ChainLink {
  const number = before.number + 1
  const hash = createHash("sha256")
    .update(canonicalJson({ number, previous: before.hash, record }))
    .digest("hex")
  return { number, hash }
}

/** What a signed checkpoint says: the chain had this head then. */
export interface Checkpoint extends ChainLink {
  readonly account: string
  readonly time: string
}

export const checkpointType = "application/vnd.signalbox.audit-checkpoint+json"

export function signCheckpoint(key: SigningKey, checkpoint: Checkpoint): SignedEnvelope {
  return signStatement(key, checkpointType, checkpoint)
}

/** Undefined where none of the keys signed it, or where it is no checkpoint. */
export function readCheckpoint(envelope: SignedEnvelope, publicKeys: readonly string[]): Checkpoint | undefined {
  const { statement } = readStatement(envelope, checkpointType, publicKeys.map(readPem)) ?? {}
  return statement as Checkpoint | undefined
}

const readPem = (pem: string): KeyObject => createPublicKey(pem)

/** A seal with its record, as it is read from the database or from an export. */
export interface ChainItem extends ChainLink {
  readonly recordId: string
  /** Undefined where the record is gone. */
  readonly record?: ChainRecord | undefined
}

/** The first place where a chain doesn't fit. */
export interface ChainFault {
  /** Of the seal; absent where there is none. */
  readonly number?: number
  /** Of the record. */
  readonly id?: string
  readonly what: string
}

/** Checks a chain item by item, in memory of one; after the first fault there is nothing more to say about it. */
export class ChainCheck {
  readonly #account: string
  readonly #expected = new Map<number, Checkpoint[]>()
  #newest = 0
  #last: ChainLink
  #position: readonly [bigint, string] | undefined

  /** `start` is the link before the first item; what it says is taken on trust. */
  constructor(options: { readonly account: string; readonly start: ChainLink }) {
    this.#account = options.account
    this.#last = options.start
  }

  /** The last link that fits. */
  get last(): ChainLink {
    return this.#last
  }

  /** Takes a checkpoint whose signature was checked; to be called before the item of its number. */
  expect(checkpoint: Checkpoint): ChainFault | undefined {
    const { number } = checkpoint
    if (checkpoint.account !== this.#account)
      return { number, what: `the checkpoint of ${checkpoint.time} is of the account ${checkpoint.account}` }
    if (number < this.#last.number)
      return { number, what: `the checkpoint of record ${number} comes after record ${this.#last.number}` }
    this.#expected.set(number, [...(this.#expected.get(number) ?? []), checkpoint])
    this.#newest = Math.max(this.#newest, number)
    return number === this.#last.number ? this.#contradiction({ number, hash: this.#last.hash }) : undefined
  }

  check(item: ChainItem): ChainFault | undefined {
    const { number, recordId: id, record, hash } = item
    const expected = this.#last.number + 1
    if (number !== expected) {
      const missing = number - 1 > expected ? `records ${expected} to ${number - 1} are` : `record ${expected} is`
      return { number: expected, what: number > expected ? `${missing} missing` : `record ${number} comes twice` }
    }
    if (!record) return { number, id, what: `record ${number} (${id}) is gone` }
    const link = sealRecord(this.#last, record)
    const isOther = link.hash !== hash || record.id !== id || record.account !== this.#account
    if (isOther) return { number, id, what: `record ${number} (${id}) or its seal is not what was sealed` }
    if (this.#isOutOfOrder(record)) return { number, id, what: `record ${number} (${id}) was sealed out of order` }
    const fault = this.#contradiction(link)
    if (fault) return { ...fault, id }
    this.#last = link
    return undefined
  }

  /** After the last item. `head` is what the database or the export says that the last link is. */
  finish(head: ChainLink): ChainFault | undefined {
    const { number, hash } = this.#last
    const newest = Math.max(head.number, this.#newest)
    if (newest > number) return { number: number + 1, what: `the end is cut off: records up to ${newest} were sealed` }
    if (head.number !== number || head.hash !== hash)
      return { number, what: `the chain's head names record ${head.number}, and the last is ${number}` }
    return undefined
  }

  #isOutOfOrder({ position, id }: ChainRecord): boolean {
    const here = BigInt(position)
    const [before, idBefore] = this.#position ?? [-1n, ""]
    this.#position = [here, id]
    return here < before || (here === before && id <= idBefore)
  }

  #contradiction({ number, hash }: ChainLink): ChainFault | undefined {
    const other = this.#expected.get(number)?.find((checkpoint) => checkpoint.hash !== hash)
    this.#expected.delete(number)
    if (!other) return undefined
    return { number, what: `record ${number} is not the one that the checkpoint of ${other.time} was signed over` }
  }
}
