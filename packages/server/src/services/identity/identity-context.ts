import { AppError } from "@signalbox/kernel/app-error"
import type { Caller, ChangeContext } from "../../router/handler.ts"
import type { PeopleDirectory } from "../../router/ports.ts"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import type { IdentityOptions } from "./options.ts"
import type { Passwords } from "./password.ts"
import { principalsComponent } from "./people-directory.ts"
import { sessionsComponent } from "./session-directory.ts"
import { revokeSessions } from "./session-store.ts"

/** What the handlers of this service share. */
export interface IdentityContext extends IdentityOptions {
  readonly directory: PeopleDirectory
  readonly passwords: Passwords
}

/** Every server loads the account's principals again. */
export async function principalsChanged(context: IdentityOptions, ctx: ChangeContext): Promise<void> {
  await raiseConfigurationVersion(ctx.tx, ctx.account, principalsComponent)
  ctx.afterCommit(context.configurationChanged)
}

/** Every server looks at the account's changed sessions; gives the version that they are to carry. */
export async function sessionsChanged(context: IdentityOptions, ctx: ChangeContext): Promise<number> {
  ctx.afterCommit(context.configurationChanged)
  return await raiseConfigurationVersion(ctx.tx, ctx.account, sessionsComponent)
}

/** Ends sessions of a user whose row is locked; gives their ids. */
export async function endSessions(
  context: IdentityOptions,
  ctx: ChangeContext,
  of: { readonly userId: string; readonly ids?: readonly string[]; readonly except?: string | undefined },
): Promise<string[]> {
  const directoryVersion = await sessionsChanged(context, ctx)
  const { userId, ids, except } = of
  const which = { account: ctx.account, userId, ...(ids ? { ids } : {}), ...(except ? { except } : {}) }
  return await revokeSessions(ctx.tx, which, { now: ctx.now, directoryVersion })
}

/** The session that a call came by. @throws identity.not-a-session */
export function ownSession(caller: Caller): { readonly userId: string; readonly sessionId: string } {
  if (caller.kind !== "user" || caller.credential?.startsWith("uss_") !== true)
    throw new AppError("identity.not-a-session", `${caller.principal} did not log in: the call came by a key`)
  return { userId: caller.principal, sessionId: caller.credential }
}

/** An operation that everybody may call for themselves needs more for others. @throws identity.permission-denied */
export function requirePermission(caller: Caller, permission: "users.read" | "users.write"): void {
  if (caller.permissions.has(permission)) return
  throw new AppError("identity.permission-denied", `${caller.principal} lacks the permission ${permission}`, {
    details: { permission, roles: caller.roles },
  })
}
