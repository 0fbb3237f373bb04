import { identityLimits } from "@signalbox/contracts/identity/identity-limits"
import {
  usersCreate,
  usersDisable,
  usersEnable,
  usersGet,
  usersList,
  usersResetPassword,
  usersUpdate,
} from "@signalbox/contracts/identity/people"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { decodeCursor } from "../../storage/cursor.ts"
import { endSessions, principalsChanged, type IdentityContext } from "./identity-context.ts"
import { hashOneTimeCode, makeOneTimeCode } from "./one-time-code.ts"
import { page } from "./page.ts"
import { checkGrantable, checkName, checkNotOutranked, joined } from "./principal-model.ts"
import { findProvider } from "./provider-store.ts"
import { countUsers, findUser, insertUser, listUsers, lockUser, updateUser, type UserRow } from "./user-store.ts"

type User = OutputOf<typeof usersGet>

const codeMilliseconds = identityLimits.codeHours * 3_600_000

export function userHandlers(context: IdentityContext): Handler[] {
  return [
    onChange(usersCreate, (input, ctx) => createUser(context, input, ctx)),
    onRead(usersList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listUsers(sql, account, { after: String(after), limit: input.limit + 1 })
      return page(rows, input.limit, { item: toUser, key: (row) => row.id })
    }),
    onRead(usersGet, async ({ user }, { sql, account }) => {
      const row = await findUser(sql, account, user)
      if (!row) throw userNotFound(user)
      return toUser(row)
    }),
    onChange(usersUpdate, (input, ctx) => changeUser(context, input, ctx)),
    onChange(usersDisable, ({ user }, ctx) => disableUser(context, user, ctx)),
    onChange(usersEnable, async ({ user }, ctx) => {
      const row = await lockForChange(ctx, user)
      if (row.disabledAt === null) return toUser(row)
      return await saveUser(context, ctx, { row, change: { disabledAt: null }, type: "user.enabled" })
    }),
    onChange(usersResetPassword, ({ user }, ctx) => resetPassword(context, user, ctx)),
  ]
}

export const userNotFound = (user: string): AppError =>
  new AppError("identity.user-not-found", `there is no user "${user}" in this account`)

async function createUser(context: IdentityContext, input: InputOf<typeof usersCreate>, ctx: ChangeContext) {
  const { name, roles, teams, provider } = input
  checkName(name)
  checkGrantable(ctx.caller.permissions, roles)
  if (provider !== undefined) await checkProvider(ctx, { provider, email: input.email })
  if ((await countUsers(ctx.tx, ctx.account)) >= identityLimits.usersMax)
    throw new AppError("identity.too-many", `an account has ${identityLimits.usersMax} users at most`)
  const code = provider === undefined ? makeOneTimeCode(context.random) : undefined
  const codeExpiresAt = ctx.now + codeMilliseconds
  const row = await insertUser(ctx.tx, {
    account: ctx.account,
    id: newId("user", context.clock, context.random),
    name,
    displayName: input.displayName ?? name,
    email: input.email ?? null,
    roles: [...new Set(roles)],
    teams: [...new Set(teams)],
    provider: provider ?? null,
    ...(code === undefined ? {} : { codeHash: hashOneTimeCode(code), codeExpiresAt }),
    createdBy: ctx.caller.principal,
  })
  if (!row) throw new AppError("identity.user-exists", `there is a user "${name}" already`)
  emitUser(ctx, row, "user.created")
  await principalsChanged(context, ctx)
  return { ...toUser(row), ...(code === undefined ? {} : { code, codeExpiresAt: toInstant(codeExpiresAt) }) }
}

async function checkProvider(
  ctx: ChangeContext,
  { provider, email }: { readonly provider: string; readonly email: string | undefined },
): Promise<void> {
  if (email === undefined)
    throw new AppError("request.invalid-input", "email: whoever logs in by a provider is known by their address first")
  if (!(await findProvider(ctx.tx, ctx.account, provider)))
    throw new AppError("identity.provider-not-found", `there is no identity provider "${provider}" in this account`)
}

/** @throws identity.user-not-found, identity.outranked */
export async function lockForChange(ctx: ChangeContext, user: string): Promise<UserRow> {
  const row = await lockUser(ctx.tx, ctx.account, user)
  if (!row) throw userNotFound(user)
  checkNotOutranked(ctx.caller.permissions, { id: row.id, roles: joined(row.roles, row.claimedRoles) })
  return row
}

async function changeUser(context: IdentityContext, input: InputOf<typeof usersUpdate>, ctx: ChangeContext) {
  const { user, displayName, email, roles, teams } = input
  const row = await lockForChange(ctx, user)
  if (roles) checkGrantable(ctx.caller.permissions, roles)
  const change = {
    ...(displayName === undefined ? {} : { displayName }),
    ...(email === undefined ? {} : { email }),
    ...(roles === undefined ? {} : { roles: [...new Set(roles)] }),
    ...(teams === undefined ? {} : { teams: [...new Set(teams)] }),
  }
  return await saveUser(context, ctx, { row, change, type: "user.changed" })
}

async function disableUser(context: IdentityContext, user: string, ctx: ChangeContext): Promise<User> {
  const row = await lockForChange(ctx, user)
  if (row.disabledAt !== null) return toUser(row)
  const saved = await saveUser(context, ctx, { row, change: { disabledAt: ctx.now }, type: "user.disabled" })
  await endSessions(context, ctx, { userId: row.id })
  return saved
}

async function resetPassword(context: IdentityContext, user: string, ctx: ChangeContext) {
  const row = await lockForChange(ctx, user)
  if (row.provider !== null)
    throw new AppError("identity.no-password", `${row.name} logs in by the identity provider "${row.provider}"`)
  const code = makeOneTimeCode(context.random)
  const codeExpiresAt = ctx.now + codeMilliseconds
  const change = { passwordHash: null, codeHash: hashOneTimeCode(code), codeExpiresAt }
  const saved = await saveUser(context, ctx, { row, change, type: "user.password-reset" })
  await endSessions(context, ctx, { userId: row.id })
  return { ...saved, code, codeExpiresAt: toInstant(codeExpiresAt) }
}

/** Writes, tells, and lets every server know. The row is locked. */
export async function saveUser(
  context: IdentityContext,
  ctx: ChangeContext,
  save: Parameters<typeof updateUser>[2] & { readonly type: string },
): Promise<User> {
  const saved = await updateUser(ctx.tx, ctx.account, save)
  emitUser(ctx, saved, save.type)
  await principalsChanged(context, ctx)
  return toUser(saved)
}

export function emitUser(ctx: ChangeContext, row: UserRow, type: string): void {
  const { id, name, version } = row
  const data = { name, roles: joined(row.roles, row.claimedRoles), teams: joined(row.teams, row.claimedTeams) }
  ctx.emit({ aggregate: id, type, subject: id, version, data })
}

function toUser(row: UserRow): User {
  const { id, name, displayName, email, roles, teams, claimedRoles, claimedTeams, provider, version, createdBy } = row
  return {
    ...{ id, name, displayName, roles, teams, claimedRoles, claimedTeams, version, createdBy },
    hasPassword: row.passwordHash !== null,
    disabled: row.disabledAt !== null,
    createdAt: toInstant(row.createdAt),
    ...(email === null ? {} : { email }),
    ...(provider === null ? {} : { provider }),
    ...(row.lastLoginAt === null ? {} : { lastLoginAt: toInstant(row.lastLoginAt) }),
  }
}
