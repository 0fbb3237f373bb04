import { createPublicKey } from "node:crypto"
import { readStatement, signStatement } from "@signalbox/attestation/signed-envelope"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  chainStart,
  ChainCheck,
  readCheckpoint,
  sealRecord,
  signCheckpoint,
  type ChainFault,
  type ChainItem,
  type ChainRecord,
  type Checkpoint,
} from "./audit-chain.ts"
import { newSigningKey } from "./signing-key.ts"

const account = "main"

const records = fc
  .array(
    fc.record(
      {
        aggregate: fc.string(),
        time: fc.constant("2030-01-01T00:00:00.000000Z"),
        principal: fc.string(),
        operation: fc.string(),
        subject: fc.string(),
        outcome: fc.string(),
        cause: fc.string(),
        causedBy: fc.string(),
        sourceAddress: fc.string(),
        inputDigest: fc.string(),
      },
      { requiredKeys: ["aggregate", "time", "principal", "operation", "subject", "outcome", "cause", "inputDigest"] },
    ),
    { minLength: 3, maxLength: 30 },
  )
  .map((all) =>
    all.map((one, index): ChainRecord => {
      const id = `req_${String(index).padStart(4, "0")}`
      return { ...one, id, account, position: String(100 + Math.floor(index / 3)) }
    }),
  )

function chainOf(all: readonly ChainRecord[]): ChainItem[] {
  const items: ChainItem[] = []
  for (const record of all)
    items.push({ ...sealRecord(items.at(-1) ?? chainStart, record), recordId: record.id, record })
  return items
}

const linkOf = ({ number, hash }: { number: number; hash: string }) => ({ number, hash })

function verify(
  items: readonly ChainItem[],
  { head = items.at(-1) ?? chainStart, checkpoints = [] as readonly Checkpoint[] } = {},
): ChainFault | undefined {
  const check = new ChainCheck({ account, start: chainStart })
  for (const checkpoint of checkpoints) expect(check.expect(checkpoint)).toBeUndefined()
  for (const item of items) {
    const fault = check.check(item)
    if (fault) return fault
  }
  return check.finish(linkOf(head))
}

describe("X3: the audit chain", () => {
  test("a chain fits as it was sealed, with every checkpoint of it", () => {
    fc.assert(
      fc.property(records, (all) => {
        const items = chainOf(all)
        const checkpoints = items.map((item) => ({ ...linkOf(item), account, time: "T" }))
        expect(verify(items, { checkpoints })).toBeUndefined()
        expect(items.map(({ number }) => number)).toEqual(all.map((_, index) => index + 1))
      }),
    )
  })

  test("any change of any member of any record is found at that record", () => {
    const change = fc.tuple(records, fc.nat(), fc.nat(), fc.string())
    fc.assert(
      fc.property(change, ([all, where, which, text]) => {
        const items = chainOf(all)
        const index = where % items.length
        const item = items[index]
        const members = Object.keys(item?.record ?? {}) as Array<keyof ChainRecord>
        const member = members[which % members.length]
        if (!item?.record || !member) return
        const value = `${item.record[member]}${text || "x"}`
        const changed = items.with(index, { ...item, record: { ...item.record, [member]: value } })
        expect(verify(changed)?.number).toBe(index + 1)
        const { causedBy: _, ...without } = item.record
        const removed = items.with(index, { ...item, record: without })
        expect(verify(removed)?.number).toBe(item.record.causedBy === undefined ? undefined : index + 1)
      }),
    )
  })

  test("what is taken out, put in, swapped, repeated or cut off is found where it happened", () => {
    fc.assert(
      fc.property(records, fc.nat(), (all, where) => {
        const items = chainOf(all)
        const index = where % (items.length - 1)
        const [here, next] = items.slice(index)
        const head = items.at(-1)
        if (!here || !next || !head) return
        const at = (changed: readonly ChainItem[]) => verify(changed, { head })?.number
        expect(at(items.toSpliced(index, 1))).toBe(index + 1)
        expect(at(items.with(index, { ...here, record: undefined }))).toBe(index + 1)
        expect(at(items.toSpliced(index, 0, here))).toBe(index + 2)
        expect(at(items.toSpliced(index, 2, next, here))).toBe(index + 1)
        const records = { here: { ...here, record: next.record }, next: { ...next, record: here.record } }
        expect(at(items.toSpliced(index, 2, records.here, records.next))).toBe(index + 1)
        expect(at(items.slice(0, index + 1))).toBe(index + 2)
      }),
    )
  })

  test("a chain that was written anew, or cut with its head, contradicts a checkpoint that was kept", () => {
    fc.assert(
      fc.property(records, fc.nat(), (all, where) => {
        const items = chainOf(all)
        const index = where % items.length
        const kept = { ...linkOf(items[index] ?? chainStart), account, time: "T" }
        const anew = chainOf(
          all.map((record, at) => (at === 0 ? { ...record, outcome: `${record.outcome}!` } : record)),
        )
        expect(verify(anew)).toBeUndefined()
        expect(verify(anew, { checkpoints: [kept] })?.number).toBe(index + 1)
        if (index > 0) expect(verify(items.slice(0, index), { checkpoints: [kept] })?.number).toBe(index + 1)
      }),
    )
  })

  test("order is part of the seal: a record sealed after a later one is found", () => {
    const [first, second] = fc.sample(records, 1)[0] ?? []
    if (!first || !second) throw new Error("there are three records at least")
    const items = chainOf([{ ...first, position: "200" }, second])
    expect(verify(items)).toMatchObject({ number: 2, what: expect.stringContaining("out of order") as string })
  })
})

describe("X3: signatures", () => {
  const checkpoint = { account, number: 7, hash: "ab", time: "2030-01-01T00:00:00.000Z" }

  test("a checkpoint is read with the key that signed it and with no other", () => {
    const [key, other] = [newSigningKey(), newSigningKey()]
    const envelope = signCheckpoint(key, checkpoint)
    expect(readCheckpoint(envelope, [other.publicKey, key.publicKey])).toEqual(checkpoint)
    expect(readCheckpoint(envelope, [other.publicKey])).toBeUndefined()
    const forged = {
      ...envelope,
      payload: Buffer.from(JSON.stringify({ ...checkpoint, number: 6 })).toString("base64"),
    }
    expect(readCheckpoint(forged, [key.publicKey])).toBeUndefined()
  })

  test("a statement of one type can't stand for one of another", () => {
    const key = newSigningKey()
    const envelope = signStatement(key, "application/vnd.signalbox.vote+json", checkpoint)
    expect(readCheckpoint(envelope, [key.publicKey])).toBeUndefined()
    const relabelled = { ...envelope, payloadType: "application/vnd.signalbox.audit-checkpoint+json" }
    expect(readCheckpoint(relabelled, [key.publicKey])).toBeUndefined()
    const type = "application/vnd.signalbox.vote+json"
    expect(readStatement(envelope, type, [createPublicKey(key.publicKey)])).toEqual({
      statement: checkpoint,
      keyId: key.keyId,
    })
  })
})
