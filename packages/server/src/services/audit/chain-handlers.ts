import { auditCheckpoint, auditExport, signingKeysList } from "@signalbox/contracts/audit/chain-operations"
import type { OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant, type Clock } from "@signalbox/kernel/clock"
import { onRead, type Handler } from "../../router/handler.ts"
import { chainStart, readCheckpoint, signCheckpoint, type ChainLink } from "../../storage/audit-chain.ts"
import {
  findChainHead,
  findChainLink,
  findStretch,
  firstPosition,
  readChainPage,
  type ChainPosition,
} from "../../storage/audit-pages.ts"
import { listCheckpoints } from "../../storage/audit-verify.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Sql } from "../../storage/database.ts"
import type { SignedEnvelope } from "@signalbox/contracts/approvals/signed-votes"
import { listSigningKeys, type SigningKey } from "../../storage/signing-key.ts"

interface ChainParts {
  readonly clock: Clock
  readonly signingKey: SigningKey
}

/** The audit chain as others may compute it again, and what it is signed with. */
export function chainHandlers({ clock, signingKey }: ChainParts): Handler[] {
  return [
    onRead(auditExport, (input, { sql, account }) => exportPage(sql, { ...input, account })),
    onRead(auditCheckpoint, async (_, { sql, account }) => {
      const { number, hash } = await findChainHead(sql, account)
      const checkpoint = { account, number, hash, time: toInstant(clock.now()) }
      return { ...checkpoint, envelope: signCheckpoint(signingKey, checkpoint), publicKey: signingKey.publicKey }
    }),
    onRead(signingKeysList, async (_, { sql }) => {
      const rows = await listSigningKeys(sql)
      return {
        items: rows.map(({ keyId, publicKey, createdAt }) => ({
          keyId,
          algorithm: "ed25519" as const,
          publicKey,
          createdAt: toInstant(createdAt),
          current: keyId === signingKey.keyId,
        })),
      }
    }),
  ]
}

interface ExportInput {
  readonly account: string
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly cursor?: string | undefined
  readonly limit: number
}

interface ExportPlace {
  readonly afterNumber: number
  readonly afterPosition: ChainPosition | undefined
  readonly upToNumber: number
}

async function exportPage(sql: Sql, input: ExportInput): Promise<OutputOf<typeof auditExport>> {
  const { account, limit } = input
  const place = input.cursor === undefined ? await findPlace(sql, input) : readPlace(input.cursor)
  const { head, items, unsealed, position } = await readChainPage(sql, { account, limit, ...place })
  const last = items.at(-1)?.number ?? place.afterNumber
  const isToHead = place.upToNumber >= head.number
  const end = isToHead ? head : ((await findChainLink(sql, account, place.upToNumber)) ?? unknownLink(place.upToNumber))
  const more = items.length === limit && last < end.number
  // Checkpoints beyond the last record tell that the end was cut off.
  const upTo = more || !isToHead ? last : Number.MAX_SAFE_INTEGER
  const after = input.cursor === undefined ? place.afterNumber - 1 : place.afterNumber
  const checkpoints = await listCheckpoints(sql, { account, after, upTo, limit })
  const keys = new Map((await listSigningKeys(sql)).map(({ keyId, publicKey }) => [keyId, publicKey]))
  const begin = checkpoints.find((checkpoint) => checkpoint.number === place.afterNumber)
  const start =
    (await findChainLink(sql, account, place.afterNumber)) ?? (begin && linkOf(begin.envelope, [...keys.values()]))
  return {
    account,
    start: start ?? unknownLink(place.afterNumber),
    items: items.map((item) => ({ ...item })),
    unsealed: unsealed.map((record) => ({ ...record })),
    checkpoints: checkpoints.map(({ envelope }) => ({
      envelope,
      publicKey: keys.get(envelope.signatures[0]?.keyid ?? "") ?? "",
    })),
    end: { number: end.number, hash: end.hash },
    isToHead,
    ...(more ? { nextCursor: encodeCursor([last, position.xid, position.id, place.upToNumber]) } : {}),
  }
}

/** Where a link is missing, no hash will fit. */
const unknownLink = (number: number): ChainLink => ({ number, hash: chainStart.hash })

/** A chain whose beginning was taken out begins at a checkpoint. */
function linkOf(envelope: SignedEnvelope, publicKeys: readonly string[]): ChainLink | undefined {
  const checkpoint = readCheckpoint(envelope, publicKeys)
  return checkpoint && { number: checkpoint.number, hash: checkpoint.hash }
}

async function findPlace(sql: Sql, { account, from, to }: ExportInput): Promise<ExportPlace> {
  const toTime = (text: string | undefined): number | undefined => (text === undefined ? undefined : Date.parse(text))
  const { first, last } = await findStretch(sql, { account, from: toTime(from), to: toTime(to) })
  const afterPosition = first === 1 ? firstPosition : undefined
  return { afterNumber: first - 1, afterPosition, upToNumber: to === undefined ? Number.MAX_SAFE_INTEGER : last }
}

/** @throws request.invalid-cursor */
function readPlace(cursor: string): ExportPlace {
  const [afterNumber, xid, id, upToNumber] = decodeCursor(cursor, 4)
  const isPlace =
    Number.isSafeInteger(afterNumber) && Number.isSafeInteger(upToNumber) && /^\d{1,19}$/.test(String(xid))
  if (!isPlace) throw new AppError("request.invalid-cursor", "the cursor is no place in the audit chain")
  return {
    afterNumber: Number(afterNumber),
    afterPosition: { xid: String(xid), id: String(id) },
    upToNumber: Number(upToNumber),
  }
}
