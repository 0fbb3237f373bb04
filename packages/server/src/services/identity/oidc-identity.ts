import { permissionsOf, type RoleName } from "@signalbox/contracts/identity/roles"
import { AppError } from "@signalbox/kernel/app-error"
import type { ProviderSpec } from "./provider-store.ts"

/** What a provider's claims mean here. No I/O, no clock. */
export interface OidcIdentity {
  readonly issuer: string
  readonly subject: string
  /** Only where the provider says that it verified it. */
  readonly email: string | null
  readonly displayName: string | null
  /** Which name a user made of it would have, if it is free. */
  readonly nameWish: string
  readonly groups: readonly string[]
}

const groupsMax = 2_000
const claimCharactersMax = 256
const subjectCharactersMax = 255
const displayNameCharactersMax = 200
const nameCharactersMax = 48

type Claims = Readonly<Record<string, unknown>>

/** @throws identity.provider-refused where the claims name nobody */
export function readIdentity(claims: Claims, spec: Pick<ProviderSpec, "groupsClaim">): OidcIdentity {
  const { iss, sub } = claims
  if (typeof iss !== "string" || typeof sub !== "string" || sub === "" || sub.length > subjectCharactersMax)
    throw new AppError("identity.provider-refused", "the provider's token names no issuer or no subject")
  const verified = claims["email_verified"] === true || claims["email_verified"] === "true"
  const email = textOf(claims["email"])
  return {
    issuer: iss,
    subject: sub,
    email: verified ? email : null,
    displayName: textOf(claims["name"])?.slice(0, displayNameCharactersMax) ?? null,
    nameWish: toUserName(textOf(claims["preferred_username"]) ?? email ?? sub),
    groups: readGroups(claims, spec.groupsClaim),
  }
}

function textOf(value: unknown): string | null {
  const text = typeof value === "string" ? value.replaceAll(/[\p{Cc}]/gu, "").trim() : ""
  return text === "" || text.length > claimCharactersMax ? null : text
}

/** A list of texts, or one text; at `a.b` the member b of the claim a, unless a claim is named so. */
export function readGroups(claims: Claims, name: string): string[] {
  const value = Object.hasOwn(claims, name) ? claims[name] : memberAt(claims, name.split("."))
  const list: unknown[] = Array.isArray(value) ? value : [value]
  return list.slice(0, groupsMax).flatMap((group) => (typeof group === "string" && group !== "" ? [group] : []))
}

function memberAt(value: unknown, path: readonly string[]): unknown {
  let at = value
  for (const part of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, part)) return undefined
    at = (at as Record<string, unknown>)[part]
  }
  return at
}

/** @example toUserName("Ann.Lee@example.org") // "ann.lee" */
export function toUserName(text: string): string {
  const plain = (text.split("@")[0] ?? "")
    .normalize("NFKD")
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .replaceAll(/^[._-]+/g, "")
    .slice(0, nameCharactersMax)
    .replaceAll(/[._-]+$/g, "")
  return plain === "" || /^(?:usr|sva|key|uss|nod)_/.test(plain) ? "user" : plain
}

/** What the groups give, by the provider's list. */
export function claimsOf(spec: Pick<ProviderSpec, "groups">, groups: readonly string[]) {
  const rules = spec.groups.filter(({ group }) => groups.includes(group))
  return {
    mapped: rules.length > 0,
    roles: [...new Set(rules.flatMap((rule) => rule.roles))].toSorted() satisfies RoleName[],
    teams: [...new Set(rules.flatMap((rule) => rule.teams))].toSorted(),
  }
}

/** Why the first login of somebody whom nobody made a user is refused; undefined where it makes one. */
export function findAdmissionFault(
  spec: Pick<ProviderSpec, "admit" | "groups" | "emailDomains">,
  identity: Pick<OidcIdentity, "email" | "groups">,
): string | undefined {
  if (spec.admit === "never") return "its logins make no users"
  if (spec.admit === "in-mapped-group" && !claimsOf(spec, identity.groups).mapped)
    return "none of your groups is one that is let in"
  if (spec.emailDomains.length === 0) return undefined
  if (identity.email === null) return "it did not say that it verified your e-mail address"
  const domain = identity.email.split("@").at(-1)?.toLowerCase() ?? ""
  return spec.emailDomains.includes(domain) ? undefined : "your e-mail address is of another domain"
}

/** All that a provider's groups can give: whoever changes the provider can have it. */
export function rolesGiven(spec: Pick<ProviderSpec, "groups">): RoleName[] {
  const all = [...new Set(spec.groups.flatMap(({ roles }) => roles))]
  return permissionsOf(all).size === 0 ? [] : all
}
