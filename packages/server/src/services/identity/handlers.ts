import {
  accountsCreate,
  accountsList,
  authCan,
  authWhoami,
  keysCreate,
  keysList,
  keysRevoke,
} from "@signalbox/contracts/identity/operations"
import { permissionsOf, roles, type Permission, type RoleName } from "@signalbox/contracts/identity/roles"
import type { AnyOperation, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { makeKeyText } from "../../router/key-text.ts"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import { decodeCursor, encodeCursor } from "../../storage/cursor.ts"
import { keysComponent } from "./key-directory.ts"
import type { IdentityOptions } from "./options.ts"
import { insertAccount, insertKey, listAccounts, listKeys, revokeKey, type AccountRow, type KeyRow } from "./store.ts"

export function identityHandlers(options: IdentityOptions): Handler[] {
  return [...accountHandlers(options), ...keyHandlers(options), ...authHandlers(options.operations)]
}

function accountHandlers(options: IdentityOptions): Handler[] {
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
      const { text } = await addKey(options, ctx, { account: input.id, name: "first administrator", roles: ["admin"] })
      return { ...toAccount(row), key: text }
    }),
    onRead(accountsList, async (input, { sql }) => {
      const [after = ""] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listAccounts(sql, String(after), input.limit + 1)
      return page(rows, input.limit, { item: toAccount, key: (row) => row.account })
    }),
  ]
}

function keyHandlers(options: IdentityOptions): Handler[] {
  return [
    onChange(keysCreate, async (input, ctx) => {
      const wanted = permissionsOf(input.roles)
      const missing = [...wanted].find((permission) => !ctx.caller.permissions.has(permission))
      if (missing)
        throw new AppError(
          "identity.role-not-grantable",
          `the roles ${input.roles.join(", ")} hold ${missing}, which you don't have`,
        )
      const { row, text } = await addKey(options, ctx, { ...input, account: ctx.account })
      return { ...toApiKey(row), key: text }
    }),
    onRead(keysList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listKeys(sql, account, { after: String(after), limit: input.limit + 1 })
      return page(rows, input.limit, { item: toApiKey, key: (row) => row.id })
    }),
    onChange(keysRevoke, async (input, ctx) => {
      const revoked = await revokeKey(ctx.tx, ctx.account, input.key)
      if (!revoked) throw new AppError("identity.key-not-found", `there is no key "${input.key}" in this account`)
      if (revoked.changed) {
        const { row } = revoked
        ctx.emit({
          aggregate: row.id,
          type: "key.revoked",
          subject: row.id,
          version: row.version,
          data: { name: row.name },
        })
        await keysChanged(options, ctx, ctx.account)
      }
      return toApiKey(revoked.row)
    }),
  ]
}

async function addKey(
  options: IdentityOptions,
  ctx: ChangeContext,
  key: { account: string; name: string; roles: readonly RoleName[]; expiresAt?: string | undefined },
): Promise<{ row: KeyRow; text: string }> {
  const id = newId("key", options.clock, options.random)
  const { text, secretHash } = makeKeyText({ account: key.account, id }, options.random)
  const row = await insertKey(ctx.tx, { ...key, id, secretHash, createdBy: ctx.caller.principal })
  ctx.emit({ aggregate: id, type: "key.created", subject: id, version: 1, data: { name: key.name, roles: key.roles } })
  await keysChanged(options, ctx, key.account)
  return { row, text }
}

async function keysChanged(options: IdentityOptions, ctx: ChangeContext, account: string): Promise<void> {
  await raiseConfigurationVersion(ctx.tx, account, keysComponent)
  ctx.afterCommit(options.configurationChanged)
}

function authHandlers(operations: ReadonlyMap<string, AnyOperation>): Handler[] {
  return [
    onRead(authWhoami, (_input, { caller }) =>
      Promise.resolve({
        account: caller.account,
        principal: caller.principal,
        kind: caller.kind,
        roles: [...caller.roles],
        permissions: [...caller.permissions].toSorted(),
        ...(caller.expiresAt === undefined ? {} : { expiresAt: toInstant(caller.expiresAt) }),
      }),
    ),
    onRead(authCan, (input, { caller }) => {
      const operation = operations.get(input.operation)
      if (!operation) throw new AppError("routing.unknown-operation", `there is no operation "${input.operation}"`)
      const { permission } = operation
      const allowed = caller.permissions.has(permission)
      const rolesThatAllow = Object.entries(roles as Record<string, readonly Permission[]>)
        .filter(([, held]) => held.includes(permission))
        .map(([name]) => name)
      const reason = allowed
        ? `${caller.principal} has the permission ${permission} by its role ${caller.roles.filter((role) => rolesThatAllow.includes(role)).join(", ")}`
        : `${caller.principal} (${caller.roles.join(", ")}) lacks the permission ${permission}`
      return Promise.resolve({ allowed, operation: operation.name, permission, reason, rolesThatAllow })
    }),
  ]
}

function page<Row, Item>(
  rows: readonly Row[],
  limit: number,
  map: { item: (row: Row) => Item; key: (row: Row) => string },
): { items: Item[]; nextCursor?: string } {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  const more = rows.length > limit && last !== undefined
  return { items: shown.map(map.item), ...(more ? { nextCursor: encodeCursor([map.key(last)]) } : {}) }
}

function toAccount(row: AccountRow): { id: string; title: string; createdAt: string } {
  return { id: row.account, title: row.title, createdAt: toInstant(row.created_at) }
}

function toApiKey(row: KeyRow): Omit<OutputOf<typeof keysCreate>, "key"> {
  return {
    id: row.id,
    name: row.name,
    roles: row.roles,
    createdAt: toInstant(row.created_at),
    createdBy: row.created_by,
    ...(row.expires_at === null ? {} : { expiresAt: toInstant(row.expires_at) }),
    ...(row.revoked_at === null ? {} : { revokedAt: toInstant(row.revoked_at) }),
  }
}
