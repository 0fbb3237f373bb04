import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, limits, pageInput, pageOf, resourceName } from "../schemas.ts"
import { identityLimits } from "./identity-limits.ts"
import { roleList, teamList } from "./people.ts"

/** OpenID Connect providers: who may log in by them, and what their groups mean here. */

export const admissions = ["never", "in-mapped-group", "anyone"] as const

const emailDomain = z
  .string()
  .max(253)
  .regex(/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$/, "write example.org")

/** What a person writes of a provider. */
export const identityProviderFields = {
  name: resourceName,
  title: z.string().min(1).max(limits.noteLengthMax).optional().describe("As people know it"),
  issuer: z
    .url({ protocol: /^https?$/ })
    .max(1000)
    .describe("The provider's issuer; https, plain http only on loopback"),
  clientId: z.string().min(1).max(256),
  clientSecret: resourceName.optional().describe("The secret that holds the client's secret; a public client has none"),
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/, "a scope has no spaces and no quotes"))
    .max(identityLimits.scopesMax)
    .default(["openid", "profile", "email"])
    .describe("What is asked for; openid always is"),
  groupsClaim: z
    .string()
    .min(1)
    .max(256)
    .default("groups")
    .describe("The claim that lists groups; a.b is the member b of the claim a"),
  groups: z
    .array(
      z.strictObject({
        group: z.string().min(1).max(identityLimits.groupNameCharactersMax),
        roles: roleList.default([]),
        teams: teamList.default([]),
      }),
    )
    .max(identityLimits.groupRulesMax)
    .default([])
    .describe("What membership in a group gives, anew at each login"),
  admit: z
    .enum(admissions)
    .default("never")
    .describe("For whom the first login makes a user: nobody, members of a group of the list, anyone"),
  emailDomains: z
    .array(emailDomain)
    .max(identityLimits.emailDomainsMax)
    .default([])
    .describe("Only users with a verified address of these domains are made; none given: any"),
  enabled: z.boolean().default(true).describe("False ends its sessions and refuses further ones"),
}

export const identityProvider = z
  .object({
    id: z.string(),
    ...identityProviderFields,
    version: z.int(),
    createdAt: instant,
    changedAt: instant,
    changedBy: z.string(),
  })
  .describe("An OpenID Connect provider. Its secret is named, never held")

export const identityProvidersApply = defineOperation({
  name: "identity-providers.apply",
  service: "identity",
  summary: "Create or change an identity provider",
  method: "PUT",
  path: "/v1/identity-providers/{name}",
  effect: "change",
  permission: "identity-providers.write",
  input: z.strictObject(identityProviderFields),
  output: identityProvider.extend({ changed: z.boolean() }),
  errors: ["identity.invalid-provider", "identity.role-not-grantable", "identity.outranked", "identity.too-many"],
})

export const identityProvidersList = defineOperation({
  name: "identity-providers.list",
  service: "identity",
  summary: "List identity providers",
  method: "GET",
  path: "/v1/identity-providers",
  effect: "read",
  permission: "identity-providers.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(identityProvider),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["name", "issuer", "clientId", "admit", "enabled", "changedAt"] },
})

export const identityProvidersGet = defineOperation({
  name: "identity-providers.get",
  service: "identity",
  summary: "Show an identity provider",
  method: "GET",
  path: "/v1/identity-providers/{name}",
  effect: "read",
  permission: "identity-providers.read",
  input: z.strictObject({ name: resourceName }),
  output: identityProvider,
  errors: ["identity.provider-not-found"],
})

export const identityProvidersRemove = defineOperation({
  name: "identity-providers.remove",
  service: "identity",
  summary: "Remove an identity provider",
  description: "The sessions that were made by it end within a second; its users stay, and can log in no more.",
  method: "DELETE",
  path: "/v1/identity-providers/{name}",
  effect: "change",
  permission: "identity-providers.write",
  input: z.strictObject({ name: resourceName }),
  output: z.object({ name: z.string() }),
  errors: ["identity.provider-not-found", "identity.outranked"],
})

export const identityProviderOperations = [
  identityProvidersApply,
  identityProvidersList,
  identityProvidersGet,
  identityProvidersRemove,
] as const
