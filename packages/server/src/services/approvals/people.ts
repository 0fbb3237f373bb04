/** Who takes part, as the machine wants it: principals and addresses with the teams that bans look at. */
import type { Identity, Person } from "@signalbox/approvals/template-rules"
import type { Requester } from "@signalbox/approvals/types"
import type { Caller } from "../../router/handler.ts"
import type { PeopleDirectory, Principal } from "../../router/ports.ts"
import { mailKey, type KnownPerson } from "./rules.ts"

export type PeopleSource = Pick<PeopleDirectory, "describePrincipal">

/** Somebody who can log in now, by id or name; undefined where there is nobody, or not any more. */
export function findPerson(
  people: PeopleSource,
  account: string,
  of: { readonly reference: string; readonly now: number },
): KnownPerson | undefined {
  const found = people.describePrincipal(account, of.reference, of.now)
  return found?.caller === undefined ? undefined : knownOf(found)
}

function knownOf({ id, displayName, email, teams, caller }: Principal): KnownPerson {
  return {
    id,
    name: displayName,
    teams,
    roles: caller?.roles ?? [],
    ...(email === undefined ? {} : { mail: email }),
  }
}

export function identityOf(known: KnownPerson): Identity {
  const { id, name, mail, teams } = known
  return { key: id, name, keys: [id, ...(mail === undefined ? [] : [mailKey(mail)])], teams }
}

/** Who calls, with what the directory knows; a schedule's call is its author's. */
export function requesterOfCaller(people: PeopleSource, caller: Caller, now: number): Requester {
  const principal = caller.author ?? caller.principal
  const known = findPerson(people, caller.account, { reference: principal, now })
  if (known) return { ...identityOf(known), roles: known.roles }
  return { key: principal, keys: [principal], teams: [], roles: caller.roles }
}

/** For whom a backend asks. */
export interface RequesterInput {
  readonly principal?: string | undefined
  readonly name?: string | undefined
  readonly mail?: string | undefined
  readonly teams?: readonly string[] | undefined
}

export function requesterOfInput(
  people: PeopleSource,
  account: string,
  of: { readonly input: RequesterInput; readonly now: number },
): Requester {
  const { principal, name, mail, teams = [] } = of.input
  const known = principal === undefined ? undefined : findPerson(people, account, { reference: principal, now: of.now })
  const addresses = [mail, known?.mail].filter((address) => address !== undefined).map(mailKey)
  const key = known?.id ?? principal ?? addresses[0] ?? ""
  const called = name ?? known?.name
  return {
    key,
    keys: [...new Set([key, ...addresses])],
    teams: [...new Set([...teams, ...(known?.teams ?? [])])],
    roles: known?.roles ?? [],
    ...(called === undefined ? {} : { name: called }),
  }
}

export function personOf({ key, name }: Person): Person {
  return { key, ...(name === undefined ? {} : { name }) }
}
