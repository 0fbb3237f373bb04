import { accountsCreate, accountsList, authCan, authWhoami } from "@signalbox/contracts/identity/operations"
import { roles, type Permission } from "@signalbox/contracts/identity/roles"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { onChange, onRead, type Handler } from "../../router/handler.ts"
import { decodeCursor } from "../../storage/cursor.ts"
import type { IdentityContext } from "./identity-context.ts"
import { addKey, keyHandlers } from "./key-handlers.ts"
import { loginHandlers } from "./login-handlers.ts"
import { page } from "./page.ts"
import { passwordHandlers } from "./password-handlers.ts"
import { principalHandlers } from "./principal-handlers.ts"
import { providerHandlers } from "./provider-handlers.ts"
import { providerLoginHandlers } from "./provider-login-handlers.ts"
import { serviceAccountHandlers } from "./service-account-handlers.ts"
import { sessionHandlers } from "./session-handlers.ts"
import { insertAccount, listAccounts, type AccountRow } from "./store.ts"
import { userHandlers } from "./user-handlers.ts"

export function identityHandlers(context: IdentityContext): Handler[] {
  return [
    ...accountHandlers(context),
    ...keyHandlers(context),
    ...authHandlers(context),
    ...userHandlers(context),
    ...serviceAccountHandlers(context),
    ...principalHandlers(context.directory),
    ...loginHandlers(context),
    ...passwordHandlers(context),
    ...sessionHandlers(context),
    ...providerHandlers(context),
    ...providerLoginHandlers(context),
  ]
}

function accountHandlers(context: IdentityContext): Handler[] {
  return [
    onChange(accountsCreate, async (input, ctx) => {
      const row = await insertAccount(ctx.tx, input.id, input.title ?? input.id)
      if (!row) throw new AppError("identity.account-exists", `there is an account "${input.id}" already`)
      ctx.emit({
        aggregate: input.id,
        type: "account.created",
        subject: input.id,
        version: 1,
        data: { title: row.title },
      })
      const { text } = await addKey(context, ctx, { account: input.id, name: "first administrator", roles: ["admin"] })
      return { ...toAccount(row), key: text }
    }),
    onRead(accountsList, async (input, { sql }) => {
      const [after = ""] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listAccounts(sql, String(after), input.limit + 1)
      return page(rows, input.limit, { item: toAccount, key: (row) => row.account })
    }),
  ]
}

function authHandlers({ operations, external }: Pick<IdentityContext, "operations" | "external">): Handler[] {
  return [
    onRead(authWhoami, (_input, { caller }) =>
      Promise.resolve({
        account: caller.account,
        principal: caller.principal,
        kind: caller.kind,
        ...(caller.name === undefined ? {} : { name: caller.name }),
        ...(caller.credential === undefined ? {} : { credential: caller.credential }),
        teams: [...(caller.teams ?? [])],
        roles: [...caller.roles],
        permissions: [...caller.permissions].toSorted(),
        ...(caller.expiresAt === undefined ? {} : { expiresAt: toInstant(caller.expiresAt) }),
      }),
    ),
    onRead(authCan, (input, { caller, account }) => {
      const operation =
        operations.get(input.operation) ?? external?.findOperation(account, input.operation)?.operation.declaration
      if (!operation) throw new AppError("routing.unknown-operation", `there is no operation "${input.operation}"`)
      const { permission } = operation
      const allowed = operation.anonymous === true || caller.permissions.has(permission)
      const rolesThatAllow = Object.entries(roles as Record<string, readonly Permission[]>)
        .filter(([, held]) => held.includes(permission))
        .map(([name]) => name)
      const reason = allowed
        ? `${caller.principal} has the permission ${permission} by its role ${caller.roles.filter((role) => rolesThatAllow.includes(role)).join(", ")}`
        : `${caller.principal} (${caller.roles.join(", ")}) lacks the permission ${permission}`
      return Promise.resolve({
        allowed,
        operation: operation.name,
        permission,
        reason: operation.anonymous ? "anybody may call it: it is how people log in" : reason,
        rolesThatAllow,
      })
    }),
  ]
}

function toAccount(row: AccountRow): { id: string; title: string; createdAt: string } {
  return { id: row.account, title: row.title, createdAt: toInstant(row.created_at) }
}
