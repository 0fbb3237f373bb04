/**
 * Keeps the installation's keys in memory as the database has them, takes up the next master key when there is one, and
 * carries a rotation through, one step after another; of several servers the first one that lives does that. Every step
 * is a transaction of its own or can be done twice, so a rotation goes on wherever it was left.
 */
import { setTimeout as delay } from "node:timers/promises"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import type { SealedTexts } from "../../router/ports.ts"
import { installationAccount, raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import type { Database, StorageLogger, Tx } from "../../storage/database.ts"
import { appendEvents } from "../../storage/outbox.ts"
import { listLiveServers } from "../../storage/server-lease.ts"
import { fingerprintOf } from "./envelope.ts"
import { KeyRing } from "./key-ring.ts"
import {
  findMasterKey,
  listSlots,
  listUsers,
  lockMasterKey,
  noteRotated,
  noteUser,
  removeOtherSlots,
  removeUsersExcept,
  updateMasterKey,
  type MasterKeyRow,
} from "./key-store.ts"
import { openMasterKey, openSlots, readOwnKeys, type MasterKeySource, type OpenedKeys } from "./master-key.ts"
import { keptGenerations, nextStep, serversWithout, type Rotation, type RotationStep } from "./rotation-model.ts"
import { rewrapAll } from "./rewrap.ts"

export const keysComponent = "secret-keys"
const rotationPollMilliseconds = 1_000

export interface KeyKeeperOptions {
  readonly database: Database
  readonly source: MasterKeySource
  readonly clock: Clock
  readonly random: Random
  readonly logger: StorageLogger
  /** Left out, it takes no part in rotations. */
  readonly serverId?: string | undefined
  readonly pollMilliseconds?: number
}

export class KeyKeeper {
  readonly ring = new KeyRing()
  readonly #options: KeyKeeperOptions
  readonly #sealedTexts: SealedTexts[] = []
  readonly #stop = new AbortController()
  #opened: OpenedKeys
  #row: MasterKeyRow | undefined
  #foundOld: number | undefined
  #loop: Promise<void> | undefined

  private constructor(options: KeyKeeperOptions, opened: OpenedKeys) {
    this.#options = options
    this.#opened = opened
  }

  /** @throws secrets.master-key-missing, secrets.master-key-wrong */
  static async open(options: KeyKeeperOptions): Promise<KeyKeeper> {
    const keeper = new KeyKeeper(options, await openMasterKey(options.database, options.source, options.serverId))
    await keeper.load()
    return keeper
  }

  get source(): MasterKeySource {
    return this.#options.source
  }

  get opened(): OpenedKeys {
    return this.#opened
  }

  /** Rows of others that hold sealed texts. */
  watch(texts: SealedTexts): void {
    this.#sealedTexts.push(texts)
  }

  /** Takes over what the database has now. */
  async load(): Promise<void> {
    const { database } = this.#options
    const row = await findMasterKey(database)
    assert(row, "the fingerprint of a master key is on record once a server has started")
    await this.#adopt(row.rotation?.fingerprint ?? row.fingerprint)
    const slots = await listSlots(database)
    const keys = openSlots(this.#opened, slots)
    this.#row = row
    if (!keys.has(row.generation)) {
      const { place } = this.source
      const message = `the master key was rotated, and ${place} has the one of before: put the present one there`
      this.#options.logger.warn({ fingerprint: row.fingerprint }, message)
      return
    }
    this.ring.replace(keys, row.generation)
    await this.#noteUse()
    await this.#tidy(new Set(slots.map(({ fingerprint }) => fingerprint)))
  }

  /** Who has to take up the next master key still. */
  async serversWithout(rotation: Rotation): Promise<string[]> {
    const { database } = this.#options
    return serversWithout(rotation, { live: await listLiveServers(database), users: await listUsers(database) })
  }

  start(): void {
    if (this.#options.serverId !== undefined) this.#loop = this.#watchRotation()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#loop
  }

  /** The next master key, where it lies here; the previous one goes on opening the installation meanwhile. */
  async #adopt(wanted: string): Promise<void> {
    if (this.#opened.fingerprint === wanted) return
    for (const masterKey of await readOwnKeys(this.source)) {
      if (fingerprintOf(masterKey) !== wanted) continue
      this.#opened = { masterKey, fingerprint: wanted }
      await this.source.rotation?.promoteNext()
      return
    }
  }

  async #noteUse(): Promise<void> {
    const { database, serverId } = this.#options
    if (serverId === undefined) return
    const { fingerprint } = this.#opened
    await noteUser(database, { serverId, fingerprint, generation: this.ring.newest })
  }

  /** A key that came in as the next one takes its place; the previous one goes once it opens nothing any more. */
  async #tidy(fingerprints: ReadonlySet<string>): Promise<void> {
    const { rotation } = this.source
    const next = await rotation?.read("next")
    if (next && fingerprintOf(next) === this.#opened.fingerprint) await rotation?.promoteNext()
    const previous = await rotation?.read("previous")
    if (previous && !fingerprints.has(fingerprintOf(previous))) await rotation?.removePrevious()
  }

  async #watchRotation(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      const { pollMilliseconds = rotationPollMilliseconds, logger } = this.#options
      await delay(pollMilliseconds, undefined, { signal }).catch(() => undefined)
      if (signal.aborted || !this.#row?.rotation) continue
      await this.#advance().catch((error: unknown) =>
        logger.warn({ reason: String(error) }, "a step of the master key's rotation failed; it is tried again"),
      )
    }
  }

  async #advance(): Promise<void> {
    const { database, serverId } = this.#options
    await this.load()
    const rotation = this.#row?.rotation
    const live = await listLiveServers(database)
    if (!rotation || live[0] !== serverId) return
    const step = nextStep(rotation, { live, users: await listUsers(database), foundOld: this.#foundOld })
    if (step === "rewrap") await this.#rewrap(rotation)
    else if (step !== "wait") await this.#take(step)
  }

  async #rewrap(rotation: Rotation): Promise<void> {
    const { database } = this.#options
    // A server that has not heard yet that the new generation is in use may have sealed meanwhile: the last look finds none.
    const found = await rewrapAll({
      ...{ sql: database, ring: this.ring, sealedTexts: this.#sealedTexts, signal: this.#stop.signal },
      generation: rotation.generation,
    })
    if (this.#stop.signal.aborted) return
    this.#foundOld = found
    if (found === 0) return
    await database.transaction(async (tx) => {
      const row = await lockMasterKey(tx)
      if (row.rotation?.generation !== rotation.generation) return
      const rewrapped = row.rotation.rewrapped + found
      await updateMasterKey(tx, { ...row, rotation: { ...row.rotation, rewrapped } })
    })
  }

  /** Both look once more under the lock: a server may have started meanwhile. */
  async #take(step: Exclude<RotationStep, "wait" | "rewrap">): Promise<void> {
    const { database, logger } = this.#options
    const done = await database.transaction(async (tx) => {
      const row = await lockMasterKey(tx)
      if (row.rotation === null) return undefined
      const live = await listLiveServers(tx)
      const known = { live, users: await listUsers(tx), foundOld: this.#foundOld }
      if (nextStep(row.rotation, known) !== step) return undefined
      if (step === "activate")
        await updateMasterKey(tx, {
          ...row,
          generation: row.rotation.generation,
          rotation: { ...row.rotation, stage: "rewrapping" },
        })
      else await this.#finish(tx, row.rotation, live)
      await raiseConfigurationVersion(tx, installationAccount, keysComponent)
      return row.rotation
    })
    if (!done) return
    this.#foundOld = undefined
    await this.load()
    if (step === "finish") logger.warn({ fingerprint: done.fingerprint }, "the master key was rotated")
  }

  async #finish(tx: Tx, rotation: Rotation, live: readonly string[]): Promise<void> {
    const { clock, random } = this.#options
    const { fingerprint, generation, account, cause, causedBy, depth, rewrapped } = rotation
    await updateMasterKey(tx, { fingerprint, generation, rotation: null })
    await noteRotated(tx, clock.now())
    await removeOtherSlots(tx, { fingerprint, generations: keptGenerations(this.ring.generations) })
    await removeUsersExcept(tx, live)
    await appendEvents(tx, [
      {
        ...{ id: newId("event", clock, random), account, cause, causedBy, depth: depth + 1 },
        ...rotationSubject(generation, "finished"),
        type: "master-key.rotated",
        principal: "system:secrets",
        data: { fingerprint, generation, rewrapped },
      },
    ])
  }
}

/** Each rotation has two events; their order follows from its generation. */
export function rotationSubject(
  generation: number,
  when: "started" | "finished",
): { readonly aggregateId: string; readonly subject: string; readonly subjectVersion: number } {
  return {
    aggregateId: "master-key",
    subject: "master-key",
    subjectVersion: generation * 2 - (when === "started" ? 1 : 0),
  }
}

/** @throws secrets.rotation-under-way */
export function refuseSecondRotation(rotation: Rotation | null): asserts rotation is null {
  if (rotation === null) return
  throw new AppError(
    "secrets.rotation-under-way",
    `the master key is being rotated since generation ${rotation.generation}`,
  )
}
