import { permissionsOf } from "@signalbox/contracts/identity/roles"
import { isSameHash, parseKeyText } from "../../router/key-text.ts"
import type { Caller } from "../../router/handler.ts"
import type { Authenticator, PeopleDirectory, Principal } from "../../router/ports.ts"
import type { Sql } from "../../storage/database.ts"
import type { ConfigurationListener } from "../../storage/configuration-versions.ts"
import type { KnownPrincipal, People } from "./people-directory.ts"
import { knownRoles, narrowed } from "./principal-model.ts"
import { readKeys, type KeyRow } from "./store.ts"

/**
 * Every API key of the installation in memory, so that no call asks the database who it is. An account's keys are
 * replaced whole when their version grows; a revoked key is refused within the poll interval on every server. A key
 * that belongs to somebody acts as its owner, as the owner is at that moment.
 */
interface KnownKey {
  readonly row: KeyRow
  /** Of a key that belongs to nobody. */
  readonly caller?: Caller
  /** What was derived from which owner's entry. */
  derived?: { readonly from: KnownPrincipal; readonly caller: Caller }
}

export interface KeyDirectory extends Authenticator, PeopleDirectory, ConfigurationListener {}

export const keysComponent = "identity.keys"

const serviceAccountPrefix = "service-account:"

export function createKeyDirectory(sql: Sql, people: People): KeyDirectory {
  const accounts = new Map<string, ReadonlyMap<string, KnownKey>>()
  const findKey = (account: string, id: string): KnownKey | undefined => accounts.get(account)?.get(id)
  const callerNow = (account: string, key: KnownKey, now: number): Caller | undefined => {
    if ((key.row.expires_at ?? Infinity) <= now) return undefined
    return key.row.owner === null ? key.caller : callerOfOwner(key, people.find(account, key.row.owner))
  }
  const describeKey = (account: string, key: KnownKey, now: number): Principal => {
    const caller = callerNow(account, key, now)
    const { id, name } = key.row
    return { id: `key:${id}`, kind: "key", name, displayName: name, teams: [], ...(caller ? { caller } : {}) }
  }
  return {
    component: keysComponent,
    async load(account) {
      const keys = (await readKeys(sql, account)).filter((row) => row.revoked_at === null)
      accounts.set(account, new Map(keys.map((row) => [row.id, toKnown(account, row)])))
    },
    authenticate({ token, now }) {
      const parsed = parseKeyText(token)
      const known = parsed && findKey(parsed.account, parsed.id)
      const good = known && isSameHash(known.row.secret_hash, parsed.secretHash)
      return good ? callerNow(parsed.account, known, now) : undefined
    },
    findPrincipal(account, principal, now) {
      if (principal.startsWith(serviceAccountPrefix)) {
        const named = people.findByName(account, principal.slice(serviceAccountPrefix.length))
        return named?.kind === "service-account" ? named.caller : undefined
      }
      const key = principal.startsWith("key:") ? findKey(account, principal.slice(4)) : undefined
      return key ? callerNow(account, key, now) : people.find(account, principal)?.caller
    },
    describePrincipal(account, reference, now) {
      const key = reference.startsWith("key:") ? findKey(account, reference.slice(4)) : undefined
      if (key?.row.owner === null) return describeKey(account, key, now)
      const id = key?.row.owner ?? reference
      return people.find(account, id) ?? people.findByName(account, id)
    },
    listPrincipals(account, now) {
      const keys = [...(accounts.get(account)?.values() ?? [])].filter(({ row }) => row.owner === null)
      const all = [...people.list(account), ...keys.map((key) => describeKey(account, key, now))]
      return all.toSorted((a, b) => (a.id < b.id ? -1 : 1))
    },
  }
}

function toKnown(account: string, row: KeyRow): KnownKey {
  if (row.owner !== null) return { row }
  const roles = knownRoles(row.roles)
  const caller: Caller = {
    account,
    principal: `key:${row.id}`,
    kind: "key",
    roles,
    permissions: permissionsOf(roles),
    ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
    ...(row.nodes === null ? {} : { nodes: row.nodes }),
  }
  return { row, caller }
}

/** Undefined where the owner is disabled or not known here yet. */
function callerOfOwner(key: KnownKey, owner: KnownPrincipal | undefined): Caller | undefined {
  if (!owner?.caller) return undefined
  if (key.derived?.from === owner) return key.derived.caller
  const roles = narrowed(knownRoles(key.row.roles), owner.caller.roles)
  const { id, expires_at: expiresAt, nodes } = key.row
  const narrow = { roles, permissions: permissionsOf(roles), credential: id }
  const caller = {
    ...owner.caller,
    ...narrow,
    ...(expiresAt === null ? {} : { expiresAt }),
    ...(nodes === null ? {} : { nodes }),
  }
  key.derived = { from: owner, caller }
  return caller
}
