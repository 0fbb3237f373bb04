import { identityLimits } from "@signalbox/contracts/identity/identity-limits"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import type { ChangeContext } from "../../router/handler.ts"
import { makeKeyText } from "../../router/key-text.ts"
import { sessionsChanged, type IdentityContext } from "./identity-context.ts"
import { findSurplusSessions, insertSession, revokeSessions } from "./session-store.ts"
import type { UserRow } from "./user-store.ts"

export interface LoggedIn {
  readonly session: string
  readonly token: string
  readonly account: string
  readonly user: string
  readonly name: string
  readonly expiresAt: string
}

/** Makes a session of a user whose row is locked; the one used least recently gives way where there are too many. */
export async function openSession(
  context: IdentityContext,
  ctx: ChangeContext,
  of: { readonly user: UserRow; readonly provider?: string; readonly logoutUrl?: string | undefined },
): Promise<LoggedIn> {
  const { account, now } = ctx
  const { user, provider = null, logoutUrl = null } = of
  const id = newId("userSession", context.clock, context.random)
  const { text, secretHash } = makeKeyText({ account, id }, context.random)
  const expiresAt = now + context.sessions.lifetimeMilliseconds
  const directoryVersion = await sessionsChanged(context, ctx)
  const keep = identityLimits.sessionsPerUserMax - 1
  const surplus = await findSurplusSessions(ctx.tx, { account, userId: user.id, now, keep })
  if (surplus.length > 0)
    await revokeSessions(ctx.tx, { account, userId: user.id, ids: surplus }, { now, directoryVersion })
  const sourceAddress = ctx.sourceAddress ?? null
  await insertSession(ctx.tx, {
    ...{ account, id, provider, logoutUrl, sourceAddress, now, expiresAt, directoryVersion },
    userId: user.id,
    tokenHash: secretHash,
  })
  ctx.emit({
    aggregate: user.id,
    type: "user.logged-in",
    subject: id,
    version: 1,
    data: { user: user.id, name: user.name, ...(provider === null ? {} : { provider }) },
  })
  return { session: id, token: text, account, user: user.id, name: user.name, expiresAt: toInstant(expiresAt) }
}
