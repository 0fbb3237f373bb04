import { createHash } from "node:crypto"
import {
  breakGlassReviewsClose,
  breakGlassReviewsGet,
  breakGlassReviewsList,
  breakGlassReviewsOpen,
} from "@signalbox/contracts/calendars/break-glass-reviews"
import type { OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { toInstant } from "@signalbox/kernel/clock"
import { encodeBase32, idPrefixes } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import { closeReview, findReview, insertReview, listReviews, lockReview, type ReviewRow } from "./review-store.ts"

export function reviewHandlers(): Handler[] {
  return [
    onChange(breakGlassReviewsOpen, async (input, ctx) => {
      const id = reviewIdOf(ctx.account, input.requestId)
      const row = await insertReview(ctx.tx, { ...input, id, account: ctx.account, openedAt: ctx.now })
      if (row) emitReview(ctx, row, { type: "break-glass-review.opened", version: 1 })
      const known = row ?? (await findReview(ctx.tx, ctx.account, id))
      assert(known, "what could not be inserted is there")
      return toReview(known)
    }),
    onRead(breakGlassReviewsGet, async ({ review }, { sql, account }) => {
      const row = await findReview(sql, account, review)
      if (!row) throw reviewNotFound(review)
      return toReview(row)
    }),
    onRead(breakGlassReviewsList, async (input, { sql, account }) => {
      const [openedAt, id] = input.cursor === undefined ? [] : decodeCursor(input.cursor, 2)
      const before = openedAt === undefined ? undefined : { openedAt: Number(openedAt), id: String(id) }
      const rows = await listReviews(sql, account, { state: input.state, before, limit: input.limit + 1 })
      const shown = rows.slice(0, input.limit)
      const last = shown.at(-1)
      return {
        items: shown.map(toReview),
        ...(rows.length > input.limit && last ? { nextCursor: encodeCursor([last.openedAt, last.id]) } : {}),
      }
    }),
    onChange(breakGlassReviewsClose, async ({ review, comment }, ctx) => {
      const row = await lockReview(ctx.tx, ctx.account, review)
      if (!row) throw reviewNotFound(review)
      if (row.closedAt !== null)
        throw new AppError("calendars.review-closed", `${review} was closed by ${row.closedBy ?? "somebody"}`)
      if (row.principal === ctx.caller.principal)
        throw new AppError("calendars.own-review", `${review} is about a call of ${row.principal}, who can't close it`)
      const { account, caller, now } = ctx
      const closed = await closeReview(ctx.tx, {
        ...{ account, id: review, comment },
        closedAt: now,
        closedBy: caller.principal,
      })
      assert(closed, "a locked row is updated")
      emitReview(ctx, closed, { type: "break-glass-review.closed", version: 2 })
      return toReview(closed)
    }),
  ]
}

const reviewNotFound = (id: string): AppError =>
  new AppError("calendars.review-not-found", `there is no review ${id} in this account`)

/** Follows from the request, so that a gate that asks again after a crash opens no second one. */
function reviewIdOf(account: string, requestId: string): string {
  const digest = createHash("sha256").update(`${account}\0${requestId}`).digest()
  return `${idPrefixes.breakGlassReview}_${encodeBase32(digest.subarray(0, 16))}`
}

function emitReview(
  ctx: ChangeContext,
  row: ReviewRow,
  { type, version }: { readonly type: string; readonly version: number },
): void {
  const { id, operation, principal, reason, calendars, requestId } = row
  ctx.emit({
    aggregate: id,
    type,
    subject: id,
    version,
    data: {
      operation,
      principal,
      reason,
      calendars,
      requestId,
      ...(row.comment === null ? {} : { comment: row.comment }),
    },
  })
}

function toReview(row: ReviewRow): OutputOf<typeof breakGlassReviewsGet> {
  return {
    id: row.id,
    state: row.closedAt === null ? "open" : "closed",
    operation: row.operation,
    requestId: row.requestId,
    principal: row.principal,
    reason: row.reason,
    calendars: [...row.calendars],
    openedAt: toInstant(row.openedAt),
    ...(row.closedAt === null ? {} : { closedAt: toInstant(row.closedAt) }),
    ...(row.closedBy === null ? {} : { closedBy: row.closedBy }),
    ...(row.comment === null ? {} : { comment: row.comment }),
  }
}
