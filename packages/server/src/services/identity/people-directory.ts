import { permissionsOf } from "@signalbox/contracts/identity/roles"
import type { Caller } from "../../router/handler.ts"
import type { Principal } from "../../router/ports.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { Sql } from "../../storage/database.ts"
import { joined, knownRoles } from "./principal-model.ts"
import { readProviders } from "./provider-store.ts"
import { SerialLoader } from "./serial-loader.ts"
import { readServiceAccounts } from "./service-account-store.ts"
import { readUsers } from "./user-store.ts"

/**
 * Every user, service account and identity provider of the installation in memory. An account's are replaced whole when
 * their version grows: a disabled user is refused on every server within the poll interval. Entries are never changed,
 * so whoever derived something from one knows by its identity that it still holds.
 */
export interface People extends ConfigurationListener {
  find(account: string, id: string): KnownPrincipal | undefined
  findByName(account: string, name: string): KnownPrincipal | undefined
  list(account: string): Iterable<KnownPrincipal>
  /** Whether sessions made by this provider still count. */
  isProviderEnabled(account: string, provider: string): boolean
  /** Whether the account has anybody. */
  knows(account: string): boolean
  /** Looks now, for somebody who was made a moment ago. */
  refresh(account: string): Promise<void>
}

export type KnownPrincipal = Principal & { readonly kind: "user" | "service-account" }

export const principalsComponent = "identity.principals"

interface AccountPeople {
  readonly byId: ReadonlyMap<string, KnownPrincipal>
  readonly byName: ReadonlyMap<string, KnownPrincipal>
  readonly providers: ReadonlySet<string>
}

export function createPeople(sql: Sql): People {
  const accounts = new Map<string, AccountPeople>()
  const loader = new SerialLoader(async (account) => void accounts.set(account, await readPeople(sql, account)))
  return {
    component: principalsComponent,
    load: (account) => loader.load(account),
    refresh: (account) => loader.load(account),
    find: (account, id) => accounts.get(account)?.byId.get(id),
    findByName: (account, name) => accounts.get(account)?.byName.get(name),
    list: (account) => accounts.get(account)?.byId.values() ?? [],
    isProviderEnabled: (account, provider) => accounts.get(account)?.providers.has(provider) === true,
    knows: (account) => accounts.has(account),
  }
}

async function readPeople(sql: Sql, account: string): Promise<AccountPeople> {
  const [users, serviceAccounts, providers] = [
    await readUsers(sql, account),
    await readServiceAccounts(sql, account),
    await readProviders(sql, account),
  ]
  const known = [
    ...users.map((row) =>
      toKnown(account, "user", {
        ...row,
        roles: ["member", ...joined(row.roles, row.claimedRoles)],
        teams: joined(row.teams, row.claimedTeams),
      }),
    ),
    ...serviceAccounts.map((row) => toKnown(account, "service-account", row)),
  ]
  return {
    byId: new Map(known.map((each) => [each.id, each])),
    // A service account may have a user's name: the user is meant then.
    byName: new Map(known.toReversed().map((each) => [each.name, each])),
    providers: new Set(providers.filter(({ spec }) => spec.enabled).map(({ name }) => name)),
  }
}

interface Row {
  readonly id: string
  readonly name: string
  readonly displayName: string
  readonly email?: string | null
  readonly roles: readonly string[]
  readonly teams: readonly string[]
  readonly disabledAt: number | null
}

function toKnown(account: string, kind: KnownPrincipal["kind"], row: Row): KnownPrincipal {
  const { id, name, displayName, email, teams } = row
  const roles = knownRoles(row.roles)
  const caller: Caller = { account, principal: id, kind, name, teams, roles, permissions: permissionsOf(roles) }
  return {
    ...{ id, kind, name, displayName, teams },
    ...(email ? { email } : {}),
    ...(row.disabledAt === null ? { caller } : {}),
  }
}
