import { passwordsChange, passwordsRedeem } from "@signalbox/contracts/identity/user-sessions"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { onChange, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import { isSameHash } from "../../router/key-text.ts"
import { emitUser } from "./user-handlers.ts"
import { endSessions, ownSession, type IdentityContext } from "./identity-context.ts"
import { countAttempt, forgetAttempts } from "./login-attempts.ts"
import { loginRefused } from "./login-handlers.ts"
import { hashOneTimeCode } from "./one-time-code.ts"
import { checkPassword } from "./principal-model.ts"
import { recordRefusedLogin } from "./refused-login.ts"
import { findUser, lockUser, updateUser, type UserRow } from "./user-store.ts"

/** What was found before the transaction, and the new password's hash. */
interface Prepared {
  readonly user: UserRow
  readonly hash: string
}

export function passwordHandlers(context: IdentityContext): Handler[] {
  const prepared = new WeakMap<object, Prepared>()
  const take = (input: object): Prepared => {
    const found = prepared.get(input)
    assert(found, "a password is hashed before its transaction")
    return found
  }
  return [
    onChange(passwordsRedeem, (input, ctx) => redeem(context, ctx, take(input)), {
      prepare: async (input, ctx) => void prepared.set(input, await prepareRedeem(context, input, ctx)),
    }),
    onChange(passwordsChange, (input, ctx) => change(context, ctx, take(input)), {
      prepare: async (input, ctx) => void prepared.set(input, await prepareChange(context, input, ctx)),
    }),
  ]
}

async function prepareRedeem(
  context: IdentityContext,
  input: InputOf<typeof passwordsRedeem>,
  ctx: ReadContext,
): Promise<Prepared> {
  const { account, sql, now, sourceAddress } = ctx
  const attempt = { account, user: input.user, sourceAddress }
  await countAttempt(sql, attempt, now)
  const user = await findUser(sql, account, input.user)
  if (!user || !isGoodCode(user, hashOneTimeCode(input.code), now)) {
    await recordRefusedLogin(ctx, { operation: passwordsRedeem, user })
    throw loginRefused()
  }
  checkPassword(input.password, user)
  await forgetAttempts(sql, attempt)
  return { user, hash: await context.passwords.hash(input.password) }
}

function isGoodCode(user: UserRow, codeHash: string, now: number): boolean {
  const good = user.codeHash !== null && isSameHash(user.codeHash, codeHash)
  return good && (user.codeExpiresAt ?? 0) > now && user.disabledAt === null
}

/** Of two that use one code at the same time, one finds it gone. */
async function redeem(context: IdentityContext, ctx: ChangeContext, { user, hash }: Prepared) {
  const row = await lockUser(ctx.tx, ctx.account, user.id)
  if (!row || row.disabledAt !== null || row.codeHash !== user.codeHash) throw loginRefused()
  return await savePassword(context, ctx, { row, hash })
}

async function prepareChange(
  context: IdentityContext,
  input: InputOf<typeof passwordsChange>,
  ctx: ReadContext,
): Promise<Prepared> {
  const { account, sql, now, sourceAddress, caller } = ctx
  const { userId } = ownSession(caller)
  const user = await findUser(sql, account, userId)
  if (user?.passwordHash == null) throw new AppError("identity.no-password", `${userId} has no password`)
  const attempt = { account, user: user.name, sourceAddress }
  await countAttempt(sql, attempt, now)
  const { matches } = await context.passwords.verify(input.current, user.passwordHash)
  if (!matches) throw new AppError("identity.wrong-password", "the current password is another one")
  checkPassword(input.password, user)
  if (input.password === input.current)
    throw new AppError("identity.password-unfit", "the new password is the one of now")
  await forgetAttempts(sql, attempt)
  return { user, hash: await context.passwords.hash(input.password) }
}

async function change(context: IdentityContext, ctx: ChangeContext, { user, hash }: Prepared) {
  const row = await lockUser(ctx.tx, ctx.account, user.id)
  if (!row || row.disabledAt !== null || row.passwordHash !== user.passwordHash)
    throw new AppError("identity.wrong-password", "the password was changed meanwhile")
  return await savePassword(context, ctx, { row, hash, except: ownSession(ctx.caller).sessionId })
}

/** A new password ends all sessions but the one that set it. */
async function savePassword(
  context: IdentityContext,
  ctx: ChangeContext,
  { row, hash, except }: { readonly row: UserRow; readonly hash: string; readonly except?: string },
): Promise<{ user: string; name: string }> {
  const change = { passwordHash: hash, codeHash: null, codeExpiresAt: null }
  const saved = await updateUser(ctx.tx, ctx.account, { row, change })
  emitUser(ctx, saved, "user.password-set")
  await endSessions(context, ctx, { userId: row.id, except })
  return { user: row.id, name: row.name }
}
