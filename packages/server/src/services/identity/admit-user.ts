import { identityLimits } from "@signalbox/contracts/identity/identity-limits"
import { AppError } from "@signalbox/kernel/app-error"
import { newId } from "@signalbox/kernel/id"
import type { ChangeContext } from "../../router/handler.ts"
import { principalsChanged, type IdentityContext } from "./identity-context.ts"
import { claimsOf, findAdmissionFault, type OidcIdentity } from "./oidc-identity.ts"
import type { ProviderRow } from "./provider-store.ts"
import { emitUser } from "./user-handlers.ts"
import { countUsers, findUsersOfIdentity, insertUser, lockUser, updateUser, type UserRow } from "./user-store.ts"

interface Arrival {
  readonly provider: ProviderRow
  readonly identity: OidcIdentity
}

const nameTriesMax = 50

/**
 * The user whom a provider means: bound by an earlier login, made for this address by an administrator, or made now
 * where the provider's terms allow it. Roles and teams by claims are as the groups say at this login.
 *
 * @throws identity.not-admitted, identity.too-many
 */
export async function admitUser(
  context: IdentityContext,
  ctx: ChangeContext,
  arrival: Arrival,
): Promise<{ readonly user: UserRow; readonly created: boolean }> {
  const { provider, identity } = arrival
  // Two first logins of one person at the same time make one user.
  await ctx.tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [
    JSON.stringify(["identity.admit", ctx.account, identity.issuer, identity.subject]),
  ])
  const known = await findKnown(ctx, arrival)
  const before = known ?? (await createUser(context, ctx, arrival))
  const { roles, teams } = claimsOf(provider.spec, identity.groups)
  const isNews =
    before.subject === null ||
    before.claimedRoles.join() !== roles.join() ||
    before.claimedTeams.join() !== teams.join()
  const { issuer, subject } = identity
  const change = { claimedRoles: roles, claimedTeams: teams, issuer, subject, lastLoginAt: ctx.now }
  const user = await updateUser(ctx.tx, ctx.account, { row: before, change })
  if (!known || isNews) {
    emitUser(ctx, user, known ? "user.changed" : "user.created")
    await principalsChanged(context, ctx)
  }
  return { user, created: !known }
}

async function findKnown(ctx: ChangeContext, { provider, identity }: Arrival): Promise<UserRow | undefined> {
  const { issuer, subject, email } = identity
  const found = await findUsersOfIdentity(ctx.tx, ctx.account, { provider: provider.name, issuer, subject, email })
  const bound = found.find((row) => row.subject !== null)
  if (!bound && found.length > 1)
    throw notAdmitted(provider, `several users wait for the address ${email ?? "that it named"}`)
  const chosen = bound ?? found[0]
  const row = chosen && (await lockUser(ctx.tx, ctx.account, chosen.id))
  if (!row) return undefined
  if (row.disabledAt !== null || row.provider !== provider.name)
    throw notAdmitted(provider, "you are kept out here, or log in another way")
  return row
}

const notAdmitted = ({ name }: ProviderRow, why: string): AppError =>
  new AppError("identity.not-admitted", `"${name}" knows you, but ${why}`)

async function createUser(context: IdentityContext, ctx: ChangeContext, arrival: Arrival): Promise<UserRow> {
  const { provider, identity } = arrival
  const fault = findAdmissionFault(provider.spec, identity)
  if (fault !== undefined) throw notAdmitted(provider, fault)
  if ((await countUsers(ctx.tx, ctx.account)) >= identityLimits.usersMax)
    throw new AppError("identity.too-many", `an account has ${identityLimits.usersMax} users at most`)
  const { nameWish, displayName, email, issuer, subject } = identity
  for (let attempt = 1; attempt <= nameTriesMax; attempt++) {
    const name = attempt === 1 ? nameWish : `${nameWish}-${attempt}`
    const row = await insertUser(ctx.tx, {
      ...{ account: ctx.account, name, email, issuer, subject },
      id: newId("user", context.clock, context.random),
      displayName: displayName ?? name,
      roles: [],
      teams: [],
      provider: provider.name,
      createdBy: `identity-provider:${provider.name}`,
    })
    if (row) return row
  }
  throw new AppError("identity.too-many", `${nameTriesMax} users are named "${nameWish}" or so already`)
}
