import {
  authLogout,
  userSessionsList,
  userSessionsRevoke,
  userSessionsRevokeAll,
} from "@signalbox/contracts/identity/user-sessions"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { decodeCursor } from "../../storage/cursor.ts"
import { endSessions, ownSession, requirePermission, type IdentityContext } from "./identity-context.ts"
import { page } from "./page.ts"
import { findSession, listSessions, type SessionRow } from "./session-store.ts"
import { lockForChange, userNotFound } from "./user-handlers.ts"
import { findUser, lockUser, type UserRow } from "./user-store.ts"

export function sessionHandlers(context: IdentityContext): Handler[] {
  return [
    onRead(userSessionsList, (input, ctx) => list(context, input, ctx)),
    onChange(userSessionsRevoke, ({ session }, ctx) => revoke(context, session, ctx)),
    onChange(userSessionsRevokeAll, ({ user }, ctx) => revokeAll(context, user, ctx)),
    onChange(authLogout, (_input, ctx) => logOut(context, ctx)),
  ]
}

async function list(context: IdentityContext, input: InputOf<typeof userSessionsList>, ctx: ReadContext) {
  const { account, caller, now, sql } = ctx
  const reference = input.user ?? ownSession(caller).userId
  const user = await findUser(sql, account, reference)
  if (user?.id !== caller.principal) requirePermission(caller, "users.read")
  if (!user) throw userNotFound(reference)
  const [before = "~"] = input.cursor ? decodeCursor(input.cursor, 1) : []
  const usedSince = now - context.sessions.idleMilliseconds
  const of = { account, userId: user.id, now, usedSince }
  const rows = await listSessions(sql, of, { before: String(before), limit: input.limit + 1 })
  const item = (row: SessionRow) => toSession(row, { user, current: caller.credential })
  return page(rows, input.limit, { item, key: ({ id }) => id })
}

async function revoke(context: IdentityContext, session: string, ctx: ChangeContext): Promise<{ session: string }> {
  const notFound = new AppError("identity.session-not-found", `there is no session "${session}" of yours`)
  const row = await findSession(ctx.tx, ctx.account, session)
  if (!row) throw notFound
  if (row.userId !== ctx.caller.principal && !ctx.caller.permissions.has("users.write")) throw notFound
  const user = await lockOwnOrOther(ctx, row.userId)
  const ended = await endSessions(context, ctx, { userId: user.id, ids: [session] })
  if (ended.length > 0) emitEnded(ctx, user, session)
  return { session }
}

/** Whoever ends sessions of somebody else needs their authority; one's own take none. */
async function lockOwnOrOther(ctx: ChangeContext, user: string): Promise<UserRow> {
  if (user !== ctx.caller.principal) {
    requirePermission(ctx.caller, "users.write")
    return await lockForChange(ctx, user)
  }
  const row = await lockUser(ctx.tx, ctx.account, user)
  if (!row) throw userNotFound(user)
  return row
}

async function revokeAll(context: IdentityContext, reference: string | undefined, ctx: ChangeContext) {
  const own = reference === undefined ? ownSession(ctx.caller) : undefined
  const user = await lockOwnOrOther(ctx, own?.userId ?? reference ?? "")
  const except = user.id === ctx.caller.principal ? ctx.caller.credential : undefined
  const ended = await endSessions(context, ctx, { userId: user.id, except })
  for (const session of ended) emitEnded(ctx, user, session)
  return { user: user.id, revoked: ended.length }
}

async function logOut(context: IdentityContext, ctx: ChangeContext): Promise<OutputOf<typeof authLogout>> {
  const { userId, sessionId } = ownSession(ctx.caller)
  const user = await lockUser(ctx.tx, ctx.account, userId)
  const row = await findSession(ctx.tx, ctx.account, sessionId)
  if (!user || !row) throw new AppError("identity.session-not-found", `there is no session "${sessionId}"`)
  await endSessions(context, ctx, { userId, ids: [sessionId] })
  emitEnded(ctx, user, sessionId)
  return { session: sessionId, ...(row.logoutUrl === null ? {} : { logoutUrl: row.logoutUrl }) }
}

function emitEnded(ctx: ChangeContext, user: UserRow, session: string): void {
  const data = { user: user.id, name: user.name }
  ctx.emit({ aggregate: user.id, type: "user.logged-out", subject: session, version: 2, data })
}

function toSession(
  row: SessionRow,
  of: { readonly user: UserRow; readonly current: string | undefined },
): OutputOf<typeof userSessionsList>["items"][number] {
  return {
    id: row.id,
    user: of.user.id,
    name: of.user.name,
    ...(row.provider === null ? {} : { provider: row.provider }),
    ...(row.sourceAddress === null ? {} : { sourceAddress: row.sourceAddress }),
    createdAt: toInstant(row.createdAt),
    usedAt: toInstant(row.usedAt),
    expiresAt: toInstant(row.expiresAt),
    current: row.id === of.current,
  }
}
