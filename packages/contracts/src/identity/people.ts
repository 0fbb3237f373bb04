import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { instant, pageInput, pageOf, resourceName } from "../schemas.ts"
import { identityLimits } from "./identity-limits.ts"
import { grantableRoles } from "./roles.ts"

/** Users, service accounts, and the principals that both of them are. */

export const displayName = z.string().trim().min(1).max(identityLimits.displayNameCharactersMax)
export const roleList = z.array(z.enum(grantableRoles)).max(grantableRoles.length).describe("What they may do")
export const teamList = z
  .array(resourceName)
  .max(identityLimits.teamsMax)
  .describe("Which teams they belong to; approvals can bar members of the same team")
const userReference = z.string().min(1).max(128).describe("A user's id or name")
const serviceAccountReference = z.string().min(1).max(128).describe("A service account's id or name")

export const user = z
  .object({
    id: z.string().describe("Stable: names the user in records for ever"),
    name: resourceName,
    displayName: z.string(),
    email: z.string().optional(),
    roles: z.array(z.string()).describe("Given by hand"),
    teams: z.array(z.string()).describe("Given by hand"),
    claimedRoles: z.array(z.string()).describe("Given by the provider's groups, at the last login"),
    claimedTeams: z.array(z.string()).describe("Given by the provider's groups, at the last login"),
    provider: resourceName.optional().describe("Which identity provider they log in by"),
    hasPassword: z.boolean(),
    disabled: z.boolean(),
    version: z.int(),
    createdAt: instant,
    createdBy: z.string(),
    lastLoginAt: instant.optional(),
  })
  .describe("A person who logs in")

/** The one-time code with which a password is set; absent for those who log in by a provider. */
const passwordCode = {
  code: z.string().optional().describe("Sets their password, once; shown once"),
  codeExpiresAt: instant.optional(),
}

export const usersCreate = defineOperation({
  name: "users.create",
  service: "identity",
  summary: "Create a user",
  description:
    "The reply has a one-time code: with it the user sets a password (`signalbox login --code`). With `provider` there " +
    "is no code: whoever logs in there first with this e-mail address, verified, is the user from then on.",
  method: "POST",
  path: "/v1/users",
  effect: "change",
  permission: "users.write",
  input: z.strictObject({
    name: resourceName,
    displayName: displayName.optional().describe("As people know them; else the name"),
    email: z.email().max(254).optional().describe("Where mail reaches them; it names nobody"),
    roles: roleList.default([]),
    teams: teamList.default([]),
    provider: resourceName.optional().describe("Logs in by this identity provider, not by a password"),
  }),
  output: user.extend(passwordCode),
  secretOutput: ["code"],
  errors: ["identity.user-exists", "identity.role-not-grantable", "identity.provider-not-found", "identity.too-many"],
})

export const usersList = defineOperation({
  name: "users.list",
  service: "identity",
  summary: "List users",
  method: "GET",
  path: "/v1/users",
  effect: "read",
  permission: "users.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(user),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "name", "displayName", "roles", "teams", "provider", "disabled"] },
})

export const usersGet = defineOperation({
  name: "users.get",
  service: "identity",
  summary: "Show a user",
  method: "GET",
  path: "/v1/users/{user}",
  effect: "read",
  permission: "users.read",
  input: z.strictObject({ user: userReference }),
  output: user,
  errors: ["identity.user-not-found"],
})

export const usersUpdate = defineOperation({
  name: "users.update",
  service: "identity",
  summary: "Change a user's name, e-mail address, roles or teams",
  description: "Roles and teams take the place of those given by hand before; every server knows within a second.",
  method: "PATCH",
  path: "/v1/users/{user}",
  effect: "change",
  permission: "users.write",
  input: z.strictObject({
    user: userReference,
    displayName: displayName.optional(),
    email: z.email().max(254).optional(),
    roles: roleList.optional(),
    teams: teamList.optional(),
  }),
  output: user,
  errors: ["identity.user-not-found", "identity.role-not-grantable", "identity.outranked"],
})

export const usersDisable = defineOperation({
  name: "users.disable",
  service: "identity",
  summary: "Keep a user out",
  description: "Every server refuses their sessions and their keys within a second. Nothing is removed.",
  method: "POST",
  path: "/v1/users/{user}:disable",
  effect: "change",
  permission: "users.write",
  input: z.strictObject({ user: userReference }),
  output: user,
  errors: ["identity.user-not-found", "identity.outranked"],
})

export const usersEnable = defineOperation({
  name: "users.enable",
  service: "identity",
  summary: "Let a disabled user in again",
  description: "Their keys work again; the sessions of before have ended.",
  method: "POST",
  path: "/v1/users/{user}:enable",
  effect: "change",
  permission: "users.write",
  input: z.strictObject({ user: userReference }),
  output: user,
  errors: ["identity.user-not-found", "identity.outranked"],
})

export const usersResetPassword = defineOperation({
  name: "users.reset-password",
  service: "identity",
  summary: "Take a user's password away and make a one-time code for a new one",
  description: "All their sessions end. With the code they set a new password: `signalbox login --code`.",
  method: "POST",
  path: "/v1/users/{user}:reset-password",
  effect: "change",
  permission: "users.write",
  input: z.strictObject({ user: userReference }),
  output: user.extend(passwordCode),
  secretOutput: ["code"],
  errors: ["identity.user-not-found", "identity.outranked", "identity.no-password"],
})

export const serviceAccount = z
  .object({
    id: z.string().describe("Stable: names it in records for ever"),
    name: resourceName,
    displayName: z.string(),
    roles: z.array(z.string()),
    teams: z.array(z.string()),
    disabled: z.boolean(),
    version: z.int(),
    createdAt: instant,
    createdBy: z.string(),
  })
  .describe("A program that calls, by API keys that belong to it")

export const serviceAccountsCreate = defineOperation({
  name: "service-accounts.create",
  service: "identity",
  summary: "Create a service account",
  description: "Then make a key for it: `signalbox keys create NAME --owner SERVICE-ACCOUNT`.",
  method: "POST",
  path: "/v1/service-accounts",
  effect: "change",
  permission: "service-accounts.write",
  input: z.strictObject({
    name: resourceName,
    displayName: displayName.optional(),
    roles: roleList.default([]),
    teams: teamList.default([]),
  }),
  output: serviceAccount,
  errors: ["identity.service-account-exists", "identity.role-not-grantable", "identity.too-many"],
})

export const serviceAccountsList = defineOperation({
  name: "service-accounts.list",
  service: "identity",
  summary: "List service accounts",
  method: "GET",
  path: "/v1/service-accounts",
  effect: "read",
  permission: "service-accounts.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(serviceAccount),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "name", "displayName", "roles", "teams", "disabled"] },
})

export const serviceAccountsGet = defineOperation({
  name: "service-accounts.get",
  service: "identity",
  summary: "Show a service account",
  method: "GET",
  path: "/v1/service-accounts/{serviceAccount}",
  effect: "read",
  permission: "service-accounts.read",
  input: z.strictObject({ serviceAccount: serviceAccountReference }),
  output: serviceAccount,
  errors: ["identity.service-account-not-found"],
})

export const serviceAccountsUpdate = defineOperation({
  name: "service-accounts.update",
  service: "identity",
  summary: "Change a service account's display name, roles or teams",
  description: "Its keys can do no more than it can; every server knows within a second.",
  method: "PATCH",
  path: "/v1/service-accounts/{serviceAccount}",
  effect: "change",
  permission: "service-accounts.write",
  input: z.strictObject({
    serviceAccount: serviceAccountReference,
    displayName: displayName.optional(),
    roles: roleList.optional(),
    teams: teamList.optional(),
  }),
  output: serviceAccount,
  errors: ["identity.service-account-not-found", "identity.role-not-grantable", "identity.outranked"],
})

export const serviceAccountsDisable = defineOperation({
  name: "service-accounts.disable",
  service: "identity",
  summary: "Refuse all keys of a service account",
  description: "Every server refuses them within a second. Nothing is removed.",
  method: "POST",
  path: "/v1/service-accounts/{serviceAccount}:disable",
  effect: "change",
  permission: "service-accounts.write",
  input: z.strictObject({ serviceAccount: serviceAccountReference }),
  output: serviceAccount,
  errors: ["identity.service-account-not-found", "identity.outranked"],
})

export const serviceAccountsEnable = defineOperation({
  name: "service-accounts.enable",
  service: "identity",
  summary: "Let the keys of a disabled service account in again",
  method: "POST",
  path: "/v1/service-accounts/{serviceAccount}:enable",
  effect: "change",
  permission: "service-accounts.write",
  input: z.strictObject({ serviceAccount: serviceAccountReference }),
  output: serviceAccount,
  errors: ["identity.service-account-not-found", "identity.outranked"],
})

export const principalKinds = ["user", "service-account", "key"] as const

export const principal = z
  .object({
    id: z.string().describe("As records name it: usr_…, sva_…, key:key_…"),
    kind: z.enum(principalKinds).describe("A key is a principal of its own where it belongs to nobody"),
    name: z.string(),
    displayName: z.string(),
    roles: z.array(z.string()).describe("By hand and by claims, as they count now"),
    teams: z.array(z.string()).describe("By hand and by claims, as they count now"),
    disabled: z.boolean(),
  })
  .describe("Who can call: a user, a service account, or a key that belongs to neither")

export const principalsList = defineOperation({
  name: "principals.list",
  service: "identity",
  summary: "List who can call: users, service accounts, keys of nobody",
  method: "GET",
  path: "/v1/principals",
  effect: "read",
  permission: "principals.read",
  input: z.strictObject({
    kind: z.enum(principalKinds).optional(),
    team: resourceName.optional().describe("Only members of this team"),
    ...pageInput,
  }),
  output: pageOf(principal),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "kind", "name", "displayName", "roles", "teams", "disabled"] },
})

export const principalsGet = defineOperation({
  name: "principals.get",
  service: "identity",
  summary: "Show who is behind an id of the records",
  method: "GET",
  path: "/v1/principals/{principal}",
  effect: "read",
  permission: "principals.read",
  input: z.strictObject({
    principal: z.string().min(1).max(128).describe("An id; or a user's or service account's name"),
  }),
  output: principal,
  errors: ["identity.principal-not-found"],
})

export const peopleOperations = [
  usersCreate,
  usersList,
  usersGet,
  usersUpdate,
  usersDisable,
  usersEnable,
  usersResetPassword,
  serviceAccountsCreate,
  serviceAccountsList,
  serviceAccountsGet,
  serviceAccountsUpdate,
  serviceAccountsDisable,
  serviceAccountsEnable,
  principalsList,
  principalsGet,
] as const
