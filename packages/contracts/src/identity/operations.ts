import { z } from "zod"
import { tagQuery } from "../fleet/operations.ts"
import { defineOperation } from "../operation.ts"
import { accountId, instant, instantInput, limits, pageInput, pageOf } from "../schemas.ts"
import { identityProviderOperations } from "./identity-providers.ts"
import { peopleOperations } from "./people.ts"
import { grantableRoles, permissions } from "./roles.ts"
import { userSessionOperations } from "./user-sessions.ts"

export const account = z
  .object({ id: accountId, title: z.string(), createdAt: instant })
  .describe("A tenant: nothing crosses accounts")

export const apiKey = z.object({
  id: z.string(),
  name: z.string(),
  roles: z.array(z.string()),
  owner: z.string().optional().describe("The user or service account that it belongs to; else it is its own principal"),
  createdAt: instant,
  createdBy: z.string(),
  expiresAt: instant.optional(),
  nodes: z.string().optional().describe("The tag query that it is narrowed to"),
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
  description:
    "The key's text is in the reply and nowhere else: the server keeps only a hash. A key of a user or of a service " +
    "account acts as its owner, can do no more than both its own roles and its owner's allow, and dies with its owner.",
  method: "POST",
  path: "/v1/keys",
  effect: "change",
  permission: "keys.write",
  input: z.strictObject({
    name: z.string().min(1).max(limits.nameLengthMax),
    roles: z.array(z.enum(grantableRoles)).min(1).max(grantableRoles.length),
    owner: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .describe("A user or service account, by id or name; else the user who makes it, else nobody"),
    expiresAt: instantInput.optional(),
    nodes: tagQuery
      .optional()
      .describe("Narrows it to the nodes that this tag query finds, and to the operations that keep to nodes"),
  }),
  output: apiKey.extend({ key: z.string().describe("The key's text, shown once") }),
  secretOutput: ["key"],
  errors: [
    "identity.role-not-grantable",
    "identity.principal-not-found",
    "identity.outranked",
    "identity.too-many",
    "fleet.invalid-tag-query",
  ],
})

export const keysAssign = defineOperation({
  name: "keys.assign",
  service: "identity",
  summary: "Give a key that belongs to nobody to a user or a service account",
  description: "From then on its calls are its owner's. What it did before stays under its own name.",
  method: "POST",
  path: "/v1/keys/{key}:assign",
  effect: "change",
  permission: "keys.write",
  input: z.strictObject({
    key: z.string().max(64),
    owner: z.string().min(1).max(128).describe("A user or service account, by id or name"),
  }),
  output: apiKey,
  errors: [
    "identity.key-not-found",
    "identity.key-owned",
    "identity.outranked",
    "identity.principal-not-found",
    "identity.role-not-grantable",
  ],
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
  table: { rows: "items", columns: ["id", "name", "owner", "roles", "expiresAt", "revokedAt"] },
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
  nodeScope: "none",
  service: "identity",
  summary: "Show who you are here and what you may do",
  method: "GET",
  path: "/v1/auth/whoami",
  effect: "read",
  permission: "auth.read",
  input: z.strictObject({}),
  output: z.object({
    account: z.string(),
    principal: z.string(),
    kind: z.enum([
      "key",
      "user",
      "service-account",
      "agent",
      "enrollment",
      "system",
      "schedule",
      "rule",
      "feed",
      "hook",
      "hook",
      "link",
      "anonymous",
    ]),
    name: z.string().optional().describe("Of a user or service account"),
    credential: z.string().optional().describe("The key or the session that was shown"),
    teams: z.array(z.string()),
    roles: z.array(z.string()),
    permissions: z.array(z.enum(permissions)),
    expiresAt: instant.optional(),
  }),
  errors: [],
})

export const authCan = defineOperation({
  name: "auth.can",
  nodeScope: "none",
  service: "identity",
  summary: "Tell whether you may call an operation, and why",
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
  keysAssign,
  keysRevoke,
  authWhoami,
  authCan,
  ...userSessionOperations,
  ...peopleOperations,
  ...identityProviderOperations,
] as const
