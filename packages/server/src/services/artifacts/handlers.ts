import { createHash } from "node:crypto"
import { Readable } from "node:stream"
import {
  artifactLimits,
  artifactsBegin,
  artifactsDownload,
  artifactsFinish,
  artifactsGet,
  artifactsList,
  artifactsRemove,
  artifactsWrite,
} from "@signalbox/contracts/artifacts/operations"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { toInstant, type Clock } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { rawContent } from "../../router/raw-content.ts"
import type { StoredBlob } from "../../storage/blob-store.ts"
import type { Blobs } from "../../storage/blobs.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import type { Database, Sql } from "../../storage/database.ts"
import {
  countArtifacts,
  findArtifact,
  findReady,
  findSame,
  forgetReceived,
  insertArtifact,
  insertPart,
  listArtifacts,
  listParts,
  lockArtifact,
  markReady,
  removeArtifact,
  removeParts,
  type ArtifactRow,
} from "./store.ts"

export interface ArtifactsParts {
  readonly database: Database
  readonly clock: Clock
  readonly random: Random
  readonly blobs: Blobs
}

type Artifact = OutputOf<typeof artifactsGet>

export function artifactsHandlers(parts: ArtifactsParts): Handler[] {
  const { blobs } = parts
  return [
    onChange(artifactsBegin, (input, ctx) => begin(parts, input, ctx)),
    onChange(artifactsWrite, (input, ctx) => write(blobs, input, ctx), {
      // Stored before the transaction is open; a part that is refused then is collected.
      prepare: async (input, ctx) => {
        refuseOffset(await getArtifact(ctx.sql, ctx.account, input.artifact), input.offset, bytesOf(input))
        await blobs.put(bytesOf(input))
      },
    }),
    onChange(artifactsFinish, (input, ctx) => finish(blobs, input, ctx), {
      prepare: (input, ctx) => assemble(parts, input.artifact, ctx),
    }),
    onRead(artifactsList, async (input, { sql, account }) => {
      const [before] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listArtifacts(sql, account, {
        name: input.name,
        before: before === undefined ? undefined : String(before),
        limit: input.limit + 1,
      })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      const more = rows.length > input.limit && last !== undefined
      return { items: shown.map(toArtifact), ...(more ? { nextCursor: encodeCursor([last.id]) } : {}) }
    }),
    onRead(artifactsGet, async (input, { sql, account }) =>
      toArtifact(await getArtifact(sql, account, input.artifact)),
    ),
    onChange(artifactsRemove, async (input, ctx) => {
      const row = await getLocked(ctx, input.artifact)
      await removeArtifact(ctx.tx, ctx.account, row.id)
      await blobs.unreference(ctx.tx, { account: ctx.account, aggregate: row.id })
      emit(ctx, { ...row, version: row.version + 1 }, "artifact.removed")
      return { id: row.id }
    }),
    onRead(artifactsDownload, async ({ digest }, { sql, account }) => {
      const row = await findReady(sql, account, digest)
      if (!row || row.digest !== digest)
        throw new AppError("artifacts.not-found", `no artifact has the digest ${digest}`)
      return rawContent({ bytes: row.bytes, etag: digest, open: (range) => blobs.open(digest, range) })
    }),
  ]
}

async function begin(
  { clock, random }: ArtifactsParts,
  input: InputOf<typeof artifactsBegin>,
  ctx: ChangeContext,
): Promise<Artifact> {
  const same = await findSame(ctx.tx, ctx.account, input)
  if (same) return toArtifact(same)
  if ((await countArtifacts(ctx.tx, ctx.account)) >= artifactLimits.artifactsMax)
    throw new AppError("artifacts.too-many", `an account has at most ${artifactLimits.artifactsMax} artifacts`)
  const row = await insertArtifact(ctx.tx, ctx.account, {
    ...input,
    id: newId("artifact", clock, random),
    created_by: ctx.caller.principal,
  })
  emit(ctx, row, "artifact.begun")
  return toArtifact(row)
}

async function write(blobs: Blobs, input: InputOf<typeof artifactsWrite>, ctx: ChangeContext): Promise<Artifact> {
  const row = await getLocked(ctx, input.artifact)
  const content = bytesOf(input)
  refuseOffset(row, input.offset, content)
  const part = { digest: createHash("sha256").update(content).digest("hex"), bytes: content.length }
  await blobs.reference(ctx.tx, { account: ctx.account, aggregate: row.id, ...part })
  return toArtifact(await insertPart(ctx.tx, ctx.account, { ...part, artifactId: row.id, start: input.offset }))
}

/** Puts the parts together outside any transaction: gigabytes take their time. */
async function assemble({ blobs, database }: ArtifactsParts, id: string, ctx: ReadContext): Promise<void> {
  const { sql, account, signal } = ctx
  const row = await getArtifact(sql, account, id)
  if (row.state === "ready") return
  if (row.received !== row.bytes)
    throw new AppError("artifacts.incomplete", `${row.received} of ${row.bytes} bytes of ${row.id} are here`, {
      details: { received: row.received, bytes: row.bytes },
    })
  const stored = await blobs.put(Readable.from(contentOf(blobs, await listParts(sql, account, id), signal)))
  if (stored.digest === row.digest) return
  await database.transaction(async (tx) => {
    const locked = await lockArtifact(tx, account, id)
    if (locked?.state !== "uploading") return
    await forgetReceived(tx, account, id)
    await blobs.unreference(tx, { account, aggregate: id })
  })
  throw new AppError(
    "artifacts.digest-mismatch",
    `what came for ${row.id} has the digest ${stored.digest}, not ${row.digest}; send it again from the beginning`,
  )
}

async function* contentOf(blobs: Blobs, parts: readonly StoredBlob[], signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (const { digest } of parts) {
    signal.throwIfAborted()
    for await (const chunk of await blobs.open(digest)) yield chunk as Uint8Array
  }
}

async function finish(blobs: Blobs, input: InputOf<typeof artifactsFinish>, ctx: ChangeContext): Promise<Artifact> {
  const { tx, account } = ctx
  const row = await getLocked(ctx, input.artifact)
  if (row.state === "ready") return toArtifact(row)
  assert(row.received === row.bytes, "an upload that was put together is complete")
  await removeParts(tx, account, row.id)
  await blobs.unreference(tx, { account, aggregate: row.id })
  await blobs.reference(tx, { account, aggregate: row.id, digest: row.digest, bytes: row.bytes })
  const ready = await markReady(tx, account, row.id)
  emit(ctx, ready, "artifact.ready")
  return toArtifact(ready)
}

function bytesOf(input: InputOf<typeof artifactsWrite>): Buffer {
  return Buffer.from(input.content, "base64")
}

function refuseOffset(row: ArtifactRow, offset: number, content: Uint8Array): void {
  if (row.state === "ready") throw new AppError("artifacts.wrong-offset", `${row.id} is complete`)
  const fits = content.length > 0 && offset + content.length <= row.bytes
  if (offset === row.received && fits) return
  throw new AppError(
    "artifacts.wrong-offset",
    `${row.received} of ${row.bytes} bytes of ${row.id} are here; a part begins there and ends within`,
    { details: { received: row.received, bytes: row.bytes } },
  )
}

async function getArtifact(sql: Sql, account: string, id: string): Promise<ArtifactRow> {
  return (await findArtifact(sql, account, id)) ?? refuseUnknown(id)
}

async function getLocked({ tx, account }: ChangeContext, id: string): Promise<ArtifactRow> {
  return (await lockArtifact(tx, account, id)) ?? refuseUnknown(id)
}

function refuseUnknown(id: string): never {
  throw new AppError("artifacts.not-found", `there is no artifact "${id}" in this account`)
}

function emit(ctx: ChangeContext, row: ArtifactRow, type: string): void {
  const { id, name, digest, bytes, version } = row
  ctx.emit({ aggregate: id, type, subject: id, version, data: { name, digest, bytes } })
}

function toArtifact(row: ArtifactRow): Artifact {
  return {
    id: row.id,
    name: row.name,
    digest: row.digest,
    bytes: row.bytes,
    state: row.state,
    received: row.received,
    createdAt: toInstant(row.created_at),
    createdBy: row.created_by,
    ...(row.finished_at === null ? {} : { finishedAt: toInstant(row.finished_at) }),
  }
}
