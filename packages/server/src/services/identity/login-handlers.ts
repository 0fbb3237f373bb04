import { userSessionsCreate } from "@signalbox/contracts/identity/user-sessions"
import type { InputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { onChange, type ChangeContext, type Handler, type ReadContext } from "../../router/handler.ts"
import type { IdentityContext } from "./identity-context.ts"
import { countAttempt, forgetAttempts } from "./login-attempts.ts"
import { openSession, type LoggedIn } from "./open-session.ts"
import { recordRefusedLogin } from "./refused-login.ts"
import { findUser, lockUser, updateUser, type UserRow } from "./user-store.ts"

type Input = InputOf<typeof userSessionsCreate>

/** What was found before the transaction, which a password's hash must not keep open. */
interface Checked {
  readonly user: UserRow
  /** The password's hash with today's parameters, where the stored one has others. */
  readonly rehashed: string | undefined
}

export function loginHandlers(context: IdentityContext): Handler[] {
  const checked = new WeakMap<Input, Checked>()
  return [
    onChange(
      userSessionsCreate,
      async (input, ctx) => {
        const found = checked.get(input)
        assert(found, "a login is prepared before its transaction")
        return await logIn(context, ctx, found)
      },
      { prepare: async (input, ctx) => void checked.set(input, await checkLogin(context, input, ctx)) },
    ),
  ]
}

/** The same whatever is wrong: whoever tries learns nothing of who is there. */
export const loginRefused = (): AppError =>
  new AppError("identity.login-refused", "the account, the user, the password or the code is wrong")

async function checkLogin(context: IdentityContext, input: Input, ctx: ReadContext): Promise<Checked> {
  const { account, sql, now, sourceAddress } = ctx
  const attempt = { account, user: input.user, sourceAddress }
  await countAttempt(sql, attempt, now)
  const user = await findUser(sql, account, input.user)
  const { matches, outdated } = await context.passwords.verify(input.password, user?.passwordHash ?? null)
  if (!user || !matches || user.disabledAt !== null) {
    await recordRefusedLogin(ctx, { operation: userSessionsCreate, user })
    throw loginRefused()
  }
  await forgetAttempts(sql, attempt)
  return { user, rehashed: outdated ? await context.passwords.hash(input.password) : undefined }
}

/** The user may have been disabled, or the password changed, since it was looked at. */
async function logIn(context: IdentityContext, ctx: ChangeContext, { user, rehashed }: Checked): Promise<LoggedIn> {
  const row = await lockUser(ctx.tx, ctx.account, user.id)
  if (!row || row.disabledAt !== null || row.passwordHash !== user.passwordHash) throw loginRefused()
  const loggedIn = await openSession(context, ctx, { user: row })
  const change = { lastLoginAt: ctx.now, ...(rehashed === undefined ? {} : { passwordHash: rehashed }) }
  await updateUser(ctx.tx, ctx.account, { row, change })
  return loggedIn
}
