import { z } from "zod"
import { defineOperation } from "../operation.ts"
import { accountId, empty, instant, pageInput, pageOf, resourceName } from "../schemas.ts"
import { identityLimits } from "./identity-limits.ts"

/** Logging in and out. What a login makes is a user session: its token is the bearer of the calls that follow. */

/** Of a call without credentials. */
const account = accountId.default("main").describe("The account to log in to")
const userName = z.string().trim().min(1).max(128).describe("The user's name")
const newPassword = z
  .string()
  .min(
    identityLimits.passwordCharactersMin,
    `a password has at least ${identityLimits.passwordCharactersMin} characters`,
  )
  .max(
    identityLimits.passwordCharactersMax,
    `a password has at most ${identityLimits.passwordCharactersMax} characters`,
  )
const givenPassword = z.string().min(1).max(identityLimits.passwordCharactersMax)

const loggedIn = z.object({
  session: z.string(),
  token: z.string().describe("The bearer token of the session, shown once"),
  account: z.string(),
  user: z.string().describe("The user's id"),
  name: z.string(),
  expiresAt: instant.describe("When it ends in any case; sooner where it isn't used"),
})

export const userSession = z
  .object({
    id: z.string(),
    user: z.string().describe("The user's id"),
    name: z.string(),
    provider: z.string().optional().describe("The identity provider it was made by; else by password"),
    sourceAddress: z.string().optional(),
    createdAt: instant,
    usedAt: instant.describe("To within a minute or two"),
    expiresAt: instant,
    current: z.boolean().describe("The one that asks"),
  })
  .describe("What a login made")

export const userSessionsCreate = defineOperation({
  name: "user-sessions.create",
  service: "identity",
  summary: "Log in with a password",
  description: "Attempts are limited for each user and for each address.",
  method: "POST",
  path: "/v1/user-sessions",
  effect: "change",
  permission: "auth.enter",
  anonymous: true,
  gateable: false,
  input: z.strictObject({ account, user: userName, password: givenPassword }),
  output: loggedIn,
  secretInput: ["password"],
  secretOutput: ["token"],
  errors: ["identity.login-refused", "identity.too-many-attempts"],
})

export const userSessionsBegin = defineOperation({
  name: "user-sessions.begin",
  service: "identity",
  summary: "Begin to log in by an identity provider",
  description:
    "Send the person to `authorizationUrl`. The provider sends them back to `redirectUri`; give the URL at which they " +
    "arrive to user-sessions.complete, with `attempt`.",
  method: "POST",
  path: "/v1/user-sessions:begin",
  effect: "change",
  permission: "auth.enter",
  anonymous: true,
  gateable: false,
  input: z.strictObject({
    account,
    provider: resourceName.optional().describe("May be left out where there is only one"),
    redirectUri: z
      .url({ protocol: /^http$/ })
      .max(200)
      .regex(/^http:\/\/(?:127\.0\.0\.1|\[::1\])(?::\d{1,5})?\/[a-z/-]*$/, "write http://127.0.0.1:PORT/PATH")
      .describe("Where the person's machine listens: http://127.0.0.1:PORT/PATH"),
  }),
  output: z.object({
    attempt: z.string().describe("Belongs to this login; keep it to yourself"),
    provider: z.string(),
    authorizationUrl: z.string(),
    expiresAt: instant,
  }),
  secretOutput: ["attempt", "authorizationUrl"],
  errors: [
    "identity.provider-not-found",
    "identity.provider-unusable",
    "identity.too-many-attempts",
    "identity.login-refused",
  ],
})

export const userSessionsComplete = defineOperation({
  name: "user-sessions.complete",
  service: "identity",
  summary: "Log in with what an identity provider answered",
  method: "POST",
  path: "/v1/user-sessions:complete",
  effect: "change",
  permission: "auth.enter",
  anonymous: true,
  gateable: false,
  input: z.strictObject({
    account,
    attempt: z.string().min(1).max(128).describe("As user-sessions.begin gave it"),
    callbackUrl: z.url().max(8192).describe("The whole URL to which the provider sent the person"),
  }),
  output: loggedIn.extend({ created: z.boolean().describe("True where the login made the user") }),
  secretInput: ["attempt", "callbackUrl"],
  secretOutput: ["token"],
  errors: [
    "identity.login-expired",
    "identity.login-refused",
    "identity.not-admitted",
    "identity.provider-not-found",
    "identity.provider-refused",
    "identity.provider-unusable",
    "identity.too-many",
    "identity.too-many-attempts",
  ],
})

export const passwordsRedeem = defineOperation({
  name: "passwords.redeem",
  service: "identity",
  summary: "Set a password with a one-time code",
  method: "POST",
  path: "/v1/passwords:redeem",
  effect: "change",
  permission: "auth.enter",
  anonymous: true,
  gateable: false,
  input: z.strictObject({
    account,
    user: userName,
    code: z.string().trim().min(1).max(64).describe("As an administrator gave it"),
    password: newPassword,
  }),
  output: z.object({ user: z.string(), name: z.string() }),
  secretInput: ["code", "password"],
  errors: ["identity.login-refused", "identity.password-unfit", "identity.too-many-attempts"],
})

export const passwordsChange = defineOperation({
  name: "passwords.change",
  service: "identity",
  summary: "Change your own password",
  description: "Your other sessions end.",
  method: "POST",
  path: "/v1/passwords:change",
  effect: "change",
  permission: "auth.write",
  gateable: false,
  input: z.strictObject({ current: givenPassword, password: newPassword }),
  output: z.object({ user: z.string(), name: z.string() }),
  secretInput: ["current", "password"],
  errors: [
    "identity.no-password",
    "identity.not-a-session",
    "identity.password-unfit",
    "identity.too-many-attempts",
    "identity.wrong-password",
  ],
})

export const userSessionsList = defineOperation({
  name: "user-sessions.list",
  service: "identity",
  summary: "List your own sessions, or those of a user",
  description: "Those of others need the permission users.read.",
  method: "GET",
  path: "/v1/user-sessions",
  effect: "read",
  permission: "auth.read",
  input: z.strictObject({
    user: z.string().min(1).max(128).optional().describe("A user's id or name; else your own"),
    ...pageInput,
  }),
  output: pageOf(userSession),
  errors: ["identity.user-not-found", "identity.not-a-session", "request.invalid-cursor"],
  table: { rows: "items", columns: ["id", "name", "provider", "sourceAddress", "createdAt", "usedAt", "current"] },
})

export const userSessionsRevoke = defineOperation({
  name: "user-sessions.revoke",
  service: "identity",
  summary: "End a session",
  description:
    "Your own, or with the permission users.write anybody's. Every server refuses its token within a second.",
  method: "POST",
  path: "/v1/user-sessions/{session}:revoke",
  effect: "change",
  permission: "auth.write",
  gateable: false,
  input: z.strictObject({ session: z.string().min(1).max(64) }),
  output: z.object({ session: z.string() }),
  errors: ["identity.session-not-found", "identity.outranked"],
})

export const userSessionsRevokeAll = defineOperation({
  name: "user-sessions.revoke-all",
  service: "identity",
  summary: "End all your other sessions, or all of a user",
  method: "POST",
  path: "/v1/user-sessions:revoke-all",
  effect: "change",
  permission: "auth.write",
  gateable: false,
  input: z.strictObject({
    user: z.string().min(1).max(128).optional().describe("A user's id or name; else your own, but the one that asks"),
  }),
  output: z.object({ user: z.string(), revoked: z.int() }),
  errors: ["identity.user-not-found", "identity.not-a-session", "identity.outranked"],
})

export const authLogout = defineOperation({
  name: "auth.logout",
  nodeScope: "none",
  service: "identity",
  summary: "End the session that asks",
  method: "POST",
  path: "/v1/auth/logout",
  effect: "change",
  permission: "auth.write",
  gateable: false,
  input: empty.strict(),
  output: z.object({
    session: z.string(),
    logoutUrl: z.string().optional().describe("Where the person ends their session at the identity provider too"),
  }),
  errors: ["identity.not-a-session"],
})

export const userSessionOperations = [
  userSessionsCreate,
  userSessionsBegin,
  userSessionsComplete,
  userSessionsList,
  userSessionsRevoke,
  userSessionsRevokeAll,
  passwordsRedeem,
  passwordsChange,
  authLogout,
] as const
