import { identityLimits } from "@signalbox/contracts/identity/identity-limits"
import { keysAssign, keysCreate, keysList, keysRevoke } from "@signalbox/contracts/identity/operations"
import { parseTagQuery } from "@signalbox/contracts/fleet/tag-query"
import type { RoleName } from "@signalbox/contracts/identity/roles"
import type { InputOf, OutputOf } from "@signalbox/contracts/operation"
import { AppError } from "@signalbox/kernel/app-error"
import { toInstant } from "@signalbox/kernel/clock"
import { newId } from "@signalbox/kernel/id"
import { onChange, onRead, type ChangeContext, type Handler } from "../../router/handler.ts"
import { makeKeyText } from "../../router/key-text.ts"
import { raiseConfigurationVersion } from "../../storage/configuration-versions.ts"
import { decodeCursor } from "../../storage/cursor.ts"
import type { IdentityContext } from "./identity-context.ts"
import { keysComponent } from "./key-directory.ts"
import type { IdentityOptions } from "./options.ts"
import { page } from "./page.ts"
import { checkGrantable, checkNotOutranked, joined, knownRoles } from "./principal-model.ts"
import { findServiceAccount } from "./service-account-store.ts"
import { assignKey, countKeys, insertKey, listKeys, lockKey, revokeKey, type KeyRow } from "./store.ts"
import { findUser } from "./user-store.ts"

export function keyHandlers(context: IdentityContext): Handler[] {
  return [
    onChange(keysCreate, (input, ctx) => createKey(context, input, ctx)),
    onRead(keysList, async (input, { sql, account }) => {
      const [after = ""] = input.cursor ? decodeCursor(input.cursor, 1) : []
      const rows = await listKeys(sql, account, { after: String(after), limit: input.limit + 1 })
      return page(rows, input.limit, { item: toApiKey, key: (row) => row.id })
    }),
    onChange(keysAssign, async (input, ctx) => {
      const row = await lockKey(ctx.tx, ctx.account, input.key)
      if (!row) throw keyNotFound(input.key)
      if (row.owner !== null) throw new AppError("identity.key-owned", `${row.id} belongs to ${row.owner}`)
      checkNotOutranked(ctx.caller.permissions, { id: row.id, roles: knownRoles(row.roles) })
      const owner = await getOwner(ctx, input.owner)
      const assigned = await assignKey(ctx.tx, { account: ctx.account, id: row.id, owner })
      emitKey(ctx, assigned, "key.assigned")
      await keysChanged(context, ctx, ctx.account)
      return toApiKey(assigned)
    }),
    onChange(keysRevoke, async (input, ctx) => {
      const revoked = await revokeKey(ctx.tx, ctx.account, input.key)
      if (!revoked) throw keyNotFound(input.key)
      if (revoked.changed) {
        emitKey(ctx, revoked.row, "key.revoked")
        await keysChanged(context, ctx, ctx.account)
      }
      return toApiKey(revoked.row)
    }),
  ]
}

const keyNotFound = (key: string): AppError =>
  new AppError("identity.key-not-found", `there is no key "${key}" in this account`)

function emitKey(ctx: ChangeContext, { id, name, owner, version }: KeyRow, type: string): void {
  const data = { name, ...(owner === null ? {} : { owner }) }
  ctx.emit({ aggregate: id, type, subject: id, version, data })
}

/** Its owner: who is named, else the user who makes it, else nobody. */
async function createKey(context: IdentityContext, input: InputOf<typeof keysCreate>, ctx: ChangeContext) {
  checkGrantable(ctx.caller.permissions, input.roles)
  if (input.nodes !== undefined) parseTagQuery(input.nodes)
  const own = ctx.caller.kind === "user" ? ctx.caller.principal : undefined
  const owner = input.owner === undefined ? own : await getOwner(ctx, input.owner)
  const { row, text } = await addKey(context, ctx, { ...input, owner, account: ctx.account })
  return { ...toApiKey(row), key: text }
}

/**
 * The id of a user or service account. A key of somebody calls in their name, so whoever makes one needs their authority.
 *
 * @throws identity.principal-not-found, identity.outranked
 */
async function getOwner(ctx: ChangeContext, reference: string): Promise<string> {
  const user = await findUser(ctx.tx, ctx.account, reference)
  const serviceAccount = user ? undefined : await findServiceAccount(ctx.tx, ctx.account, reference)
  const owner = user ? { id: user.id, roles: joined(user.roles, user.claimedRoles) } : serviceAccount
  if (!owner)
    throw new AppError(
      "identity.principal-not-found",
      `there is no user and no service account "${reference}" in this account`,
    )
  if (owner.id !== ctx.caller.principal) checkNotOutranked(ctx.caller.permissions, owner)
  return owner.id
}

export async function addKey(
  options: IdentityOptions,
  ctx: ChangeContext,
  key: {
    readonly account: string
    readonly name: string
    readonly roles: readonly RoleName[]
    readonly owner?: string | undefined
    readonly expiresAt?: string | undefined
    readonly nodes?: string | undefined
  },
): Promise<{ row: KeyRow; text: string }> {
  if ((await countKeys(ctx.tx, key.account)) >= identityLimits.keysMax)
    throw new AppError("identity.too-many", `an account has ${identityLimits.keysMax} keys at most`)
  const id = newId("key", options.clock, options.random)
  const { text, secretHash } = makeKeyText({ account: key.account, id }, options.random)
  const row = await insertKey(ctx.tx, { ...key, id, secretHash, createdBy: ctx.caller.principal })
  const { name, roles, owner, nodes } = key
  const more = { ...(owner === undefined ? {} : { owner }), ...(nodes === undefined ? {} : { nodes }) }
  const data = { name, roles, ...more }
  ctx.emit({ aggregate: id, type: "key.created", subject: id, version: 1, data })
  await keysChanged(options, ctx, key.account)
  return { row, text }
}

async function keysChanged(options: IdentityOptions, ctx: ChangeContext, account: string): Promise<void> {
  await raiseConfigurationVersion(ctx.tx, account, keysComponent)
  ctx.afterCommit(options.configurationChanged)
}

function toApiKey(row: KeyRow): Omit<OutputOf<typeof keysCreate>, "key"> {
  return {
    id: row.id,
    name: row.name,
    roles: row.roles,
    ...(row.owner === null ? {} : { owner: row.owner }),
    createdAt: toInstant(row.created_at),
    createdBy: row.created_by,
    ...(row.expires_at === null ? {} : { expiresAt: toInstant(row.expires_at) }),
    ...(row.nodes === null ? {} : { nodes: row.nodes }),
    ...(row.revoked_at === null ? {} : { revokedAt: toInstant(row.revoked_at) }),
  }
}
