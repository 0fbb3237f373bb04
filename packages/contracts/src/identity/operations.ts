import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { accountId, instant, instantInput, limits, pageInput, pageOf } from "../schemas.ts"
import { grantableRoles, permissions } from "./roles.ts"

export const account = z
  .object({ id: accountId, title: z.string(), createdAt: instant })
  .describe("A tenant: nothing crosses accounts")

export const apiKey = z.object({
  id: z.string(),
  name: z.string(),
  roles: z.array(z.string()),
  createdAt: instant,
  createdBy: z.string(),
  expiresAt: instant.optional(),
  revokedAt: instant.optional(),
})

export const accountsCreate = defineOperation({
  name: "accounts.create",
  service: "identity",
  summary: "Create an account and its first administrator's key",
  method: "POST",
  path: "/v1/accounts",
  effect: "change",
  permission: "accounts.write",
  input: z.strictObject({ id: accountId, title: z.string().min(1).max(200).optional() }),
  output: account.extend({ key: z.string().describe("The administrator's API key, shown once") }),
  secretOutput: ["key"],
  errors: ["identity.account-exists"],
})

export const accountsList = defineOperation({
  name: "accounts.list",
  service: "identity",
  summary: "List the accounts of this installation",
  method: "GET",
  path: "/v1/accounts",
  effect: "read",
  permission: "accounts.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(account),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "title", "createdAt"] },
})

export const keysCreate = defineOperation({
  name: "keys.create",
  service: "identity",
  summary: "Create an API key",
  description: "The key's text is in the reply and nowhere else: the server keeps only a hash.",
  method: "POST",
  path: "/v1/keys",
  effect: "change",
  permission: "keys.write",
  input: z.strictObject({
    name: z.string().min(1).max(limits.nameLengthMax),
    roles: z.array(z.enum(grantableRoles)).min(1).max(grantableRoles.length),
    expiresAt: instantInput.optional(),
  }),
  output: apiKey.extend({ key: z.string().describe("The key's text, shown once") }),
  secretOutput: ["key"],
  errors: ["identity.role-not-grantable"],
})

export const keysList = defineOperation({
  name: "keys.list",
  service: "identity",
  summary: "List API keys",
  method: "GET",
  path: "/v1/keys",
  effect: "read",
  permission: "keys.read",
  input: z.strictObject({ ...pageInput }),
  output: pageOf(apiKey),
  errors: ["request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "name", "roles", "expiresAt", "revokedAt"] },
})

export const keysRevoke = defineOperation({
  name: "keys.revoke",
  service: "identity",
  summary: "Revoke an API key",
  description: "Every server refuses the key within a second.",
  method: "POST",
  path: "/v1/keys/{key}:revoke",
  effect: "change",
  permission: "keys.write",
  input: z.strictObject({ key: z.string().max(64) }),
  output: apiKey,
  errors: ["identity.key-not-found"],
})

export const authWhoami = defineOperation({
  name: "auth.whoami",
  service: "identity",
  summary: "Show who this key is and what it may do",
  method: "GET",
  path: "/v1/auth/whoami",
  effect: "read",
  permission: "auth.read",
  input: z.strictObject({}),
  output: z.object({
    account: z.string(),
    principal: z.string(),
    kind: z.enum(["key", "agent", "enrollment", "system", "schedule"]),
    roles: z.array(z.string()),
    permissions: z.array(z.enum(permissions)),
    expiresAt: instant.optional(),
  }),
  errors: [],
})

export const authCan = defineOperation({
  name: "auth.can",
  service: "identity",
  summary: "Tell whether this key may call an operation, and why",
  method: "GET",
  path: "/v1/auth/can",
  effect: "read",
  permission: "auth.read",
  input: z.strictObject({ operation: z.string().max(128) }),
  output: z.object({
    allowed: z.boolean(),
    operation: z.string(),
    permission: z.string(),
    reason: z.string(),
    rolesThatAllow: z.array(z.string()),
  }),
  errors: ["routing.unknown-operation"],
})

export const identityOperations = [
  accountsCreate,
  accountsList,
  keysCreate,
  keysList,
  keysRevoke,
  authWhoami,
  authCan,
] as const
