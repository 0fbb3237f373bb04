import { masterKeyGet, masterKeyRotate } from "@signalbox/contracts/secrets/master-key"
import type { OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { installationAccount, raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import { fingerprintOf } from "./envelope.ts"
import { keysComponent, refuseSecondRotation, rotationSubject, type KeyKeeper } from "./key-keeper.ts"
import {
  findMasterKey,
  insertSlots,
  listSlots,
  lockMasterKey,
  updateMasterKey,
  type MasterKeyRow,
} from "./key-store.ts"
import { newRingKey, openSlots, slotOf } from "./master-key.ts"
import type { Rotation } from "./rotation-model.ts"

export interface RotationParts {
  readonly keeper: KeyKeeper
  /** Lets this server see at once what it has written. */
  readonly changed: () => Promise<void>
}

export function rotationHandlers({ keeper, changed }: RotationParts): Handler[] {
  return [
    onRead(masterKeyGet, async (_, { sql }) => {
      const row = await findMasterKey(sql)
      assert(row, "a server has a master key")
      const { rotation } = row
      return toMasterKey(row, rotation === null ? [] : await keeper.serversWithout(rotation))
    }),
    onChange(
      masterKeyRotate,
      async (_, ctx) => {
        const row = await beginRotation(keeper, ctx)
        ctx.afterCommit(changed)
        return toMasterKey(row, [])
      },
      {
        async prepare(_, { sql }) {
          refuseSecondRotation((await findMasterKey(sql))?.rotation ?? null)
          await findNext(keeper)
        },
      },
    ),
  ]
}

/** Of the place where it lies, or made there. @throws secrets.next-key-missing, secrets.next-key-unusable */
async function findNext({ source }: KeyKeeper): Promise<Uint8Array> {
  const { rotation } = source
  if (!rotation) throw new AppError("secrets.next-key-missing", `${source.place} can't hold another master key`)
  return (await rotation.read("next")) ?? (await rotation.makeNext())
}

async function beginRotation(keeper: KeyKeeper, ctx: ChangeContext): Promise<MasterKeyRow> {
  const { tx, now, caller, account } = ctx
  const row = await lockMasterKey(tx)
  refuseSecondRotation(row.rotation)
  const masterKey = await findNext(keeper)
  const next = { masterKey, fingerprint: fingerprintOf(masterKey) }
  if (next.fingerprint === row.fingerprint)
    throw new AppError("secrets.next-key-unusable", `the next master key is the present one (${row.fingerprint})`)
  const before = openSlots(keeper.opened, await listSlots(tx))
  if (keeper.opened.fingerprint !== row.fingerprint || !before.has(row.generation))
    throw new AppError("secrets.master-key-wrong", "this server has an older master key: put the present one there")
  const generation = Math.max(...before.keys()) + 1
  const added = newRingKey()
  const all = new Map([...before, [generation, added] as const])
  const slots = [...all].map(([number, key]) => slotOf(next, number, key))
  await insertSlots(tx, [...slots, slotOf(keeper.opened, generation, added)])
  const rotation: Rotation = {
    stage: "adopting",
    ...{ fingerprint: next.fingerprint, generation, startedAt: now, startedBy: caller.principal },
    ...{ account, cause: ctx.cause, causedBy: ctx.requestId, depth: ctx.depth, rewrapped: 0 },
  }
  await updateMasterKey(tx, { ...row, rotation })
  await raiseConfigurationVersion(tx, installationAccount, keysComponent)
  const { aggregateId: aggregate, subject, subjectVersion: version } = rotationSubject(generation, "started")
  const data = { fingerprint: next.fingerprint, generation }
  ctx.emit({ aggregate, subject, version, type: "master-key.rotation-started", data })
  return { ...row, rotation }
}

function toMasterKey(row: MasterKeyRow, waitsFor: readonly string[]): OutputOf<typeof masterKeyGet> {
  const { fingerprint, generation, rotation, rotatedAt } = row
  return {
    fingerprint,
    generation,
    ...(rotatedAt === null ? {} : { rotatedAt: toInstant(rotatedAt) }),
    ...(rotation === null
      ? {}
      : {
          rotation: {
            stage: rotation.stage,
            fingerprint: rotation.fingerprint,
            generation: rotation.generation,
            startedAt: toInstant(rotation.startedAt),
            startedBy: rotation.startedBy,
            rewrapped: rotation.rewrapped,
            waitsFor: [...waitsFor],
          },
        }),
  }
}
