import { randomBytes } from "node:crypto"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Database, Tx } from "../../storage/database.ts"
import { fingerprintOf, unwrapRingKey, wrapRingKey } from "./envelope.ts"
import { firstGeneration } from "./key-ring.ts"
import {
  claimFingerprint,
  findMasterKey,
  insertSlots,
  listSlots,
  lockMasterKey,
  noteUser,
  removeGoneUsers,
  type KeySlot,
} from "./key-store.ts"

/** Where the master key is kept: a file beside the server, never the database. */
export interface MasterKeySource {
  /** For messages. */
  readonly place: string
  read(): Promise<Uint8Array | undefined>
  /** Makes a key and keeps it; only called where no secret can depend on another one. */
  create(): Promise<Uint8Array>
  /** What a rotation needs; left out, the key can't be rotated. */
  readonly rotation?: {
    /** The key that comes next, and the one before, which is kept until nothing needs it. */
    read(which: "next" | "previous"): Promise<Uint8Array | undefined>
    /** Makes the next key where there is none. @throws secrets.next-key-missing where somebody else provides it */
    makeNext(): Promise<Uint8Array>
    /** The next key takes the place of the key, which is the previous one from then on. */
    promoteNext(): Promise<void>
    removePrevious(): Promise<void>
  }
}

export interface OpenedKeys {
  readonly masterKey: Uint8Array
  readonly fingerprint: string
}

/**
 * The installation's master key. A new one is made only where the database knows none: over existing secrets it would
 * make them unreadable for ever. During a rotation either of the two opens the installation.
 *
 * @throws secrets.master-key-missing, secrets.master-key-wrong
 */
export async function openMasterKey(
  database: Database,
  source: MasterKeySource,
  serverId?: string,
): Promise<OpenedKeys> {
  const own = await readOwnKeys(source)
  if (own.length === 0) {
    if ((await findMasterKey(database)) !== undefined)
      throw new AppError(
        "secrets.master-key-missing",
        `the database has secrets under a master key, and ${source.place} has none`,
      )
    own.push(await source.create())
  }
  return database.transaction((tx) => openSlot(tx, own, { place: source.place, serverId }))
}

/** All that lie here, the key itself first. */
export async function readOwnKeys({ read, rotation }: MasterKeySource): Promise<Uint8Array[]> {
  const keys = [await read(), await rotation?.read("next"), await rotation?.read("previous")]
  return keys.filter((key) => key !== undefined)
}

async function openSlot(
  tx: Tx,
  own: readonly Uint8Array[],
  { place, serverId }: { readonly place: string; readonly serverId: string | undefined },
): Promise<OpenedKeys> {
  const [first] = own
  assert(first, "a server has a master key by now")
  const isFirst = await claimFingerprint(tx, fingerprintOf(first))
  const row = await lockMasterKey(tx)
  const wanted = [row.rotation?.fingerprint, row.fingerprint]
  const keys = own.map((masterKey) => ({ masterKey, fingerprint: fingerprintOf(masterKey) }))
  const found = wanted.flatMap((fingerprint) => keys.find((key) => key.fingerprint === fingerprint) ?? [])[0]
  if (!found) {
    const fingerprint = fingerprintOf(first)
    throw new AppError(
      "secrets.master-key-wrong",
      `the master key in ${place} (${fingerprint}) is not the installation's (${row.fingerprint})`,
      { details: { fingerprint, recorded: row.fingerprint } },
    )
  }
  const slots = await listSlots(tx)
  // Of before there were generations: what is stored lies under the master key itself.
  if (slots.length === 0) await insertSlots(tx, [slotOf(found, firstGeneration, isFirst ? newRingKey() : first)])
  const newest = Math.max(firstGeneration, ...slots.map(({ generation }) => generation))
  if (serverId !== undefined) {
    await removeGoneUsers(tx)
    await noteUser(tx, { serverId, fingerprint: found.fingerprint, generation: newest })
  }
  return found
}

export function newRingKey(): Uint8Array {
  return randomBytes(32)
}

export function slotOf({ masterKey, fingerprint }: OpenedKeys, generation: number, key: Uint8Array): KeySlot {
  return { fingerprint, generation, wrappedKey: wrapRingKey(masterKey, generation, key) }
}

/** The keys that a master key opens, by generation. @throws secrets.unreadable */
export function openSlots({ masterKey, fingerprint }: OpenedKeys, slots: readonly KeySlot[]): Map<number, Uint8Array> {
  const own = slots.filter((slot) => slot.fingerprint === fingerprint)
  return new Map(
    own.map(({ generation, wrappedKey }) => [generation, unwrapRingKey(masterKey, generation, wrappedKey)]),
  )
}
