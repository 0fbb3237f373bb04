import { createPublicKey } from "node:crypto"
import {
  enrollmentKeysCreate,
  enrollmentKeysList,
  enrollmentKeysRevoke,
  nodesEnroll,
} from "@signalbox/contracts/fleet/operations"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import type { Clock } from "@signalbox/kernel/clock"
import { toInstant } from "@signalbox/kernel/clock"
import { getDuration } from "@signalbox/kernel/duration"
import { newId } from "@signalbox/kernel/id"
import type { Random } from "@signalbox/kernel/random"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { makeKeyText } from "../../router/key-text.ts"
import {
  countEnrollmentUse,
  insertEnrollmentKey,
  listEnrollmentKeys,
  lockEnrollmentKey,
  revokeEnrollmentKey,
  type EnrollmentKeyRow,
} from "./enrollment-key-store.ts"
import { checkEnrollmentTerms, isNodeId, mergeEnrolledTags } from "./model.ts"
import { pageOfRows, readCursor } from "./page.ts"
import { claimForNode, findClaim, findNode, insertNode, type NodeRow } from "./node-store.ts"
import { isInRanges, parseSourceRange } from "./source-range.ts"
import { toEnrollmentKey } from "./wire.ts"

export interface EnrollmentOptions {
  readonly clock: Clock
  readonly random: Random
  /** SHA-256 of the own CA in hex; absent on plain HTTP. */
  readonly caFingerprint?: string
  /** Where agents reach this server. */
  readonly publicUrl: string
}

export function enrollmentHandlers(options: EnrollmentOptions): Handler[] {
  return [
    onChange(enrollmentKeysCreate, async (input, ctx) => createKey(options, input, ctx)),
    onRead(enrollmentKeysList, async (input, { sql, account }) => {
      const [beforeId] = input.cursor === undefined ? [] : readCursor(input.cursor, 1)
      const page = { ...(beforeId === undefined ? {} : { beforeId }), limit: input.limit + 1 }
      const rows = await listEnrollmentKeys(sql, account, page)
      return pageOfRows(rows, input.limit, { item: toEnrollmentKey, key: (row) => [row.id] })
    }),
    onChange(enrollmentKeysRevoke, async (input, ctx) => {
      const key = await lockEnrollmentKey(ctx.tx, ctx.account, input.key)
      if (!key) throw keyNotFound(input.key)
      if (key.revokedAt !== null) return toEnrollmentKey(key)
      const revoked = await revokeEnrollmentKey(ctx.tx, { account: ctx.account, id: key.id, now: ctx.now })
      if (!revoked) throw keyNotFound(input.key)
      ctx.emit({
        aggregate: key.id,
        type: "enrollment-key.revoked",
        subject: key.id,
        version: revoked.version,
        data: { name: key.name },
      })
      return toEnrollmentKey(revoked)
    }),
    onChange(nodesEnroll, async (input, ctx) => enroll(options, input, ctx)),
  ]
}

const keyNotFound = (id: string) =>
  new AppError("fleet.enrollment-key-not-found", `there is no enrolment key "${id}" in this account`)

async function createKey(
  options: EnrollmentOptions,
  input: InputOf<typeof enrollmentKeysCreate>,
  ctx: ChangeContext,
): Promise<OutputOf<typeof enrollmentKeysCreate>> {
  const badRange = input.sourceRanges.findIndex((range) => !parseSourceRange(range))
  if (badRange >= 0)
    throw new AppError(
      "request.invalid-input",
      `"${input.sourceRanges[badRange]}" is no address range; write 10.0.0.0/8`,
      {
        issues: [{ path: `sourceRanges.${badRange}`, message: "write an address or a range such as 10.0.0.0/8" }],
      },
    )
  const id = newId("enrollmentKey", options.clock, options.random)
  const { text, secretHash } = makeKeyText({ account: ctx.account, id }, options.random)
  const key: EnrollmentKeyRow = {
    account: ctx.account,
    id,
    name: input.name ?? null,
    secretHash,
    usesMax: input.usesMax,
    usesCount: 0,
    expiresAt: ctx.now + getDuration(input.expiresIn),
    sourceRanges: input.sourceRanges,
    tags: input.tags,
    tagsAllowed: input.tagsAllowed,
    version: 1,
    createdAt: ctx.now,
    createdBy: ctx.caller.principal,
    revokedAt: null,
  }
  await insertEnrollmentKey(ctx.tx, key)
  ctx.emit({
    aggregate: id,
    type: "enrollment-key.created",
    subject: id,
    version: 1,
    data: { name: key.name, usesMax: key.usesMax, expiresAt: toInstant(key.expiresAt) },
  })
  const { caFingerprint } = options
  const pin = caFingerprint === undefined ? "" : ` --ca-fingerprint sha256:${caFingerprint}`
  return {
    ...toEnrollmentKey(key),
    key: text,
    ...(caFingerprint === undefined ? {} : { caFingerprint }),
    serverUrl: options.publicUrl,
    command: `npx signalbox agent enroll --server ${options.publicUrl} --key ${text}${pin}`,
  }
}

/**
 * The enrolment key's row is locked first, so uses are counted one by one. A machine that repeats its call (the reply
 * was lost) gets its node again and uses nothing.
 */
async function enroll(
  options: EnrollmentOptions,
  input: InputOf<typeof nodesEnroll>,
  ctx: ChangeContext,
): Promise<OutputOf<typeof nodesEnroll>> {
  const publicKey = readPublicKey(input.publicKey)
  if (isNodeId(input.name))
    throw new AppError("request.invalid-input", `"${input.name}" looks like a node's id; choose another name`)
  const [, keyId = ""] = /^enrollment:(.+)$/.exec(ctx.caller.principal) ?? []
  const key = await lockEnrollmentKey(ctx.tx, ctx.account, keyId)
  if (!key || key.revokedAt !== null)
    throw new AppError(
      "identity.invalid-credentials",
      "a machine enrols with an enrolment key, and this one is revoked",
    )
  if (key.sourceRanges.length > 0 && !isInRanges(ctx.sourceAddress ?? "", key.sourceRanges))
    throw new AppError(
      "fleet.enrollment-source-refused",
      `the enrolment key ${key.id} isn't accepted from ${ctx.sourceAddress ?? "an unknown address"}`,
    )
  const earlier = await findEarlier(ctx, { name: input.name, publicKey })
  if (earlier?.enrolledWith === key.id) return reply(earlier)
  checkEnrollmentTerms(key, ctx.now)
  const tags = mergeEnrolledTags(key, input.tags)
  if (earlier) return reply(earlier)
  const id = newId("node", options.clock, options.random)
  await claim(ctx, { id, name: input.name, publicKey })
  await countEnrollmentUse(ctx.tx, ctx.account, key.id)
  const node = { id, account: ctx.account, name: input.name, tags }
  await insertNode(ctx.tx, { ...node, publicKey, enrolledWith: key.id, enrolledAt: ctx.now })
  ctx.emit({
    aggregate: id,
    type: "node.enrolled",
    subject: id,
    version: 1,
    data: { name: input.name, tags, enrollmentKey: key.id },
  })
  return reply(node)
}

function reply(node: Pick<NodeRow, "id" | "name" | "account" | "tags">): OutputOf<typeof nodesEnroll> {
  return { node: node.id, name: node.name, account: node.account, tags: { ...node.tags } }
}

/** The node that this very machine enrolled as before. */
async function findEarlier(
  ctx: ChangeContext,
  machine: { name: string; publicKey: string },
): Promise<NodeRow | undefined> {
  const { account, tx } = ctx
  const id = await findClaim(tx, { account, kind: "public-key", value: machine.publicKey })
  const node = id === undefined ? undefined : await findNode(tx, account, id)
  return node?.name === machine.name ? node : undefined
}

/** @throws fleet.node-name-taken, fleet.public-key-taken */
async function claim(ctx: ChangeContext, node: { id: string; name: string; publicKey: string }): Promise<void> {
  const { account, tx } = ctx
  const nameOwner = await claimForNode(tx, { account, kind: "name", value: node.name, nodeId: node.id })
  if (nameOwner !== node.id)
    throw new AppError("fleet.node-name-taken", `another machine is enrolled as "${node.name}"`)
  const keyOwner = await claimForNode(tx, { account, kind: "public-key", value: node.publicKey, nodeId: node.id })
  if (keyOwner !== node.id)
    throw new AppError("fleet.public-key-taken", `"${node.name}" shows the public key of another node`)
}

/** One spelling for one key, so that a key can't be enrolled twice in two. @throws request.invalid-input */
function readPublicKey(text: string): string {
  try {
    const key = createPublicKey({ key: Buffer.from(text, "base64"), format: "der", type: "spki" })
    if (key.asymmetricKeyType === "ed25519") return key.export({ format: "der", type: "spki" }).toString("base64")
  } catch (cause) {
    throw invalidKey(cause)
  }
  throw invalidKey()
}

const invalidKey = (cause?: unknown) =>
  new AppError("request.invalid-input", "`publicKey` is no Ed25519 public key (SPKI in base64)", {
    cause,
    issues: [{ path: "publicKey", message: "Ed25519, SPKI in base64" }],
  })
